"""Commands as works: processes of their own, with the seconds and the memory that they took."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

SAMPLE_SECONDS = 0.1


@dataclass(frozen=True)
class Finished:
    """A process that has ended well.

    Attributes:
        wall, cpu: seconds; those of CPU with its children's.
        peak_bytes: most resident memory of it and its children together, sampled ten times a second; pages that they
            share count for each.
        output: what it printed.
    """

    wall: float
    cpu: float
    peak_bytes: int
    output: str


def run_process(
    command: Sequence[str], *, environment: Mapping[str, str] | None = None, folder: Path | None = None
) -> Finished:
    """Run ``command`` to its end.

    Raises:
        RuntimeError: it failed; with the end of what it printed.
    """
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        started = time.perf_counter()
        process = subprocess.Popen(
            command,
            env=dict(environment or os.environ),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=errors,
        )
        with _Peak(process.pid) as peak:
            _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        errors.seek(0)
        if process.returncode:
            raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}: {errors.read()[-2000:]}")
        return Finished(wall, usage.ru_utime + usage.ru_stime, peak.bytes, output.read())


def run_freqd(words: Sequence[str], environment: Mapping[str, str] | None = None) -> Finished:
    """`freqd` with these words, on stores of its own whatever servers are named here; ``environment`` is added."""
    own = ("MLFLOW_", "PREFECT_", "FREQD_DATABASE_URL")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(own)}
    command = [str(Path(sys.executable).with_name("freqd")), *words]
    return run_process(command, environment=kept | dict(environment or {}))


class _Peak:
    """Samples the resident memory of a process and its children while the block runs."""

    def __init__(self, pid: int) -> None:
        self.bytes = 0
        self._process = psutil.Process(pid)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> _Peak:
        self._thread.start()
        return self

    def _watch(self) -> None:
        while not self._stop.wait(SAMPLE_SECONDS):
            total = 0
            try:
                for process in (self._process, *self._process.children(recursive=True)):
                    total += process.memory_info().rss
            except psutil.NoSuchProcess:
                continue
            self.bytes = max(self.bytes, total)

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
