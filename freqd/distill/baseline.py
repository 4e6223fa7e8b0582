"""The no-distillation baseline: the best model of the student's size without a teacher, which distillation has to beat."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import product

from freqd.config import DistillConfig
from freqd.data.interactions import Split
from freqd.distill.student import ALONE, VALIDATION_USERS, epochs_of, new_student
from freqd.embeddings import ModelInfo, TrainedModel, Trial
from freqd.evaluate.validation import Validation
from freqd.teachers.als_search import AlsGrid, search_als
from freqd.teachers.softmax import SoftmaxGrid
from freqd.teachers.softmax import train_softmax as softmax
from freqd.training.environment import TrainingEnvironment
from freqd.training.optim import OptimConfig
from freqd.training.several import fit_best

ALS_REGULARIZATION, ALS_ALPHA = (1.0, 10.0, 50.0), (1.0, 10.0, 40.0)
"""Strengths of ALS: a small table may want less than a big one."""


def train_baseline(split: Split, config: DistillConfig, environment: TrainingEnvironment) -> TrainedModel:
    """Train every kind of ``distill.baseline_models`` at the student's size; the best on validation is the baseline.

    The kinds share the time budget of one distillation, so that both sides had the same.

    Args:
        split, config: as in ``distill``.
        environment: its ``checkpoint`` is a folder for unfinished work; each kind has a folder of its own there.

    Returns:
        The best; ``info["kind"]`` says which it is, ``info["trials"]`` lists all trainings of all kinds.
    """
    judge = Validation.of(split, limit=VALIDATION_USERS, seed=environment.seed)
    kinds = config.baseline_models
    share = None if config.max_seconds is None else config.max_seconds / len(kinds)
    settings = config.model_copy(update={"max_seconds": share})
    found: dict[str, tuple[float, TrainedModel]] = {}
    trials: list[Trial] = []
    for number, kind in enumerate(kinds):
        own = environment.piece(number, len(kinds), f"{kind}: ")
        if environment.checkpoint is not None:
            folder = environment.checkpoint / kind
            folder.mkdir(parents=True, exist_ok=True)
            own = replace(own, checkpoint=folder)
        model = KINDS[kind](split, settings, own)
        found[kind] = judge(model.features), model
        trials += [trial | {"kind": kind} for trial in model.info["trials"]]
    winner = max(found, key=lambda name: found[name][0])
    value, best = found[winner]
    best.info.update(
        ModelInfo(
            kind=winner,
            method="scratch",
            backbone=config.backbone if winner == "bpr" else "mf",
            dim=config.dim,
            trials=trials,
            valid_ndcg_at_10=value,
        )
    )
    return best


def train_als(split: Split, config: DistillConfig, environment: TrainingEnvironment) -> TrainedModel:
    """ALS at the student's size, searched as the teacher is."""
    data = Validation.of(split, limit=VALIDATION_USERS, seed=environment.seed)
    grid = AlsGrid((config.dim,), ALS_REGULARIZATION, ALS_ALPHA, patience=2, budget_seconds=config.max_seconds)
    found = search_als(data, grid, environment)
    info: ModelInfo = {
        "trials": found.trials,
        "best_epoch": found.best.best_sweep(),
        "seconds": found.seconds,
        "stopped": "time" if found.budget_hit else "patience",
    }
    return TrainedModel(found.features, history=found.best.history, info=info)


def train_softmax(split: Split, config: DistillConfig, environment: TrainingEnvironment) -> TrainedModel:
    """Matrix factorisation by a softmax over many items at the student's size."""
    grid = SoftmaxGrid()
    epochs = min(grid.optim.epochs, config.scratch_epochs) if config.scratch_epochs != "auto" else grid.optim.epochs
    optim = replace(grid.optim, max_seconds=config.max_seconds, epochs=epochs)
    return softmax(split, config.dim, replace(grid, optim=optim), environment)


def train_scratch(split: Split, config: DistillConfig, environment: TrainingEnvironment) -> TrainedModel:
    """Train the student's own model on pairs, once for each step size and L2 strength; the best on validation is kept.

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
    model = fit_best(
        lambda: (new_student(config, validate.train, None, environment.seed), []),
        validate,
        [replace(optim, learning_rate=rate, weight_decay=decay) for rate, decay in grid],
        environment,
    )
    model.info.update(ModelInfo(method="scratch", backbone=config.backbone, dim=config.dim))
    return model


KINDS: dict[str, Callable[[Split, DistillConfig, TrainingEnvironment], TrainedModel]] = {
    "bpr": train_scratch,
    "als": train_als,
    "softmax": train_softmax,
}
"""How each kind of ``distill.baseline_models`` is trained."""
