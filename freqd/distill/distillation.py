"""The student's training with a teacher."""

from __future__ import annotations

from dataclasses import dataclass, replace

from scipy import sparse

from freqd.config import DistillConfig
from freqd.data.interactions import Split
from freqd.distill.context import DistillContext
from freqd.distill.feature_filters import choose_by_trials, trial_epochs
from freqd.distill.objectives import build_objectives, check_objectives
from freqd.distill.shards import train_student
from freqd.distill.student import DISTILLED, VALIDATION_USERS, epochs_of, new_student
from freqd.distill.warm_start import choose_start
from freqd.embeddings import Embeddings, ModelInfo, TrainedModel
from freqd.evaluate.metrics import PerUser
from freqd.evaluate.validation import Validation
from freqd.graph import Graphs
from freqd.scorer import Scorer
from freqd.spectral import SideFilters, Spectrum, apply_filters, filtered_scorer
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
    context = context_of(sources, config, environment, validate.train)
    checked = check_objectives(config.objectives)
    start = choose_start(context, config, validate, sources.previous)
    candidates, measured = spectrum.feature_candidates, None
    if len(candidates) > 1 and any(cls.needs_measured_filters(options) for cls, options, weight in checked if weight):
        trials = _Trials(context, config, validate, start.tables, environment)
        measured = choose_by_trials(candidates, trials.train)
        context = replace(context, feature_filters=measured.filters)
    epochs = epochs_of(config.epochs, DISTILLED, batch_size=config.batch_size, n_interactions=validate.train.nnz)
    optim = OptimConfig.of(config, epochs=epochs)
    trained, terms = train_student(context, config, start.tables, validate, optim, environment)
    trained.info.update(
        ModelInfo(
            method="distill",
            backbone=config.backbone,
            dim=config.dim,
            warm_start=start.name,
            objectives=[term.model_dump() for term in config.objectives],
            ranking_filters=spectrum.ranking_filters.model_dump(),
        )
    )
    filtering = [term.filters for term in terms if term.filters is not None]
    if filtering:
        trained.info["feature_filters"] = filtering[0].model_dump()
    if measured is not None:
        trained.info["feature_trials"] = list(measured.trials)
        trained.info["feature_reason"] = measured.reason
    if start.info:
        trained.info["start"] = start.info
    return trained


def context_of(
    sources: DistillSources,
    config: DistillConfig,
    environment: TrainingEnvironment,
    train: sparse.csr_array | None = None,
) -> DistillContext:
    """What the objectives may look at; ``train`` is the matrix of the train split, where it is there already."""
    teacher, spectrum = sources.teacher, sources.spectrum
    filtered = apply_filters(teacher.features, sources.graphs, spectrum.ranking_filters)
    return DistillContext(
        teacher=teacher.features,
        raw_teacher=teacher.scorer,
        ranking_teacher=ranking_teacher(teacher, filtered, spectrum.ranking_filters),
        ranking_table=filtered,
        graphs=sources.graphs,
        feature_filters=spectrum.feature_candidates[0],
        train=sources.split.train.matrix() if train is None else train,
        dim=config.dim,
        seed=environment.seed,
        device=str(resolve(environment.device)),
        warm=config.warm_start == "svd" or sources.previous is not None,
        trajectory=teacher.trajectory,
        engine=environment.engine,
        index=environment.index,
    )


def ranking_teacher(teacher: TrainedModel, filtered: Embeddings, filters: SideFilters) -> Scorer:
    """The teacher behind its filters; ``filtered`` are its features behind them."""
    if filters.user.is_identity and filters.item.is_identity:
        return teacher.scorer
    return filtered if teacher.full is None else filtered_scorer(teacher.full, teacher.features, filtered)


@dataclass
class _Trials:
    """Short trainings of the student that differ in the feature filters alone; ``start`` are its tables."""

    context: DistillContext
    config: DistillConfig
    validate: Validation
    start: Embeddings | None
    environment: TrainingEnvironment
    done: int = 0

    def train(self, filters: SideFilters) -> PerUser:
        """NDCG@10 of each validation user with these filters."""
        train, config, seed = self.validate.train, self.config, self.context.seed
        epochs = trial_epochs(train.nnz, config.batch_size)
        optim = OptimConfig.of(config, epochs=epochs, eval_every=epochs, max_seconds=None)
        self.done += 1
        label = f"trial {self.done} of the feature filter, "
        environment = TrainingEnvironment(
            seed, self.environment.device, progress=lambda _, text: self.environment.progress(0.0, label + text)
        )
        terms = build_objectives(config.objectives, replace(self.context, feature_filters=filters))
        model = new_student(config, train, self.start, seed)
        return self.validate.per_user(fit(model, terms, self.validate, optim, environment).features)
