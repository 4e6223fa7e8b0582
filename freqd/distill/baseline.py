"""The no-distillation baseline: what distillation has to beat."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

from freqd.config import DistillConfig
from freqd.data.interactions import Split
from freqd.distill.student import ALONE, VALIDATION_USERS, epochs_of, fit_settings, new_student
from freqd.embeddings import TrainedModel
from freqd.evaluate.validation import Validation
from freqd.progress import Progress, silent
from freqd.training.loop import fit


def train_scratch(
    split: Split,
    config: DistillConfig,
    *,
    seed: int,
    device: str,
    checkpoint: Path,
    progress: Progress = silent,
) -> TrainedModel:
    """Train the student without a teacher, once for each step size and L2 strength; the best on validation is kept.

    The trainings share the time budget of one distillation, so that both had the same.

    Args:
        split, config, seed, device, progress: as in ``distill``.
        checkpoint: file of the state; each training has its own beside it, with a number in the name.

    Returns:
        The best; ``info["trials"]`` lists all, each with ``learning_rate``, ``weight_decay``, ``valid_ndcg_at_10``,
        ``best_epoch`` and ``seconds``.
    """
    validate = Validation.of(split, limit=VALIDATION_USERS, seed=seed)
    epochs = epochs_of(config.scratch_epochs, ALONE, batch_size=config.batch_size, n_interactions=validate.train.nnz)
    grid = list(product(config.scratch_learning_rate, config.scratch_weight_decay))
    best: TrainedModel | None = None
    trials: list[dict[str, Any]] = []
    for number, (learning_rate, weight_decay) in enumerate(grid):

        def part(done: float, text: str, number: int = number) -> None:
            progress((number + done) / len(grid), f"training {number + 1} of {len(grid)}, {text}")

        trained = fit(
            new_student(config, validate.train, None, seed),
            [],
            validate.train,
            validate=validate,
            settings=replace(
                fit_settings(config, epochs, learning_rate, weight_decay, device, base_weight=1.0),
                max_seconds=None if config.max_seconds is None else config.max_seconds / len(grid),
            ),
            seed=seed,
            checkpoint=_numbered(checkpoint, number),
            progress=part,
        )
        trials.append(
            {"learning_rate": learning_rate, "weight_decay": weight_decay}
            | {key: trained.info[key] for key in ("valid_ndcg_at_10", "best_epoch", "seconds", "stopped")}
        )
        if best is None or trained.info["valid_ndcg_at_10"] > best.info["valid_ndcg_at_10"]:
            best = trained
    if best is None:
        raise ValueError("scratch_learning_rate and scratch_weight_decay must hold a value each")
    best.info.update(method="scratch", backbone=config.backbone, dim=config.dim, trials=trials)
    return best


def _numbered(checkpoint: Path, number: int) -> Path:
    if checkpoint.is_dir():
        return checkpoint / f"training-{number}.safetensors"
    return checkpoint.with_name(f"{checkpoint.stem}-{number}{checkpoint.suffix}")
