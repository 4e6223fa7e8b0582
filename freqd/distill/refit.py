"""The judged student taken on to all interactions."""

from __future__ import annotations

from dataclasses import replace

from freqd.config import DistillConfig
from freqd.distill.distillation import DistillSources, context_of
from freqd.distill.objectives import check_objectives
from freqd.distill.shards import train_student
from freqd.distill.student import VALIDATION_USERS
from freqd.distill.warm_start import align_previous_student, warm_start
from freqd.embeddings import ModelInfo, TrainedModel
from freqd.errors import RefitError
from freqd.evaluate.validation import Validation
from freqd.spectral import SideFilters
from freqd.training.environment import TrainingEnvironment
from freqd.training.optim import OptimConfig

REFIT_EPOCHS = 6
"""Epochs from the judged student on: in a first trial as good on the days that follow as a whole training from the refitted teacher's
SVD, see docs/decisions.md."""


def refit_student(sources: DistillSources, config: DistillConfig, environment: TrainingEnvironment) -> TrainedModel:
    """Go on from the judged student on all interactions, with the refitted teacher; nothing is validated.

    New users and items are filled in from the teacher's, as in a warm start. Then ``REFIT_EPOCHS`` epochs, or as many as were
    best if those are fewer. Where none was better than the SVD of the teacher, that of the refitted one is the student.

    Args:
        sources: all interactions as ``freqd.data.everything`` has them, the refitted teacher, graphs of all interactions, the
            filters that were chosen, and as ``previous`` the judged student.
        config: the settings of the judged student.
        environment: its ``checkpoint`` is the file, or the folder of the file, of the training's state.

    Raises:
        RefitError: an objective learns from the way of the teacher's training, which a refitted teacher has not.
        DivergedError: the loss is no longer finite.
        ValueError: there is no judged student.
    """
    if sources.previous is None:
        raise ValueError("a refit goes on from the judged student, and there is none")
    for objective, _, weight in check_objectives(config.objectives):
        if objective.needs_trajectory and weight > 0.0:
            raise RefitError(
                f"the objective {objective.name!r} learns from rankings of the teacher's training, and a refitted teacher keeps none"
            )
    judged = sources.previous.model.info
    epochs = min(REFIT_EPOCHS, judged["best_epoch"])
    context = context_of(sources, config, environment)
    if (chosen := judged.get("feature_filters")) is not None:
        context = replace(context, feature_filters=SideFilters.model_validate(chosen))
    data = Validation.of(sources.split, limit=VALIDATION_USERS, seed=environment.seed)
    svd = epochs == 0 and judged["warm_start"] == "svd"
    start = warm_start(context) if svd else align_previous_student(sources.previous, context.teacher)
    optim = OptimConfig.of(config, epochs=max(epochs, 1), stop_after=epochs, max_seconds=None)
    trained, _ = train_student(context, config, start, data, optim, environment)
    trained.info.update(ModelInfo(method="distill", backbone=config.backbone, dim=config.dim, refit=True))
    return trained
