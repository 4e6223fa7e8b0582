"""The student's model and how it is trained, with or without a teacher."""

from __future__ import annotations

import math
from dataclasses import dataclass

from scipy import sparse

from freqd.config import AutoEpochs, DistillConfig
from freqd.embeddings import Embeddings
from freqd.models.lightgcn import LightGCN
from freqd.models.mf import MatrixFactorization
from freqd.training.interfaces import Trainable

VALIDATION_USERS = 10_000
"""Early stopping looks at no more users than this; they are the same in every validation of a run."""


@dataclass(frozen=True)
class Auto:
    """What auto makes of a number of epochs: as many as make ``steps``, but ``low`` to ``high``."""

    steps: int
    low: int
    high: int


DISTILLED, ALONE = Auto(8_000, 20, 60), Auto(30_000, 100, 300)


def new_student(config: DistillConfig, train: sparse.csr_array, init: Embeddings | None, seed: int) -> Trainable:
    """The student's model, starting at ``init`` if there is one."""
    if config.backbone == "lightgcn":
        return LightGCN(train, config.dim, config.layers, init=init, seed=seed)
    return MatrixFactorization((*train.shape, config.dim), init=init, seed=seed, std=config.init_std)


def epochs_of(epochs: AutoEpochs, auto: Auto, *, batch_size: int, n_interactions: int) -> int:
    """How many epochs a training takes: the setting's number, or what auto makes of this many interactions.

    An epoch takes a step for each batch of interactions. Small data have few of them and take more epochs for it; large
    data need some looks at each user all the same, however many steps that is.
    """
    if epochs != "auto":
        return epochs
    steps = max(math.ceil(n_interactions / batch_size), 1)
    return min(max(auto.steps // steps, auto.low), auto.high)
