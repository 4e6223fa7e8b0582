"""What all stages share: a key over everything that shapes the result, the cache, the lock, the books.

A stage's key is its name, its inputs' digests, its own settings and the syntax trees of the freqd modules it uses.
A result at hand is checked byte by byte before it is used; a damaged one is made again. Two processes that want
the same result wait for each other.
"""

from __future__ import annotations

import ctypes
import gc
import json
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import psutil
from filelock import FileLock
from prefect import get_run_logger
from prefect.client.schemas import State
from prefect.context import TaskRunContext
from prefect.states import Completed

from freqd import provenance
from freqd.errors import DamagedArtifact
from freqd.progress import Progress
from freqd.storage.files import storage_error, text_digest
from freqd.storage.store import Artifact, ArtifactRef
from tasks.mlops import tracking
from tasks.run_context import RunContext, StageOutcome
from tasks.runtime.errors import PLACE
from tasks.runtime.page import Shown, show
from tasks.runtime.progress import StageProgress, console

SAMPLE_SECONDS = 0.02


@dataclass
class Result:
    """What a stage computed, and what the books should say of it.

    Attributes:
        artifacts: what is kept, by name.
        headline: the result in one line.
        metrics: final numbers for MLflow.
        series: learning curve, one entry a validation.
        shown: tables and texts for the Prefect page.
        lines: what else the console tells, also when the result comes from the cache.
        kept: False of a computation that was given up on purpose: its books are written, and it is made anew the next time.
    """

    artifacts: Mapping[str, Artifact]
    headline: str
    metrics: Mapping[str, float | int | None] = field(default_factory=dict)
    series: Sequence[Mapping[str, Any]] = ()
    shown: Sequence[Shown] = ()
    lines: Sequence[str] = ()
    kept: bool = True


@dataclass(frozen=True)
class Tools:
    """What a computation may use: a folder for checkpoints that survives a kill, somewhere to tell its progress, its key."""

    scratch: Path
    progress: Progress
    key: str


def is_transient(task: Any, run: Any, state: State[Any]) -> bool:
    """Retry what may pass by itself: input and output, but not a full or forbidden disk, and never arithmetic."""
    try:
        state.result()
    except OSError as error:
        return error.errno not in PLACE
    except Exception:
        return False
    return False


def run_stage(
    context: RunContext,
    name: str,
    *,
    inputs: Mapping[str, ArtifactRef],
    settings: Mapping[str, Any],
    code: Sequence[str],
    compute: Callable[[Tools], Result],
    confirm: Callable[[Mapping[str, ArtifactRef]], bool] = lambda refs: True,
) -> State[Any]:
    """Find the stage's result or make it, and record it; the state that a Prefect task returns.

    Args:
        context: the run.
        name: the stage.
        inputs: artifacts that ``compute`` opens.
        settings: values that shape the result, JSON-able.
        code: modules whose code, with all of freqd that it imports, shapes the result: the stage's own is one of them.
        compute: makes the result.
        confirm: whether what the result points to outside the store is still there.
    """
    shape = {
        "stage": name,
        "inputs": {k: ref.digest for k, ref in inputs.items()},
        "settings": dict(settings),
        "code": provenance.code_digest(code),
    }
    key = text_digest(json.dumps(shape, sort_keys=True, default=str))
    store = context.workspace.store
    task_run = TaskRunContext.get()
    tags = {"prefect.task_run_id": str(task_run.task_run.id) if task_run else "", "freqd.key": key}
    try:
        (store.root / "locks").mkdir(parents=True, exist_ok=True)
        with (
            tracking.stage_run(context.mlflow_experiment_id, context.mlflow_run_id, name, tags) as run_id,
            FileLock(store.root / "locks" / f"{key}.lock"),
        ):
            entry = None if name in context.force else _at_hand(context, name, key, confirm)
            cached = entry is not None
            if entry is None:
                entry = _compute(context, name, key, shape, compute)
            tracking.log(
                run_id,
                metrics={
                    **entry["metrics"],
                    "stage_seconds": entry["seconds"],
                    "stage_peak_bytes": entry["peak_bytes"],
                },
                params=tracking.flat(settings),
                tags={"freqd.cached": str(cached).lower(), "freqd.headline": entry["headline"]},
                series=entry["series"],
            )
            pages = [Shown(**page) for page in entry.get("shown", [])]  # results of earlier versions have none
            show(pages, made_by=entry["run"] if cached else None)
    except OSError as error:
        if error.errno in PLACE:
            raise storage_error(error, context.workspace.root) from error
        raise
    outcome = StageOutcome(
        name=name,
        refs={k: ArtifactRef(**ref) for k, ref in entry["refs"].items()},
        mlflow_run_id=run_id,
        cached=cached,
        seconds=entry["seconds"],
        peak_bytes=entry["peak_bytes"],
        headline=entry["headline"],
    )
    cost = "cached" if cached else f"{outcome.seconds:.1f} s"
    console.print(f"{name:<10}{cost:>8}  {outcome.headline}", markup=False, soft_wrap=True)
    get_run_logger().info("%s (%s)", outcome.headline, cost)
    for line in entry.get("lines", []):
        console.print(f"{'':<20}{line}", markup=False, soft_wrap=True)
        get_run_logger().info("%s", line)
    return Completed(name="Cached" if cached else None, message=outcome.headline, data=outcome)


def _at_hand(
    context: RunContext, name: str, key: str, confirm: Callable[[Mapping[str, ArtifactRef]], bool]
) -> dict[str, Any] | None:
    store = context.workspace.store
    entry = store.recall(name, key)
    if entry is None:
        return None
    refs = {label: ArtifactRef(**ref) for label, ref in entry["refs"].items()}
    try:
        for ref in refs.values():
            store.verify(ref)
    except DamagedArtifact as error:
        get_run_logger().warning("%s; it is made again", error)
        console.print(f"{name:<10}{'':>8}  {error}; it is made again", markup=False, soft_wrap=True)
        return None
    return entry if confirm(refs) else None


def _compute(
    context: RunContext, name: str, key: str, shape: Mapping[str, Any], compute: Callable[[Tools], Result]
) -> dict[str, Any]:
    store = context.workspace.store
    limit_threads(context.threads)
    return_memory()
    started = time.perf_counter()
    with StageProgress(name) as progress, PeakMemory() as peak:
        result = compute(Tools(store.scratch(name, key), progress, key))
    manifest = {**shape, "key": key, "packages": provenance.versions(), "run": context.run_name}
    refs = {label: store.save(artifact, manifest).model_dump() for label, artifact in result.artifacts.items()}
    entry = {
        "refs": refs,
        "headline": result.headline,
        "metrics": dict(result.metrics),
        "series": list(result.series),
        "shown": [page.model_dump() for page in result.shown],
        "lines": list(result.lines),
        "seconds": time.perf_counter() - started,
        "peak_bytes": peak.bytes,
        "run": context.run_name,
    }
    if result.kept:
        store.record(name, key, entry)
    store.clear_scratch(name, key)
    return entry


def cut(model_info: Mapping[str, Any]) -> list[str]:
    """What the console says of a training that its time budget stopped."""
    if model_info.get("stopped") != "time":
        return []
    return ["warning: stopped by its time budget while it may still have improved"]


def limit_threads(threads: int) -> None:
    """Let torch, numba and BLAS use this many threads."""
    import numba
    import threadpoolctl
    import torch

    torch.set_num_threads(threads)
    most = numba.config.NUMBA_NUM_THREADS  # type: ignore[attr-defined]  # numba sets it when it is imported
    numba.set_num_threads(min(threads, most))
    threadpoolctl.threadpool_limits(threads)


def return_memory() -> None:
    """Give freed memory back to the system, where the C library can.

    glibc keeps much of what worker threads freed; without this each stage's peak would stand on what the earlier ones left.
    """
    gc.collect()
    _set_imports_aside()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)


@cache
def _set_imports_aside() -> None:
    """Let the collector pass over what is there before the first stage, a million objects of modules: .4 s a collection."""
    gc.freeze()


class PeakMemory:
    """Largest resident memory of this process while the block runs, sampled every 20 ms."""

    def __enter__(self) -> PeakMemory:
        self._process = psutil.Process()
        self.bytes = int(self._process.memory_info().rss)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def _watch(self) -> None:
        while not self._stop.wait(SAMPLE_SECONDS):
            self.bytes = max(self.bytes, int(self._process.memory_info().rss))

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
