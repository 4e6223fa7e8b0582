"""The student's model and how it is trained, with or without a teacher."""

from __future__ import annotations

from scipy import sparse

from freqd.config import DistillConfig
from freqd.features import FeatureTable
from freqd.models.lightgcn import LightGCN
from freqd.models.mf import MatrixFactorization
from freqd.models.training import FitSettings, Recommender

VALIDATION_USERS = 10_000
"""Early stopping looks at no more users than this; they are the same in every validation of a run."""


def new_student(config: DistillConfig, train: sparse.csr_array, init: FeatureTable | None, seed: int) -> Recommender:
    """The student's model, starting at ``init`` if there is one."""
    if config.backbone == "lightgcn":
        return LightGCN(train, config.dim, config.layers, init=init, seed=seed)
    n_users, n_items = train.shape
    return MatrixFactorization(n_users, n_items, config.dim, init=init, seed=seed, std=config.init_std)


def fit_settings(
    config: DistillConfig,
    epochs: int,
    learning_rate: float,
    weight_decay: float,
    device: str,
    *,
    base_weight: float | None = None,
) -> FitSettings:
    """How one training of the student goes."""
    return FitSettings(
        epochs=epochs,
        batch_size=config.batch_size,
        learning_rate=learning_rate,
        weight_decay=weight_decay,
        eval_every=config.eval_every,
        patience=config.patience,
        max_seconds=config.max_seconds,
        base_weight=config.base_weight if base_weight is None else base_weight,
        device=device,
    )
