"""How fast a model ages: models made as of several dates, each judged on every later window."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from functools import partial
from typing import NamedTuple

from prefect import flow, runtime

from flows.common import NewRun, drain, foundations, open_run
from flows.naming import new_name
from flows.pipeline import patient
from freqd.cadence import Window, check_settings
from freqd.cadence.recommend import FULL, REDISTILLED, Kind
from freqd.config import RunConfig
from freqd.config.budget import within_budget
from freqd.json_types import JsonObject
from freqd.report.cadence_result import StageOfCadence
from freqd.storage.store import ArtifactRef
from tasks.earlier_run import Before
from tasks.experiments.cadence import WindowInputs, judge, tabulate, timeline, windows_of
from tasks.experiments.cadence_numbers import Measured, Model, Verdict
from tasks.experiments.cadence_refit import Arm, Replay, plain
from tasks.mlops import tracking
from tasks.run_context import Outcome, RunContext, StageOutcome
from tasks.runtime.engine import engine, side_by_side
from tasks.runtime.workspace import Workspace
from tasks.stages.distill import distill
from tasks.stages.refit import RefitInputs, refit
from tasks.warm_start import Start, fitting

DEFAULTS = RunConfig()


@flow(name="cadence", flow_run_name=lambda: str(runtime.flow_run.parameters.get("name") or "cadence"))
def cadence(config: RunConfig = DEFAULTS, workdir: str | None = None, name: str | None = None) -> JsonObject:
    """Before each window a full model and one re-distilled from the window before; all on what came later.

    Every training is a run's own stage, so what a run or a backfill as of that day has computed is not computed again.

    Args:
        config: all settings; ``cadence`` cuts the windows.
        workdir: where everything is kept; default FREQD_WORKDIR or ./freqd-work.
        name: name of the result; default the data set and the time.

    Raises:
        InputError: the data have no times, are too short, or are to be split in another way.
    """
    check_settings(config)
    workspace = Workspace.locate(workdir)
    workspace.prepare()
    params = tracking.flat(config.model_dump(mode="json", exclude={"registry", "drift"}))
    new = NewRun(name or f"cadence-{new_name(config.data)}", params, kind="cadence")
    with engine(config.engine, workspace), open_run(workspace, config, new) as context:
        return _Cadence(context, within_budget(config)).measure()


class Trained(NamedTuple):
    """A model, and what it came from."""

    model: Model
    stages: Sequence[StageOutcome]


class _Cadence:
    """One data set; what every stage cost is kept in the order of the stages."""

    def __init__(self, context: RunContext, config: RunConfig) -> None:
        self._context, self._config = context, config
        self._stages: list[StageOfCadence] = []

    def measure(self) -> JsonObject:
        """The windows, then a window at a time: its models, and all full models so far on it."""
        context, config = self._context, self._config
        cut = self._book(timeline(context, config.data, config.cadence), "", None)
        times, windows = cut.timeline, windows_of(context, cut.windows)
        trained = side_by_side([partial(self._train, n, window.as_of, None) for n, window in enumerate(windows)])
        full: list[Model] = []
        verdicts: list[Verdict] = []
        replays: list[Replay] = []
        before: Model | None = None
        for number, (window, made) in enumerate(zip(windows, trained, strict=True)):
            newest = self._enter(made)
            full.append(newest)
            models = [*full]
            if before is not None:
                models.append(self._enter(self._train(number, window.as_of, before)))
            judged = side_by_side(
                [partial(self._judge, times, number, window, newest.split, model) for model in models]
            )
            for verdict in judged:
                self._book(verdict.outcome, verdict.model.kind, verdict.model.as_of, f" on {window.first}")
            verdicts += judged
            if config.cadence.refit:
                replays.append(self._replay(times, window, newest))
            before = models[-1]  # the chain of re-distillations, as in production
        found = {"verdicts": tuple(verdicts), "stages": tuple(self._stages), "replays": tuple(replays)}
        measured = Measured(timeline=times, windows=windows, **found)
        return tabulate(context, config, measured).as_json()

    def _enter(self, made: Trained) -> Model:
        """Enter what a model's stages cost."""
        for outcome in made.stages:
            self._book(outcome, made.model.kind, made.model.as_of)
        return made.model

    def _train(self, number: int, as_of: date, before: Model | None) -> Trained:
        """The student as of a day, from scratch or from an earlier model."""
        context, config = self._context, self._config
        kind: Kind = FULL if before is None else REDISTILLED
        stages: list[StageOutcome] = []

        def begin(split: ArtifactRef) -> Start | None:
            if before is None:
                return None
            refs = {"split": before.split, "teacher": before.teacher, "student": before.student}
            asked = Start(asked=kind, before=Before(run=f"{before.kind} as of {before.as_of}", **refs))
            return fitting(context.workspace.store, asked, split, required=False)

        data = config.data.model_copy(update={"as_of": as_of})
        found = drain(foundations(context, config, data, begin), stages.append)
        inputs = found.inputs
        taught = distill(context, inputs, patient(config, found.start), config.spectral, found.earlier_student)
        stages.append(taught)
        model = Model(
            window=number,
            as_of=as_of,
            kind=kind,
            split=inputs.split,
            teacher=inputs.teacher,
            spectrum=inputs.spectrum,
            student=taught.student,
            seconds={outcome.name: outcome.seconds for outcome in stages},
            why=found.start.why if found.start else "",
        )
        return Trained(model, stages)

    def _judge(self, times: ArtifactRef, number: int, window: Window, newest: ArtifactRef, model: Model) -> Verdict:
        inputs = WindowInputs(timeline=times, newest=newest, split=model.split, student=model.student)
        outcome = judge(self._context, inputs, window.first, window.last, self._config.evaluate)
        return Verdict(model=model, window=number, outcome=outcome)

    def _replay(self, times: ArtifactRef, window: Window, model: Model) -> Replay:
        """The model's refit, the judged student and a plain ALS on the window: asked for all users and items that the refit knows.

        Only here: the next re-distillation goes on from the judged models.
        """
        context, config, as_of = self._context, self._config, model.as_of
        inputs = RefitInputs(split=model.split, teacher=model.teacher, spectrum=model.spectrum, student=model.student)
        again = self._book(refit(context, inputs, config.graph, config.teacher, config.distill), "refit", as_of)
        if "student" not in again.refs:
            return Replay(whole=None, outcomes={}, seconds=again.seconds)
        whole = again.refs["split"]
        small = self._book(plain(context, model.split, whole, config.distill), "als", as_of)
        arms: dict[Arm, tuple[ArtifactRef, ArtifactRef]] = {
            "refit": (whole, again.refs["student"]),
            "judged": (model.split, model.student),
            "als": (whole, small.model),
        }
        outcomes: dict[Arm, StageOutcome] = {}
        for arm, (split, student) in arms.items():
            asked = WindowInputs(timeline=times, newest=whole, split=split, student=student)
            outcome = judge(context, asked, window.first, window.last, config.evaluate)
            outcomes[arm] = self._book(outcome, arm, as_of, f" on {window.first}, for the refit")
        return Replay(whole=whole, outcomes=outcomes, seconds=again.seconds)

    def _book(self, outcome: Outcome, kind: str, as_of: date | None, where: str = "") -> Outcome:
        if as_of is not None:
            tracking.client().update_run(outcome.mlflow_run_id, name=f"{outcome.name} {kind} as of {as_of}{where}")
            tracking.log(outcome.mlflow_run_id, tags={"as_of": str(as_of), "kind": kind})
        self._stages.append(
            StageOfCadence(
                stage=outcome.name,
                kind=kind,
                as_of=None if as_of is None else str(as_of),
                cached=outcome.cached,
                seconds=outcome.seconds,
                peak_bytes=outcome.peak_bytes,
                digest=outcome.digest,
            )
        )
        return outcome
