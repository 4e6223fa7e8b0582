"""What all benchmarks share: settings, measuring, the machine's limits, and the table.

Every figure is a ratio of two medians of the same run on the same cores. Works that are compared take turns, so that a
slow minute of the machine meets all of them (not where a work is a whole process that takes minutes). CPU seconds stand
beside wall seconds: where wall is much more than CPU divided by threads, somebody else was using the cores.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import math
import os
import platform
import statistics
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from threadpoolctl import threadpool_info, threadpool_limits

MIN_RUNS = 5
Work = Callable[[], object]

THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "POLARS_MAX_THREADS",
)


@dataclass(frozen=True)
class Options:
    """Settings of a benchmark.

    Attributes:
        threads: CPU threads of everything that is measured.
        runs: timed runs of each work, after one that is not timed.
        tiny: generated data of a few hundred users, to see that it works.
        json: file for the numbers.
    """

    threads: int = 1
    runs: int = MIN_RUNS
    tiny: bool = False
    json: Path | None = None


@dataclass(frozen=True)
class Measured:
    """One work: wall and CPU seconds of each run (none where it was not measured), and its memory.

    Attributes:
        peak_bytes: the most that any run took beyond what the process held when the run began; None where the
            system does not tell.
        note: how it was measured, where that is special.
    """

    name: str
    wall: tuple[float, ...]
    cpu: tuple[float, ...]
    peak_bytes: int | None
    note: str = ""

    @property
    def seconds(self) -> float:
        """Median wall seconds."""
        return statistics.median(self.wall)

    @property
    def cpu_seconds(self) -> float:
        """Median CPU seconds over all threads."""
        return statistics.median(self.cpu)

    def scaled(self, factor: float, note: str) -> Self:
        """The times of ``factor`` times as much work; ``note`` has to say that they are extrapolated."""
        wall, cpu = (tuple(value * factor for value in times) for times in (self.wall, self.cpu))
        return replace(self, wall=wall, cpu=cpu, note=note)


@dataclass(frozen=True)
class Figure:
    """A ratio, by wall and by CPU seconds (None where only one makes sense), and what it should be."""

    text: str
    value: float
    cpu_value: float | None = None
    target: str = ""


@dataclass(frozen=True)
class Limits:
    """What the machine can do with the threads of this run.

    Attributes:
        gemm_flops: float32 operations a second of a square matrix product.
        copy_bytes: bytes copied a second, each counted once though it is read and written.
    """

    gemm_flops: float
    copy_bytes: float


@dataclass(frozen=True)
class Report:
    """What a benchmark found; ``runs`` where it took fewer than it was asked for."""

    title: str
    data: str
    rows: tuple[Measured, ...]
    figures: tuple[Figure, ...]
    remarks: tuple[str, ...] = field(default=())
    runs: int | None = None


def unmeasured(name: str, why: str) -> Measured:
    """A row without numbers, and what it takes to get them."""
    return Measured(name, (), (), None, f"not measured: {why}")


def ratio(text: str, work: Measured, other: Measured, target: str = "") -> Figure:
    """Time of ``work`` as a multiple of the time of ``other``."""
    return Figure(text, work.seconds / other.seconds, work.cpu_seconds / other.cpu_seconds, target)


def measure(
    works: Mapping[str, Work], options: Options, *, few: Mapping[str, int] | None = None
) -> dict[str, Measured]:
    """Run each work once untimed, then ``options.runs`` times in turns; ``few`` says which run less often."""
    counts = {name: min((few or {}).get(name, options.runs), options.runs) for name in works}
    wall: dict[str, list[float]] = {name: [] for name in works}
    cpu: dict[str, list[float]] = {name: [] for name in works}
    peaks: dict[str, list[int]] = {name: [] for name in works}
    gc.collect()
    gc.freeze()  # so that the collections between the runs look at what the works have made, not at every import
    for turn in range(-1, options.runs):
        order = list(works) if turn % 2 else list(reversed(works))
        for name in order:
            if turn >= counts[name]:
                continue
            held = reset_peak()
            started, started_cpu = time.perf_counter(), time.process_time()
            kept = works[name]()
            seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - started_cpu
            peak = None if held is None else memory_peak() - held
            del kept
            if turn < 0:
                continue
            wall[name].append(seconds)
            cpu[name].append(cpu_seconds)
            if peak is not None:
                peaks[name].append(max(peak, 0))
    gc.unfreeze()
    return {name: Measured(name, tuple(wall[name]), tuple(cpu[name]), max(peaks[name], default=None)) for name in works}


def reset_peak() -> int | None:
    """Give freed memory back, set the kernel's high-water mark to the present, and return that; None if it cannot."""
    gc.collect()
    try:
        ctypes.CDLL(None).malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")
    except (OSError, AttributeError):
        return None
    return _status("VmRSS")


def memory_peak() -> int:
    """The most that this process has held since ``reset_peak``, in bytes."""
    return _status("VmHWM")


def _status(name: str) -> int:
    """Bytes of one line of /proc/self/status."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name + ":")) * 1024


class _Stop(BaseException):
    """Ends a training from within; not an Exception, so that nobody takes it for an error."""


class Epochs:
    """A training whose epochs are works: each call lets it go on by one epoch.

    Args:
        train: the training, which calls what it is given at the end of each epoch.
    """

    def __init__(self, train: Callable[[Callable[[], None]], object]) -> None:
        self._go, self._done = threading.Semaphore(0), threading.Semaphore(0)
        self._stopped = False
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, args=(train,), daemon=True)

    def _run(self, train: Callable[[Callable[[], None]], object]) -> None:
        self._go.acquire()
        try:
            train(self._lap)
            self._error = RuntimeError("the training ended before the benchmark did")
        except _Stop:
            pass
        except BaseException as error:
            self._error = error
        self._done.release()

    def _lap(self) -> None:
        self._done.release()
        self._go.acquire()
        if self._stopped:
            raise _Stop

    def __call__(self) -> None:
        """One epoch; the first call also sets up the training."""
        if not self._thread.is_alive():
            self._thread.start()
        self._go.release()
        self._done.acquire()
        if self._error is not None:
            raise self._error

    def close(self) -> None:
        """End the training."""
        self._stopped = True
        self._go.release()
        self._thread.join()


def measure_limits(options: Options) -> Limits:
    """Speed of a float32 matrix product and of copying, medians of several runs."""
    n, n_bytes = (256, 1 << 22) if options.tiny else (2048, 1 << 28)
    rng = np.random.default_rng(0)
    left, right = rng.random((2, n, n), np.float32)
    product = np.empty((n, n), np.float32)
    source = np.ones(n_bytes // 4, np.float32)
    target = np.empty_like(source)
    found = measure(
        {"gemm": lambda: np.matmul(left, right, out=product), "copy": lambda: np.copyto(target, source)}, options
    )
    return Limits(2.0 * n**3 / found["gemm"].seconds, n_bytes / found["copy"].seconds)


def markdown(report: Report, limits: Limits, options: Options) -> str:
    """The report as Markdown tables."""
    lines = [
        f"## {report.title}",
        "",
        f"Data: {report.data}. {options.threads} thread(s), {_runs(report, options)}; float32 GEMM "
        f"{limits.gemm_flops / 1e9:.1f} GFLOP/s, copy {limits.copy_bytes / 1e9:.1f} GB/s.",
        *report.remarks,
        "",
        "| work | wall s (median) | min - max | CPU s | peak beyond start, MB | note |",
        "|---|---|---|---|---|---|",
    ]
    for row in report.rows:
        if not row.wall:
            lines.append(f"| {row.name} | | | | | {row.note} |")
            continue
        memory = "not told" if row.peak_bytes is None else f"{row.peak_bytes / 1e6:.0f}"
        spread = f"{min(row.wall):.3g} - {max(row.wall):.3g}"
        by_cpu = f"{row.cpu_seconds:.3g}" if row.cpu else ""
        lines.append(f"| {row.name} | {row.seconds:.3g} | {spread} | {by_cpu} | {memory} | {row.note} |")
    lines += ["", "| figure | wall | CPU | target |", "|---|---|---|---|"]
    for figure in report.figures:
        by_cpu = "" if figure.cpu_value is None else f"{figure.cpu_value:.3g}"
        lines.append(f"| {figure.text} | {figure.value:.3g} | {by_cpu} | {figure.target} |")
    return "\n".join(lines) + "\n"


def _runs(report: Report, options: Options) -> str:
    if report.runs is not None:
        return f"{report.runs} run(s) of this one, by its nature"
    return f"medians of {options.runs} runs" if options.runs >= MIN_RUNS else f"{options.runs} run(s) only: no result"


def as_json(report: Report, limits: Limits, options: Options) -> dict[str, Any]:
    """All numbers of a report, and the machine that they come from."""
    rows = [
        asdict(row)
        | ({"seconds": row.seconds} if row.wall else {})
        | ({"cpu_seconds": row.cpu_seconds} if row.cpu else {})
        for row in report.rows
    ]
    return {
        "title": report.title,
        "data": report.data,
        "remarks": report.remarks,
        "rows": rows,
        "figures": [asdict(figure) for figure in report.figures],
        "limits": asdict(limits),
        "threads": options.threads,
        "runs": options.runs if report.runs is None else report.runs,
        "machine": {
            "cpu": _cpu(),
            "cores": os.cpu_count(),
            "load": os.getloadavg()[0],
            "python": platform.python_version(),
        },
    }


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def parser(description: str) -> argparse.ArgumentParser:
    """Command line of a benchmark."""
    found = argparse.ArgumentParser(description=description)
    found.add_argument("--threads", type=int, default=1, help="CPU threads of everything measured (default 1)")
    found.add_argument("--runs", type=int, default=MIN_RUNS, help=f"timed runs; below {MIN_RUNS} is a trial")
    found.add_argument("--tiny", action="store_true", help="tiny generated data, to see that it works")
    found.add_argument("--json", type=Path, help="write all numbers to this file")
    return found


def main(run: Callable[[Options, Limits], Report], arguments: Sequence[str] | None = None) -> None:
    """Entry point of one benchmark: pins the threads, measures the limits, prints the table, writes the JSON."""
    options = Options(**vars(parser(str(sys.modules[run.__module__].__doc__)).parse_args(arguments)))
    pin(options)
    limits = measure_limits(options)
    show(run(options, limits), limits, options)


def show(report: Report, limits: Limits, options: Options) -> None:
    """Print the table and write the JSON."""
    broken = [figure.text for figure in report.figures if not math.isfinite(figure.value)]
    if broken:
        raise SystemExit(f"not finite: {', '.join(broken)}")
    print(markdown(report, limits, options), flush=True)
    if options.json:
        options.json.write_text(json.dumps(as_json(report, limits, options), indent=1))


def thread_environment(threads: int) -> dict[str, str]:
    """What the libraries read when they are imported."""
    return dict.fromkeys(THREAD_VARIABLES, str(threads))


def pin(options: Options) -> None:
    """Every library on the wanted threads; starts the process anew where a library has read its environment already."""
    threads = options.threads
    if threads < 1 or options.runs < 1:
        raise SystemExit("--threads and --runs must be at least 1")
    wanted = thread_environment(threads)
    if any(os.environ.get(name) != value for name, value in wanted.items()):
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], os.environ | wanted)
    torch.set_num_threads(threads)
    threadpool_limits(threads)
    wide = [pool["filepath"] for pool in threadpool_info() if pool["num_threads"] > threads]
    if wide or torch.get_num_threads() > threads:
        raise SystemExit(f"more than {threads} thread(s) in {', '.join(wide) or 'torch'}")
