"""Many methods against each other: teachers once, then students of every method, size and seed."""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

from prefect import flow, runtime
from pydantic import Field

from flows.common import drain, foundations, open_run
from flows.naming import new_name
from freqd.config import DataConfig, DistillConfig, MethodConfig, RunConfig
from freqd.data.sources import name_of
from freqd.storage.store import ArtifactRef
from tasks.experiments.compare import ALONE, Contender, Subject, enter, judge, mastery, tabulate
from tasks.mlops import tracking
from tasks.run_context import RunContext, StageOutcome
from tasks.runtime.workspace import Workspace
from tasks.stages.distill import distill
from tasks.stages.scratch import scratch
from tasks.stages.svd import svd

DEFAULTS = RunConfig()
O = TypeVar("O", bound=StageOutcome)  # noqa: E741
Methods = dict[str, MethodConfig]


@flow(name="compare", flow_run_name=lambda: str(runtime.flow_run.parameters.get("name") or "compare"))
def comparison(
    methods: Methods,
    dims: Annotated[tuple[int, ...], Field(min_length=1)] = (8, 20),
    seeds: Annotated[int, Field(ge=1)] = 3,
    data: tuple[str, ...] = (),
    config: RunConfig = DEFAULTS,
    workdir: str | None = None,
    name: str | None = None,
    against: str = ALONE,
) -> dict[str, Any]:
    """Train each data set's teacher once and the students of all methods, sizes and seeds; returns the comparison.

    The no-distillation baseline and the SVD student are always among them: the gap and the tests need the one, and the
    other costs next to nothing. Every training is a run's own stage, so what a run has computed is not computed again.

    Args:
        methods: the terms of the distillation loss and what a method does not share with the others, by its name.
        dims: sizes of the students.
        seeds: students of each method and size; the first seed is ``config.seed``, which is the teacher's too.
        data: named data sets or files, each on its own; none: that of ``config``.
        config: all other settings.
        workdir: where everything is kept; default FREQD_WORKDIR or ./freqd-work.
        name: name of the comparison; default its data sets and the time.
        against: the method that the others are tested against, one of ``methods``, scratch or svd.
    """
    workspace = Workspace.locate(workdir)
    workspace.prepare()
    sources = [config.data.of(source) for source in data] or [config.data]
    labels = {"methods": ", ".join(methods), "dims": ", ".join(map(str, dims)), "seeds": seeds}
    labels["data"] = ", ".join(map(name_of, sources))
    varied: dict[str, Any] = {"distill": {"dim", "objectives"}, "data": {"source"}, "registry": True}
    params = {**tracking.flat(config.model_dump(mode="json", exclude=varied)), **labels}
    tags = {"freqd.kind": "comparison"}
    with open_run(workspace, name or new_name(*sources), config, params=params, tags=tags) as context:
        stages: list[dict[str, Any]] = []
        which = tuple(range(config.seed, config.seed + seeds))
        subjects = tuple(_DataSet(context, config, source, stages).compare(methods, dims, which) for source in sources)
        return tabulate(context, config, subjects, tuple(stages), which, against).as_json()


class _DataSet:
    """One data set's part of the comparison; what every stage cost is appended to ``stages``."""

    def __init__(
        self, context: RunContext, config: RunConfig, source: DataConfig, stages: list[dict[str, Any]]
    ) -> None:
        self._context, self._config, self._source, self._stages = context, config, source, stages
        self._name = name_of(source)

    def compare(self, methods: Methods, dims: tuple[int, ...], seeds: tuple[int, ...]) -> Subject:
        """Everything up to the spectrum once; then the students."""
        context, config = self._context, self._config
        found = drain(foundations(context, config, self._source), self._book)
        inputs = found.inputs
        split, big = inputs.split, inputs.teacher
        master = self._judged(split, found.taught, "teacher", "teacher", None, config.seed)

        students = []
        for dim in dims:
            for seed in seeds:
                mine = context.model_copy(update={"seed": seed})
                alone = self._book(scratch(mine, split, _student(config.distill, dim)), "scratch", dim, seed)
                students.append(self._judged(split, alone, "scratch", "scratch", dim, seed))
            cut = self._book(svd(context, big, dim), "svd", dim)
            students.append(self._judged(split, cut, "svd", "svd", dim, None))
            for method, own in methods.items():
                settings = _student(config.distill, dim, **own.model_dump(exclude_none=True))
                for seed in seeds:
                    mine = context.model_copy(update={"seed": seed})
                    taught = self._book(distill(mine, inputs, settings, config.spectral), method, dim, seed)
                    students.append(self._judged(split, taught, method, "student", dim, seed))
        first = {f"{s.method} {s.dim}": s.trained.refs[s.model] for s in reversed(students)}
        learnt = self._book(mastery(context, big, inputs.graphs, inputs.spectrum, first, config.spectral))
        return Subject(
            name=self._name,
            split=split,
            spectrum=inputs.spectrum,
            mastery=learnt.mastery,
            teacher=master,
            students=tuple(students),
        )

    def _book(self, outcome: O, method: str | None = None, dim: int | None = None, seed: int | None = None) -> O:
        entry = {"data": self._name, "stage": outcome.name, "method": method, "dim": dim, "seed": seed}
        costs = {"cached": outcome.cached, "seconds": outcome.seconds, "peak_bytes": outcome.peak_bytes}
        self._stages.append({**entry, **costs, "digest": outcome.digest})
        return outcome

    def _judged(
        self, split: ArtifactRef, trained: StageOutcome, method: str, model: str, dim: int | None, seed: int | None
    ) -> Contender:
        judged = self._book(judge(self._context, split, trained.refs[model], self._config.evaluate), method, dim, seed)
        contender = Contender(
            data=self._name, method=method, dim=dim, seed=seed, model=model, trained=trained, judged=judged
        )
        enter(self._context, contender)
        return contender


def _student(config: DistillConfig, dim: int, **changes: Any) -> DistillConfig:
    return DistillConfig.model_validate({**config.model_dump(), "dim": dim, **changes})
