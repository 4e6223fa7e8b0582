"""Epochs of freqd's own training loop as works."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from benchmarks.harness import Epochs
from freqd.config import ObjectiveConfig
from freqd.distill import DistillContext
from freqd.embeddings import Embeddings
from freqd.graph import Graphs
from freqd.models.mf import MatrixFactorization
from freqd.spectral.filters import SideFilters
from freqd.training.environment import TrainingEnvironment
from freqd.training.interfaces import LossTerm, Trainable
from freqd.training.loop import fit
from freqd.training.optim import OptimConfig

BATCH = 2048
FOREVER = 1_000_000
LINEAR = ObjectiveConfig(
    name="freqd",
    weight=0.01,
    options={
        "projector": "linear",
        "distance": "squared",
        "form": "auto",
        "keep_prob": 1.0,
        "sample": 128,
        "every": 4,
        "neighbours": 4,
    },
)
"""FreqD's cheapest form with a projector: the context's filters, a sample of every fourth batch."""


@dataclass(frozen=True)
class Unjudged:
    """Interactions to train on; every state of the model is as good as another."""

    train: sparse.csr_array

    def __call__(self, features: Embeddings) -> float:
        return 0.0


def student_epochs(
    train: sparse.csr_array,
    terms: Sequence[LossTerm],
    *,
    dim: int,
    learning_rate: float = 1e-3,
    weight_decay: float = 0.0,
    device: str = "cpu",
) -> Epochs:
    """Epochs of an MF student with the terms; it is never validated in between."""
    return model_epochs(
        lambda: MatrixFactorization((train.shape[0], train.shape[1], dim), seed=0),
        train,
        terms,
        learning_rate=learning_rate,
        weight_decay=weight_decay,
        device=device,
    )


def model_epochs(
    model: Callable[[], Trainable],
    pairs: sparse.csr_array,
    terms: Sequence[LossTerm],
    *,
    learning_rate: float = 1e-3,
    weight_decay: float = 0.0,
    device: str = "cpu",
) -> Epochs:
    """Epochs over ``pairs``, which may be fewer than the model's graph has, of a model that is made by the first one."""
    optim = OptimConfig(
        epochs=FOREVER,
        batch_size=BATCH,
        learning_rate=learning_rate,
        weight_decay=weight_decay,
        eval_every=FOREVER,
    )

    def training(lap: Callable[[], None]) -> object:
        environment = TrainingEnvironment(seed=0, device=device, progress=lambda fraction, text: lap())
        return fit(model(), terms, Unjudged(pairs), optim, environment)

    return Epochs(training)


def some_steps(train: sparse.csr_array, steps: int) -> tuple[sparse.csr_array, float]:
    """Pairs for at most ``steps`` batches, drawn at random, and how many times as many ``train`` has.

    A LightGCN's step costs the same whatever the batch holds, since it propagates all rows: some steps tell the epoch.
    """
    coo = train.tocoo()
    kept = np.sort(np.random.default_rng(0).permutation(train.nnz)[: steps * BATCH])
    part = sparse.csr_array((coo.data[kept], (coo.row[kept], coo.col[kept])), shape=train.shape)
    part.sort_indices()
    return part, -(-train.nnz // BATCH) / -(-part.nnz // BATCH)


def context(
    train: sparse.csr_array,
    teacher: Embeddings,
    graphs: Graphs,
    filters: SideFilters,
    dim: int,
    *,
    device: str = "cpu",
) -> DistillContext:
    """Surroundings of a distillation from a random start, with the raw teacher as the ranking teacher."""
    return DistillContext(
        teacher=teacher,
        raw_teacher=teacher,
        ranking_teacher=teacher,
        ranking_table=teacher,
        graphs=graphs,
        feature_filters=filters,
        train=train,
        dim=dim,
        seed=0,
        device=device,
        warm=False,
    )
