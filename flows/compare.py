"""Many methods against each other: teachers once, then students of every method, size and seed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from prefect import flow, runtime

from flows.common import NewRun, drain, foundations, open_run
from flows.naming import new_name
from freqd.config import ComparisonPlan, DataConfig, DistillConfig, MethodConfig, RunConfig
from freqd.data.sources import name_of
from freqd.distill.shards import check_shards
from freqd.embeddings import TrainedModel
from freqd.errors import InputError
from freqd.json_types import JsonObject
from freqd.report.comparison_result import StageOfComparison
from freqd.storage.store import ArtifactRef
from tasks.experiments.compare import Contender, Subject, enter, judge, mastery, seeds_of, tabulate
from tasks.mlops import tracking
from tasks.run_context import Outcome, RunContext, StageOutcome
from tasks.runtime.engine import engine, side_by_side
from tasks.runtime.workspace import Workspace
from tasks.stages.baselines import baselines
from tasks.stages.distill import distill
from tasks.stages.inputs import DistillInputs
from tasks.stages.references import references
from tasks.stages.svd import filtered_svd, svd

DEFAULTS = RunConfig()


@flow(name="compare", flow_run_name=lambda: str(runtime.flow_run.parameters.get("name") or "compare"))
def comparison(
    plan: ComparisonPlan, config: RunConfig = DEFAULTS, workdir: str | None = None, name: str | None = None
) -> JsonObject:
    """Train each data set's teacher once and the students of all methods, sizes and seeds; returns the comparison.

    The no-distillation baseline and the SVD student are always among them: the gap and the tests need the one, and the
    other costs next to nothing. Every training is a run's own stage, so what a run has computed is not computed again.

    Args:
        plan: methods, sizes, seeds and data.
        config: all other settings.
        workdir: where everything is kept; default FREQD_WORKDIR or ./freqd-work.
        name: name of the comparison; default its data sets and the time.
    """
    if not config.baselines.small:
        raise InputError(
            "baselines.models has no model of the student's size, against which a comparison measures the gap",
            "name at least one of als, bpr and softmax there",
        )
    for method in plan.methods.values():
        check_shards(config.distill.model_copy(update={"objectives": method.objectives}), config.device)
    workspace = Workspace.locate(workdir)
    workspace.prepare()
    sources = [config.data.of(source) for source in plan.data] or [config.data]
    labels = {
        "methods": ", ".join(plan.methods),
        "dims": ", ".join(map(str, plan.dims)),
        "seeds": plan.seeds,
        "data": ", ".join(map(name_of, sources)),
    }
    varied: dict[str, set[str] | bool] = {"distill": {"dim", "objectives"}, "data": {"source"}, "registry": True}
    params = {**tracking.flat(config.model_dump(mode="json", exclude=varied)), **labels}
    new = NewRun(name or new_name(*sources), params, kind="comparison")
    with engine(config.engine, workspace), open_run(workspace, config, new) as context:
        subjects = tuple(_DataSet(context, config, source).compare(plan) for source in sources)
        return tabulate(context, config, plan, subjects).as_json()


@dataclass(frozen=True)
class Named:
    """Whose a stage is: a method's, at a size, with a seed; None where that does not apply."""

    method: str | None = None
    dim: int | None = None
    seed: int | None = None


NOBODY = Named()


class _Book:
    """What the stages of a data set cost, in their order."""

    def __init__(self, data: str) -> None:
        self._data = data
        self.stages: list[StageOfComparison] = []

    def __call__(self, outcome: Outcome, named: Named = NOBODY) -> Outcome:
        """Enter a stage."""
        self.stages.append(
            StageOfComparison(
                data=self._data,
                stage=outcome.name,
                **vars(named),
                cached=outcome.cached,
                seconds=outcome.seconds,
                peak_bytes=outcome.peak_bytes,
                digest=outcome.digest,
            )
        )
        return outcome


class _DataSet:
    """One data set's part of the comparison."""

    def __init__(self, context: RunContext, config: RunConfig, source: DataConfig) -> None:
        self._context, self._config, self._source = context, config, source
        self._name = name_of(source)
        self._book = _Book(self._name)

    def compare(self, plan: ComparisonPlan) -> Subject:
        """Everything up to the spectrum once; then the students, beside each other where the engine has room."""
        context, config, book = self._context, self._config, self._book
        found = drain(foundations(context, config, self._source), book)
        inputs = found.inputs
        split = inputs.split
        master = self._enter(self._judged(split, found.taught, "teacher", Named("teacher", None, config.seed)))

        beside = None
        if names := config.baselines.references:
            beside = book(references(context, split, names, config.baselines.max_items, config.evaluate))
        seeds = seeds_of(config, plan)
        chosen = self._chosen(inputs, plan)
        jobs: list[Callable[[], Contender]] = []
        for dim in plan.dims:
            jobs += [partial(self._alone, split, dim, seed) for seed in seeds]
            jobs += [partial(self._truncated, inputs, dim, filtered=filtered) for filtered in (False, True)]
            jobs += [
                partial(self._taught, inputs, name, chosen[dim, name], seed) for name in plan.methods for seed in seeds
            ]
        students = [self._enter(contender) for contender in side_by_side(jobs)]
        first = {f"{s.method} {s.dim}": s.trained.refs[s.model] for s in reversed(students)}
        learnt = book(mastery(context, inputs, first, config.spectral))
        return Subject(
            name=self._name,
            split=split,
            spectrum=inputs.spectrum,
            mastery=learnt.mastery,
            teacher=master,
            references=beside,
            students=tuple(students),
            stages=tuple(book.stages),
        )

    def _chosen(self, inputs: DistillInputs, plan: ComparisonPlan) -> dict[tuple[int, str], DistillConfig]:
        """Of each method's settings, for each size, those with which the first seed's student is best on validation."""
        context, spectral = self._context, self._config.spectral
        tried = {
            (dim, method): [_student(self._config.distill, dim, each) for each in plan.variants(own)]
            for dim in plan.dims
            for method, own in plan.methods.items()
        }
        several = [(key, settings) for key, found in tried.items() if len(found) > 1 for settings in found]
        trained = side_by_side([partial(distill, context, inputs, settings, spectral) for _, settings in several])
        values: dict[tuple[int, str], list[float]] = {}
        for ((dim, method), _), taught in zip(several, trained, strict=True):
            self._book(taught, Named(method, dim, context.seed))
            info = context.workspace.store.open(taught.student, TrainedModel).info
            values.setdefault((dim, method), []).append(info["valid_ndcg_at_10"])
        return {
            key: found[values[key].index(max(values[key]))] if key in values else found[0]
            for key, found in tried.items()
        }

    def _alone(self, split: ArtifactRef, dim: int, seed: int) -> Contender:
        """The best model of a size without a teacher."""
        settings = _student(self._config.distill, dim, MethodConfig(objectives=()))
        trained = baselines(self._seeded(seed), split, settings, self._config.baselines)
        return self._judged(split, trained, "scratch", Named("scratch", dim, seed))

    def _truncated(self, inputs: DistillInputs, dim: int, *, filtered: bool) -> Contender:
        """The SVD of the teacher, or of the filtered teacher."""
        context = self._context
        trained = filtered_svd(context, inputs, dim) if filtered else svd(context, inputs.teacher, dim)
        return self._judged(inputs.split, trained, "svd", Named(trained.name, dim))

    def _taught(self, inputs: DistillInputs, method: str, settings: DistillConfig, seed: int) -> Contender:
        """A student of a method."""
        trained = distill(self._seeded(seed), inputs, settings, self._config.spectral)
        return self._judged(inputs.split, trained, "student", Named(method, settings.dim, seed))

    def _judged(self, split: ArtifactRef, trained: StageOutcome, model: str, named: Named) -> Contender:
        judged = judge(self._context, split, trained.refs[model], self._config.evaluate)
        return Contender(data=self._name, **vars(named), model=model, trained=trained, judged=judged)

    def _enter(self, contender: Contender) -> Contender:
        """Into the book and into MLflow."""
        named = Named(contender.method, contender.dim, contender.seed)
        if contender.method != "teacher":  # whose training is booked with the stages before
            self._book(contender.trained, named)
        self._book(contender.judged, named)
        enter(self._context, contender)
        return contender

    def _seeded(self, seed: int) -> RunContext:
        return self._context.model_copy(update={"seed": seed})


def _student(config: DistillConfig, dim: int, method: MethodConfig) -> DistillConfig:
    own = method.model_dump(exclude_none=True)
    return DistillConfig.model_validate({**config.model_dump(), "dim": dim, **own})
