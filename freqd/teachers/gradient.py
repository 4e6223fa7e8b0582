"""Teachers trained on pairs (BPR, Rendle et al., UAI 2009): matrix factorisation or LightGCN."""

from __future__ import annotations

from pathlib import Path

from freqd.config import TeacherConfig
from freqd.data.interactions import Split
from freqd.embeddings import TrainedModel
from freqd.evaluate.validation import Validation
from freqd.models.lightgcn import LightGCN
from freqd.models.mf import MatrixFactorization
from freqd.progress import Progress, silent
from freqd.training.loop import FitSettings, Probe, Recommender, fit


def train_bpr(
    split: Split,
    config: TeacherConfig,
    *,
    factors: int,
    seed: int,
    device: str,
    max_seconds: float | None = None,
    checkpoint: Path | None = None,
    probe: Probe | None = None,
    progress: Progress = silent,
) -> TrainedModel:
    """Train a teacher of kind ``bpr`` or ``lightgcn`` with embedding dimension ``factors``; see ``fit``."""
    validate = Validation.of(split, limit=None, seed=seed)
    model: Recommender
    if config.kind == "lightgcn":
        model = LightGCN(validate.train, factors, config.layers, seed=seed)
    else:
        model = MatrixFactorization(split.n_users, split.n_items, factors, seed=seed)
    trained = fit(
        model,
        [],
        validate.train,
        validate=validate,
        settings=FitSettings(
            epochs=config.epochs,
            batch_size=config.batch_size,
            learning_rate=config.learning_rate,
            weight_decay=config.weight_decay,
            eval_every=config.eval_every,
            patience=config.patience,
            max_seconds=max_seconds,
            device=device,
        ),
        seed=seed,
        checkpoint=checkpoint,
        probe=probe,
        progress=progress,
    )
    trained.info.update(method=config.kind, factors=factors)
    return trained
