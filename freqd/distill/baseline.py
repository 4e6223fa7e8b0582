"""Models of the student's size without a teacher; the best of them, the no-distillation baseline, is what distillation has to beat."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import product

from freqd.config import BaselinesConfig, DistillConfig
from freqd.config.models import SmallModel
from freqd.data.interactions import Split
from freqd.distill.student import ALONE, VALIDATION_USERS, epochs_of, new_student
from freqd.embeddings import ModelInfo, TrainedModel
from freqd.evaluate.validation import Validation
from freqd.teachers.als_search import AlsGrid, search_als
from freqd.teachers.softmax import SoftmaxGrid
from freqd.teachers.softmax import train_softmax as softmax
from freqd.training.environment import TrainingEnvironment
from freqd.training.optim import OptimConfig
from freqd.training.several import fit_best

ALS_REGULARIZATION, ALS_ALPHA = (1.0, 10.0, 50.0), (1.0, 10.0, 40.0, 160.0)
"""Strengths of ALS: a small table may want less regularisation and more confidence than a big one."""


@dataclass(frozen=True)
class SmallModels:
    """Models of the student's size that were trained without a teacher.

    Attributes:
        models: by kind; the ``info`` of each has kind, method, backbone, dim, trials and valid_ndcg_at_10.
        best: the kind that is the no-distillation baseline, by validation; its ``info["trials"]`` lists the trainings of all kinds.
    """

    models: dict[str, TrainedModel]
    best: str


def train_baselines(
    split: Split, student: DistillConfig, config: BaselinesConfig, environment: TrainingEnvironment
) -> SmallModels:
    """Train every kind of ``config.small`` at the student's size.

    The kinds share ``config.max_seconds``.

    Args:
        split: trained on its train part, chosen by its validation part.
        student: size, backbone, batches and validations.
        config: the kinds and how they are trained.
        environment: its ``checkpoint`` is a folder for unfinished work; each kind has a folder of its own there.
    """
    judge = Validation.of(split, limit=VALIDATION_USERS, seed=environment.seed)
    kinds = config.small
    share = None if config.max_seconds is None else config.max_seconds / len(kinds)
    settings = config.model_copy(update={"max_seconds": share})
    models: dict[str, TrainedModel] = {}
    for number, kind in enumerate(kinds):
        own = environment.piece(number, len(kinds), f"{kind}: ")
        if environment.checkpoint is not None:
            folder = environment.checkpoint / kind
            folder.mkdir(parents=True, exist_ok=True)
            own = replace(own, checkpoint=folder)
        model = KINDS[kind](split, student, settings, own)
        model.info.update(
            ModelInfo(
                kind=kind,
                method="scratch",
                backbone=student.backbone if kind == "bpr" else "mf",
                dim=student.dim,
                trials=[trial | {"kind": kind} for trial in model.info["trials"]],
                valid_ndcg_at_10=judge(model.features),
            )
        )
        models[kind] = model
    best = max(models, key=lambda kind: models[kind].info["valid_ndcg_at_10"])
    models[best].info["trials"] = [trial for model in models.values() for trial in model.info["trials"]]
    return SmallModels(models, best)


def train_als(
    split: Split, student: DistillConfig, config: BaselinesConfig, environment: TrainingEnvironment
) -> TrainedModel:
    """ALS at the student's size, searched as the teacher is."""
    data = Validation.of(split, limit=VALIDATION_USERS, seed=environment.seed)
    grid = AlsGrid((student.dim,), ALS_REGULARIZATION, ALS_ALPHA, patience=2, budget_seconds=config.max_seconds)
    found = search_als(data, grid, environment)
    info: ModelInfo = {
        "trials": found.trials,
        "best_epoch": found.best.best_sweep(),
        "seconds": found.seconds,
        "stopped": "time" if found.budget_hit else "patience",
    }
    return TrainedModel(found.features, history=found.best.history, info=info)


def train_softmax(
    split: Split, student: DistillConfig, config: BaselinesConfig, environment: TrainingEnvironment
) -> TrainedModel:
    """Matrix factorisation by a softmax over many items at the student's size."""
    grid = SoftmaxGrid.of(split)
    epochs = grid.optim.epochs if config.epochs == "auto" else min(grid.optim.epochs, config.epochs)
    optim = replace(grid.optim, max_seconds=config.max_seconds, epochs=epochs)
    return softmax(split, student.dim, replace(grid, optim=optim), environment)


def train_bpr(
    split: Split, student: DistillConfig, config: BaselinesConfig, environment: TrainingEnvironment
) -> TrainedModel:
    """Train the student's own model on pairs, once for each step size and L2 strength; the best on validation is kept."""
    validate = Validation.of(split, limit=VALIDATION_USERS, seed=environment.seed)
    epochs = epochs_of(config.epochs, ALONE, batch_size=student.batch_size, n_interactions=validate.train.nnz)
    grid = list(product(config.learning_rate, config.weight_decay))
    optim = OptimConfig.of(
        student,
        epochs=epochs,
        base_weight=1.0,
        max_seconds=None if config.max_seconds is None else config.max_seconds / len(grid),
    )
    return fit_best(
        lambda: (new_student(student, validate.train, None, environment.seed), []),
        validate,
        [replace(optim, learning_rate=rate, weight_decay=decay) for rate, decay in grid],
        environment,
    )


KINDS: dict[SmallModel, Callable[[Split, DistillConfig, BaselinesConfig, TrainingEnvironment], TrainedModel]] = {
    "als": train_als,
    "bpr": train_bpr,
    "softmax": train_softmax,
}
"""How each kind is trained."""
