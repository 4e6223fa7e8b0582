"""The student's training with a teacher."""

from __future__ import annotations

from pathlib import Path

from freqd.config import DistillConfig
from freqd.data.interactions import Split
from freqd.distill.context import DistillContext
from freqd.distill.objectives import build_objectives
from freqd.distill.student import DISTILLED, VALIDATION_USERS, epochs_of, fit_settings, new_student
from freqd.distill.warm_start import choose_start
from freqd.embeddings import TrainedModel
from freqd.evaluate.validation import Validation
from freqd.graph import Graphs
from freqd.progress import Progress, silent
from freqd.spectral import SideFilters, Spectrum, apply_filters
from freqd.teachers.earlier import Previous
from freqd.training.device import resolve
from freqd.training.loop import Probe, Watch, fit


def distill(
    split: Split,
    teacher: TrainedModel,
    graphs: Graphs,
    spectrum: Spectrum,
    config: DistillConfig,
    *,
    seed: int,
    device: str,
    checkpoint: Path,
    previous: Previous | None = None,
    probe: Probe | None = None,
    watch: Watch | None = None,
    progress: Progress = silent,
) -> TrainedModel:
    """Train the student on BPR and the distillation objectives, from its warm start.

    Args:
        split: train split to learn from, validation split to stop by.
        teacher: whose features and scores are imitated.
        graphs: on which the teacher's features are filtered.
        spectrum: which filters to use for the features and for the ranking.
        config: objectives, student, optimisation.
        seed: of every random choice.
        device: auto, cpu, cuda or cuda:N.
        checkpoint: file of the training's state; resumed if it is there.
        previous: the student of an earlier run; training starts from it if it is better than the start of the settings.
        probe: measurements at each validation, for the history.
        watch: called with (epoch, validation NDCG@10); whatever it raises ends the training.
        progress: told about each epoch.

    Raises:
        InputError: an unknown objective or option, or a previous student of another kind or size.
        DivergedError: the loss is no longer finite.
    """
    validate = Validation.of(split, limit=VALIDATION_USERS, seed=seed)
    train = validate.train
    context = DistillContext(
        teacher=teacher.features,
        ranking_teacher=apply_filters(teacher.features, graphs, spectrum.ranking_filters),
        graphs=graphs,
        feature_filters=spectrum.feature_filters,
        train=train,
        dim=config.dim,
        seed=seed,
        device=str(resolve(device)),
        warm=config.warm_start == "svd" or previous is not None,
        trajectory=teacher.trajectory,
    )
    terms = build_objectives(config.objectives, context)
    epochs = epochs_of(config.epochs, DISTILLED, batch_size=config.batch_size, n_interactions=train.nnz)
    start = choose_start(context, config, validate, previous)
    trained = fit(
        new_student(config, train, start.tables, seed),
        terms,
        train,
        validate=validate,
        settings=fit_settings(config, epochs, config.learning_rate, config.weight_decay, device),
        seed=seed,
        checkpoint=checkpoint,
        probe=probe,
        watch=watch,
        progress=progress,
    )
    trained.info.update(
        method="distill",
        backbone=config.backbone,
        dim=config.dim,
        warm_start=start.name,
        objectives=[term.model_dump() for term in config.objectives],
        feature_filters=_labels(spectrum.feature_filters),
        ranking_filters=_labels(spectrum.ranking_filters),
    )
    if start.info:
        trained.info["start"] = start.info
    return trained


def _labels(filters: SideFilters) -> dict[str, str]:
    return {"user": filters.user.label(), "item": filters.item.label()}
