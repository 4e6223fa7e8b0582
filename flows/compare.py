"""Many methods against each other: teachers once, then students of every method, size and seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from prefect import flow, runtime

from flows.common import NewRun, drain, foundations, open_run
from flows.naming import new_name
from freqd.config import ComparisonPlan, DataConfig, DistillConfig, MethodConfig, RunConfig
from freqd.data.sources import name_of
from freqd.embeddings import TrainedModel
from freqd.errors import InputError
from freqd.json_types import JsonObject
from freqd.report.comparison_result import StageOfComparison
from freqd.storage.store import ArtifactRef
from tasks.experiments.compare import Contender, Subject, enter, judge, mastery, seeds_of, tabulate
from tasks.mlops import tracking
from tasks.run_context import Outcome, RunContext, StageOutcome
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
    with open_run(workspace, config, new) as context:
        subjects = tuple(_DataSet(context, config, source).compare(plan) for source in sources)
        return tabulate(context, config, plan, subjects).as_json()


@dataclass(frozen=True)
class Named:
    """Whose a stage is: a method's, at a size, with a seed; None where that does not apply."""

    method: str | None = None
    dim: int | None = None
    seed: int | None = None


NOBODY = Named()


class _DataSet:
    """One data set's part of the comparison; what every stage cost is kept in the order of the stages."""

    def __init__(self, context: RunContext, config: RunConfig, source: DataConfig) -> None:
        self._context, self._config, self._source = context, config, source
        self._name = name_of(source)
        self._stages: list[StageOfComparison] = []

    def compare(self, plan: ComparisonPlan) -> Subject:
        """Everything up to the spectrum once; then the students."""
        context, config = self._context, self._config
        found = drain(foundations(context, config, self._source), self._book)
        inputs = found.inputs
        split = inputs.split
        master = self._judged(split, found.taught, "teacher", Named("teacher", None, config.seed))

        beside = None
        if names := config.baselines.references:
            beside = self._book(references(context, split, names, config.baselines.max_items, config.evaluate))
        students = []
        seeds = seeds_of(config, plan)
        for dim in plan.dims:
            for seed in seeds:
                mine = context.model_copy(update={"seed": seed})
                named = Named("scratch", dim, seed)
                student = _student(config.distill, dim, MethodConfig(objectives=()))
                alone = self._book(baselines(mine, split, student, config.baselines), named)
                students.append(self._judged(split, alone, "scratch", named))
            for truncated in (svd(context, inputs.teacher, dim), filtered_svd(context, inputs, dim)):
                named = Named(truncated.name, dim)
                students.append(self._judged(split, self._book(truncated, named), "svd", named))
            for method, own in plan.methods.items():
                settings = self._best(
                    inputs, [_student(config.distill, dim, each) for each in plan.variants(own)], method
                )
                for seed in seeds:
                    mine = context.model_copy(update={"seed": seed})
                    named = Named(method, dim, seed)
                    taught = self._book(distill(mine, inputs, settings, config.spectral), named)
                    students.append(self._judged(split, taught, "student", named))
        first = {f"{s.method} {s.dim}": s.trained.refs[s.model] for s in reversed(students)}
        learnt = self._book(mastery(context, inputs, first, config.spectral))
        return Subject(
            name=self._name,
            split=split,
            spectrum=inputs.spectrum,
            mastery=learnt.mastery,
            teacher=master,
            references=beside,
            students=tuple(students),
            stages=tuple(self._stages),
        )

    def _best(self, inputs: DistillInputs, tried: Sequence[DistillConfig], method: str) -> DistillConfig:
        """Of several settings those with which the first seed's student is best on validation."""
        if len(tried) == 1:
            return tried[0]
        context = self._context
        values = []
        for settings in tried:
            named = Named(method, settings.dim, context.seed)
            taught = self._book(distill(context, inputs, settings, self._config.spectral), named)
            student = context.workspace.store.open(taught.student, TrainedModel)
            values.append(student.info["valid_ndcg_at_10"])
        return tried[values.index(max(values))]

    def _book(self, outcome: Outcome, named: Named = NOBODY) -> Outcome:
        self._stages.append(
            StageOfComparison(
                data=self._name,
                stage=outcome.name,
                **vars(named),
                cached=outcome.cached,
                seconds=outcome.seconds,
                peak_bytes=outcome.peak_bytes,
                digest=outcome.digest,
            )
        )
        return outcome

    def _judged(self, split: ArtifactRef, trained: StageOutcome, model: str, named: Named) -> Contender:
        judged = self._book(judge(self._context, split, trained.refs[model], self._config.evaluate), named)
        contender = Contender(data=self._name, **vars(named), model=model, trained=trained, judged=judged)
        enter(self._context, contender)
        return contender


def _student(config: DistillConfig, dim: int, method: MethodConfig) -> DistillConfig:
    own = method.model_dump(exclude_none=True)
    return DistillConfig.model_validate({**config.model_dump(), "dim": dim, **own})
