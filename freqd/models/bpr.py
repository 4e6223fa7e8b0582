"""The BPR teacher: matrix factorisation trained on pairs (Rendle et al., UAI 2009)."""

from __future__ import annotations

from pathlib import Path

from scipy import sparse

from freqd.config import TeacherConfig
from freqd.data.types import Split
from freqd.evaluate import ndcg_on_validation
from freqd.features import FeatureTable, TrainedModel
from freqd.models.mf import MatrixFactorization
from freqd.models.training import FitSettings, Validate, fit
from freqd.progress import Progress, silent


def fit_settings(config: TeacherConfig, device: str) -> FitSettings:
    """A teacher's settings as the training loop wants them."""
    return FitSettings(
        epochs=config.epochs,
        batch_size=config.batch_size,
        learning_rate=config.learning_rate,
        weight_decay=config.weight_decay,
        eval_every=config.eval_every,
        patience=config.patience,
        device=device,
    )


def validator(split: Split, train: sparse.csr_array) -> Validate:
    """NDCG@10 on the validation part of ``split``, as a function of the features."""
    valid = split.valid.matrix()

    def validate(features: FeatureTable) -> float:
        return ndcg_on_validation(features, train, valid)

    return validate


def train_bpr(
    split: Split,
    config: TeacherConfig,
    *,
    factors: int,
    seed: int,
    device: str,
    checkpoint: Path | None = None,
    progress: Progress = silent,
) -> TrainedModel:
    """Train a BPR teacher with ``factors`` numbers a user and an item; see ``fit``."""
    train = split.train.matrix()
    trained = fit(
        MatrixFactorization(split.n_users, split.n_items, factors, seed=seed),
        [],
        train,
        validate=validator(split, train),
        settings=fit_settings(config, device),
        seed=seed,
        checkpoint=checkpoint,
        progress=progress,
    )
    trained.info.update(method="bpr", factors=factors)
    return trained
