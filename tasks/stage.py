"""A stage is a function: ``@stage`` gives it retries, a key, the cache, a lock, an MLflow run and a line on the console.

    @stage("graph", Built)
    def graph(at: Stage, split: ArtifactRef, config: GraphConfig) -> Result: ...

    graphs = graph(run, split, config.graph).graphs

The key is the stage's name, the digests of the artifacts among its arguments, the values of all its other arguments, and the
syntax trees of its own module and of what that imports. A result in the cache is checked byte by byte before it is
used; a damaged one is made again. Two processes that want the same result wait for each other.
"""

from __future__ import annotations

import importlib
import inspect
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, wraps
from pathlib import Path
from typing import Any, Concatenate, Generic, Literal, ParamSpec, TypeVar, get_type_hints

from filelock import FileLock
from prefect import get_run_logger, task
from prefect.client.schemas import State
from prefect.context import TaskRunContext
from prefect.states import Completed
from pydantic import BaseModel

from freqd import provenance
from freqd.engine import Engine
from freqd.errors import DamagedArtifactError
from freqd.numerics.threads import limited
from freqd.storage.files import storage_error
from freqd.storage.store import Artifact, ArtifactRef, Store
from freqd.training.environment import Observe, TrainingEnvironment
from tasks.mlops import tracking
from tasks.run_context import Outcome, RunContext, StageOutcome
from tasks.runtime.engine import blocks_of_run, call
from tasks.runtime.errors import PLACE
from tasks.runtime.page import Shown, show
from tasks.runtime.progress import StageProgress, console
from tasks.runtime.resources import PeakMemory, return_memory
from tasks.stage_entry import Shape, StageEntry, Without

P = ParamSpec("P")
A = TypeVar("A", bound=Artifact)
Uses = Literal["seed", "device", "index"]


@dataclass
class Result:
    """What a stage computed, and what MLflow and Prefect should show of it.

    Attributes:
        artifacts: what is kept, by the names that the stage's outcome has for them.
        headline: the result in one line.
        metrics: final numbers for MLflow.
        series: learning curve, one entry a validation.
        shown: tables and texts for the Prefect page.
        lines: what else the console shows, also when the result comes from the cache.
        kept: False of a computation that was given up on purpose: it is recorded, and computed anew the next time.
    """

    artifacts: Mapping[str, Artifact]
    headline: str
    metrics: Mapping[str, float | int | None] = field(default_factory=dict)
    series: Sequence[Mapping[str, object]] = ()
    shown: Sequence[Shown] = ()
    lines: Sequence[str] = ()
    kept: bool = True


@dataclass(frozen=True)
class Stage:
    """What a computation may use.

    Attributes:
        run: the run that asks.
        scratch: a folder for checkpoints that survives a kill.
        progress: somewhere to report how far it is.
        key: of this result.
    """

    run: RunContext
    scratch: Path
    progress: StageProgress
    key: str

    @cached_property
    def store(self) -> Store:
        """The artifacts of the working directory."""
        return self.run.workspace.store

    def open(self, ref: ArtifactRef, kind: type[A]) -> A:
        """Read an artifact."""
        return self.store.open(ref, kind)

    @cached_property
    def engine(self) -> Engine:
        """What does work in blocks."""
        return blocks_of_run(self.run, self.progress.blocks)

    def environment(self, observe: Observe | None = None) -> TrainingEnvironment:
        """Where a training of this stage runs."""
        run = self.run
        return TrainingEnvironment(run.seed, run.device, self.scratch, self.progress, observe, self.engine, run.index)


Body = Callable[Concatenate[Stage, P], Result]
Source = Callable[Concatenate[RunContext, P], Mapping[str, str | None]]
Confirm = Callable[[RunContext, Mapping[str, ArtifactRef]], bool]


@dataclass(frozen=True)
class _Outside(Generic[P]):
    """What a stage knows of what lies outside of the store; the arguments of ``stage``."""

    source: Source[P] | None
    confirm: Confirm


class StageFunction(Generic[P, Outcome]):
    """A stage: called with a run and its arguments it finds its result or makes it, as a Prefect task."""

    def __init__(
        self, name: str, outcome: type[Outcome], body: Body[P], uses: Sequence[Uses], *, outside: _Outside[P]
    ) -> None:
        self.name, self.outcome, self.uses = name, outcome, tuple(uses)
        self._body, self._outside = body, outside
        self._signature = inspect.signature(body)
        hints = get_type_hints(body, include_extras=True)
        self._dumps = {
            parameter: mark
            for parameter, hint in hints.items()
            for mark in getattr(hint, "__metadata__", ())
            if isinstance(mark, Without)
        }
        self._task = task(name=name, retries=2, retry_delay_seconds=5, retry_condition_fn=is_transient)(self._as_task())
        self.__doc__ = body.__doc__

    def __reduce__(self) -> tuple[Callable[[str, str], Any], tuple[str, str]]:
        """By name, as functions are sent to other processes."""
        return _named, (self.module, self._body.__name__)

    def _as_task(self) -> Callable[..., State[StageOutcome]]:
        @wraps(self._body)
        def run_it(run: RunContext, /, *args: P.args, **kwargs: P.kwargs) -> State[StageOutcome]:
            return self.state(self._within(run, self._body, *args, **kwargs))

        first, *others = self._signature.parameters.values()
        run_it.__signature__ = self._signature.replace(  # type: ignore[attr-defined]
            parameters=[first.replace(name="run", annotation=RunContext), *others]
        )
        return run_it

    def __call__(self, run: RunContext, *args: P.args, **kwargs: P.kwargs) -> Outcome:
        """The outcome, from the cache or computed."""
        outcome = call(self._task, run, *args, **kwargs)
        assert isinstance(outcome, self.outcome)
        return outcome

    def within(self, run: RunContext, body: Body[P], /, *args: P.args, **kwargs: P.kwargs) -> Outcome:
        """The same inside of another task, and with another computation of the same result, such as one that may stop early."""
        outcome = self._within(run, body, *args, **kwargs)
        get_run_logger().info("%s", outcome.told)  # of a stage that is its own task, the final state says it
        return outcome

    def _within(self, run: RunContext, body: Body[P], /, *args: P.args, **kwargs: P.kwargs) -> Outcome:
        given = self._signature.bind(None, *args, **kwargs)
        given.apply_defaults()
        arguments = dict(list(given.arguments.items())[1:])
        inputs, settings = self._shape(run, arguments)
        if self._outside.source is not None:
            settings |= self._outside.source(run, *args, **kwargs)
        digests = {label: ref.digest for label, ref in inputs.items()}
        shape = Shape(self.name, digests, settings, provenance.code_digest([self.module]))
        return self._find_or_make(run, shape, lambda at: body(at, *args, **kwargs))

    def _shape(
        self, run: RunContext, arguments: Mapping[str, object]
    ) -> tuple[dict[str, ArtifactRef], dict[str, object]]:
        """What of the arguments shapes the result: artifacts, and values."""
        inputs: dict[str, ArtifactRef] = {}
        settings: dict[str, object] = {}
        for name, value in [*((name, getattr(run, name)) for name in self.uses), *arguments.items()]:
            if refs := dict(_artifacts(name, value)):
                inputs |= refs
            elif isinstance(value, BaseModel):
                found = self._dumps.get(name, Without()).dump(value)
                settings |= found if name == "config" else {name: found}
            elif value is not None:
                settings[name] = value
        return inputs, settings

    def _find_or_make(self, run: RunContext, shape: Shape, compute: Callable[[Stage], Result]) -> Outcome:
        key, store = shape.key, run.workspace.store
        task_run = TaskRunContext.get()
        task_run_id = str(task_run.task_run.id) if task_run else ""
        tags = {tracking.TASK_RUN: task_run_id, "freqd.key": key}
        if run.engine.kind == "ray" and task_run_id:
            tracking.close_earlier(run.mlflow_experiment_id, task_run_id)
        try:
            (store.root / "locks").mkdir(parents=True, exist_ok=True)
            with (
                tracking.stage_run(run.mlflow_experiment_id, run.mlflow_run_id, self.name, tags) as run_id,
                FileLock(store.root / "locks" / f"{key}.lock"),
            ):
                entry = None if self.name in run.force else self._cached(run, key)
                cached = entry is not None
                if entry is None:
                    entry = self._compute(run, shape, compute)
                tracking.log(
                    run_id,
                    metrics={
                        **entry.metrics,
                        "stage_seconds": entry.seconds,
                        "stage_peak_bytes": entry.peak_bytes,
                    },
                    params=tracking.flat(shape.settings),
                    tags={"freqd.cached": str(cached).lower(), "freqd.headline": entry.headline},
                    series=entry.series,
                )
                show(entry.shown, made_by=entry.run if cached else None)
        except OSError as error:
            if error.errno in PLACE:
                raise storage_error(error, run.workspace.root) from error
            raise
        outcome = self.outcome(
            name=self.name,
            mlflow_run_id=run_id,
            cached=cached,
            seconds=entry.seconds,
            peak_bytes=entry.peak_bytes,
            headline=entry.headline,
            refs=entry.refs,
        )
        _tell(outcome, entry.lines)
        return outcome

    @property
    def module(self) -> str:
        """Where the stage is written: with all that it imports, its code is part of the key."""
        return self._body.__module__

    def state(self, outcome: StageOutcome) -> State[StageOutcome]:
        """As the final state of a Prefect task."""
        return Completed(name="Cached" if outcome.cached else None, message=outcome.told, data=outcome)

    def _cached(self, run: RunContext, key: str) -> StageEntry | None:
        store = run.workspace.store
        entry = StageEntry.recall(store, self.name, key)
        if entry is None:
            return None
        try:
            for ref in entry.refs.values():
                store.verify(ref)
        except DamagedArtifactError as error:
            get_run_logger().warning("%s; it is computed again", error)
            console.print(f"{self.name:<10}{'':>8}  {error}; it is computed again", markup=False, soft_wrap=True)
            return None
        return entry if self._outside.confirm(run, entry.refs) else None

    def _compute(self, run: RunContext, shape: Shape, compute: Callable[[Stage], Result]) -> StageEntry:
        key, store = shape.key, run.workspace.store
        return_memory()
        started = time.perf_counter()
        with limited(run.threads), StageProgress(self.name) as progress, PeakMemory() as peak:
            result = compute(Stage(run, store.scratch(self.name, key), progress, key))
        manifest = {**shape.as_dict(), "key": key, "packages": provenance.versions(), "run": run.run_name}
        refs = {label: store.save(artifact, manifest) for label, artifact in result.artifacts.items()}
        entry = StageEntry(
            refs=refs,
            headline=result.headline,
            metrics=dict(result.metrics),
            series=[dict(point) for point in result.series],
            shown=list(result.shown),
            lines=list(result.lines),
            seconds=time.perf_counter() - started,
            peak_bytes=peak.bytes,
            run=run.run_name,
        )
        if result.kept:
            entry.record(store, self.name, key)
        store.clear_scratch(self.name, key)
        return entry


def stage(
    name: str,
    outcome: type[Outcome],
    *,
    uses: Sequence[Uses] = (),
    source: Source[P] | None = None,
    confirm: Confirm = lambda run, refs: True,
) -> Callable[[Body[P]], StageFunction[P, Outcome]]:
    """Make a stage of a function from artifacts and settings to a ``Result``.

    Args:
        name: of the stage, in Prefect, MLflow, the store and on the console.
        outcome: names the artifacts that the function makes.
        uses: what of the run shapes the result.
        source: what else shapes it, by name, such as a digest of files outside of the store.
        confirm: whether what a result points to outside of the store is still there.
    """
    return lambda body: StageFunction(name, outcome, body, uses, outside=_Outside(source, confirm))


def _named(module: str, name: str) -> Any:
    return getattr(importlib.import_module(module), name)


def is_transient(task: Any, run: Any, state: State[Any]) -> bool:
    """Retry what may pass by itself: input and output, but not a full or forbidden disk, and never arithmetic."""
    try:
        state.result()
    except OSError as error:
        return error.errno not in PLACE
    except Exception:
        return False
    return False


def cut(model_info: Mapping[str, Any]) -> list[str]:
    """What the console says of a training that its time budget stopped."""
    if model_info.get("stopped") != "time":
        return []
    return ["warning: stopped by its time budget while it may still have improved"]


def _artifacts(name: str, value: object) -> Iterator[tuple[str, ArtifactRef]]:
    """The artifacts that an argument is or holds, by name."""
    if isinstance(value, ArtifactRef):
        yield name, value
    elif isinstance(value, Mapping | BaseModel):
        items = value.items() if isinstance(value, Mapping) else iter(value)
        yield from ((f"{name}.{label}", ref) for label, ref in items if isinstance(ref, ArtifactRef))


def _tell(outcome: StageOutcome, lines: Sequence[str]) -> None:
    console.print(f"{outcome.name:<10}{outcome.cost:>8}  {outcome.headline}", markup=False, soft_wrap=True)
    for line in lines:
        console.print(f"{'':<20}{line}", markup=False, soft_wrap=True)
        get_run_logger().info("%s", line)
