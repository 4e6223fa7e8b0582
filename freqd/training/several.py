"""Several trainings of one model with different optimisation, of which the best on validation counts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from freqd.embeddings import TrainedModel, Trial
from freqd.training.environment import TrainingEnvironment
from freqd.training.interfaces import LossTerm, Trainable, TrainingData
from freqd.training.loop import fit
from freqd.training.optim import OptimConfig


def fit_best(
    make: Callable[[], tuple[Trainable, Sequence[LossTerm]]],
    data: TrainingData,
    optims: Sequence[OptimConfig],
    environment: TrainingEnvironment,
) -> TrainedModel:
    """Train once for each of ``optims``.

    Args:
        make: the model and the terms of its loss at their start.
        data: what to learn from and to be judged by.
        optims: how each training goes.
        environment: each training has its own checkpoint: with a number in the name beside the file that is named there, or in
            the folder.

    Returns:
        The best by validation NDCG@10; ``info["trials"]`` lists all, each with ``learning_rate``, ``weight_decay``,
        ``valid_ndcg_at_10``, ``best_epoch``, ``seconds`` and ``stopped``.

    Raises:
        ValueError: ``optims`` is empty.
    """
    best: TrainedModel | None = None
    trials: list[Trial] = []
    for number, optim in enumerate(optims):
        own = environment.piece(number, len(optims), f"training {number + 1} of {len(optims)}, ")
        model, terms = make()
        trained = fit(model, terms, data, optim, replace(own, checkpoint=_numbered(environment.checkpoint, number)))
        info = trained.info
        trials.append(
            {
                "learning_rate": optim.learning_rate,
                "weight_decay": optim.weight_decay,
                "valid_ndcg_at_10": info["valid_ndcg_at_10"],
                "best_epoch": info["best_epoch"],
                "seconds": info["seconds"],
                "stopped": info["stopped"],
            }
        )
        if best is None or info["valid_ndcg_at_10"] > best.info["valid_ndcg_at_10"]:
            best = trained
    if best is None:
        raise ValueError("there is no training to choose from")
    best.info["trials"] = trials
    return best


def _numbered(checkpoint: Path | None, number: int) -> Path | None:
    if checkpoint is None:
        return None
    if checkpoint.is_dir():
        return checkpoint / f"training-{number}.safetensors"
    return checkpoint.with_name(f"{checkpoint.stem}-{number}{checkpoint.suffix}")
