"""The no-distillation baseline: what distillation has to beat."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from pathlib import Path

from freqd.config import DistillConfig
from freqd.data.interactions import Split
from freqd.distill.student import ALONE, VALIDATION_USERS, epochs_of, new_student
from freqd.embeddings import ModelInfo, TrainedModel, Trial
from freqd.evaluate.validation import Validation
from freqd.training.environment import TrainingEnvironment
from freqd.training.loop import fit
from freqd.training.optim import OptimConfig


def train_scratch(split: Split, config: DistillConfig, environment: TrainingEnvironment) -> TrainedModel:
    """Train the student without a teacher, once for each step size and L2 strength; the best on validation is kept.

    The trainings share the time budget of one distillation, so that both had the same.

    Args:
        split, config: as in ``distill``.
        environment: as in ``distill``; each training has its own checkpoint beside the one named there, with a number in
            the name.

    Returns:
        The best; ``info["trials"]`` lists all, each with ``learning_rate``, ``weight_decay``, ``valid_ndcg_at_10``,
        ``best_epoch``, ``seconds`` and ``stopped``.
    """
    validate = Validation.of(split, limit=VALIDATION_USERS, seed=environment.seed)
    epochs = epochs_of(config.scratch_epochs, ALONE, batch_size=config.batch_size, n_interactions=validate.train.nnz)
    grid = list(product(config.scratch_learning_rate, config.scratch_weight_decay))
    optim = OptimConfig.of(
        config,
        epochs=epochs,
        base_weight=1.0,
        max_seconds=None if config.max_seconds is None else config.max_seconds / len(grid),
    )
    best: TrainedModel | None = None
    trials: list[Trial] = []
    for number, (learning_rate, weight_decay) in enumerate(grid):
        own = environment.piece(number, len(grid), f"training {number + 1} of {len(grid)}, ")
        trained = fit(
            new_student(config, validate.train, None, environment.seed),
            [],
            validate,
            replace(optim, learning_rate=learning_rate, weight_decay=weight_decay),
            replace(own, checkpoint=_numbered(environment.checkpoint, number)),
        )
        info = trained.info
        trials.append(
            {
                "learning_rate": learning_rate,
                "weight_decay": weight_decay,
                "valid_ndcg_at_10": info["valid_ndcg_at_10"],
                "best_epoch": info["best_epoch"],
                "seconds": info["seconds"],
                "stopped": info["stopped"],
            }
        )
        if best is None or info["valid_ndcg_at_10"] > best.info["valid_ndcg_at_10"]:
            best = trained
    if best is None:
        raise ValueError("scratch_learning_rate and scratch_weight_decay must hold a value each")
    best.info.update(ModelInfo(method="scratch", backbone=config.backbone, dim=config.dim, trials=trials))
    return best


def _numbered(checkpoint: Path | None, number: int) -> Path | None:
    if checkpoint is None:
        return None
    if checkpoint.is_dir():
        return checkpoint / f"training-{number}.safetensors"
    return checkpoint.with_name(f"{checkpoint.stem}-{number}{checkpoint.suffix}")
