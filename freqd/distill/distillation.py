"""The student's training with a teacher."""

from __future__ import annotations

from dataclasses import dataclass

from freqd.config import DistillConfig
from freqd.data.interactions import Split
from freqd.distill.context import DistillContext
from freqd.distill.objectives import build_objectives
from freqd.distill.student import DISTILLED, VALIDATION_USERS, epochs_of, new_student
from freqd.distill.warm_start import choose_start
from freqd.embeddings import ModelInfo, TrainedModel
from freqd.evaluate.validation import Validation
from freqd.graph import Graphs
from freqd.spectral import SideFilters, Spectrum, apply_filters
from freqd.teachers.previous_model import PreviousModel
from freqd.training.device import resolve
from freqd.training.environment import TrainingEnvironment
from freqd.training.loop import fit
from freqd.training.optim import OptimConfig


@dataclass(frozen=True, eq=False)
class DistillSources:
    """What a student learns from.

    Attributes:
        split: train split to learn from, validation split to stop by.
        teacher: whose features and scores are imitated.
        graphs: on which the teacher's features are filtered.
        spectrum: which filters to use for the features and for the ranking.
        previous: the student of an earlier run; training starts from it if it is better than the start of the settings.
    """

    split: Split
    teacher: TrainedModel
    graphs: Graphs
    spectrum: Spectrum
    previous: PreviousModel | None = None


def distill(sources: DistillSources, config: DistillConfig, environment: TrainingEnvironment) -> TrainedModel:
    """Train the student on BPR and the distillation objectives, from its warm start.

    Args:
        sources: data, teacher and filters.
        config: objectives, student, optimisation.
        environment: its ``checkpoint`` is the file, or the folder of the file, of the training's state.

    Raises:
        InputError: an unknown objective or option, or a previous student of another kind or size.
        DivergedError: the loss is no longer finite.
    """
    spectrum, seed = sources.spectrum, environment.seed
    validate = Validation.of(sources.split, limit=VALIDATION_USERS, seed=seed)
    context = context_of(sources, config, environment)
    terms = build_objectives(config.objectives, context)
    start = choose_start(context, config, validate, sources.previous)
    epochs = epochs_of(config.epochs, DISTILLED, batch_size=config.batch_size, n_interactions=validate.train.nnz)
    model = new_student(config, validate.train, start.tables, seed)
    trained = fit(model, terms, validate, OptimConfig.of(config, epochs=epochs), environment)
    trained.info.update(
        ModelInfo(
            method="distill",
            backbone=config.backbone,
            dim=config.dim,
            warm_start=start.name,
            objectives=[term.model_dump() for term in config.objectives],
            feature_filters=_labels(spectrum.feature_filters),
            ranking_filters=_labels(spectrum.ranking_filters),
        )
    )
    if start.info:
        trained.info["start"] = start.info
    return trained


def context_of(sources: DistillSources, config: DistillConfig, environment: TrainingEnvironment) -> DistillContext:
    """What the objectives may look at."""
    teacher, spectrum = sources.teacher, sources.spectrum
    return DistillContext(
        teacher=teacher.features,
        ranking_teacher=apply_filters(teacher.features, sources.graphs, spectrum.ranking_filters),
        graphs=sources.graphs,
        feature_filters=spectrum.feature_filters,
        train=sources.split.train.matrix(),
        dim=config.dim,
        seed=environment.seed,
        device=str(resolve(environment.device)),
        warm=config.warm_start == "svd" or sources.previous is not None,
        trajectory=teacher.trajectory,
    )


def _labels(filters: SideFilters) -> dict[str, str]:
    return {"user": filters.user.label(), "item": filters.item.label()}
