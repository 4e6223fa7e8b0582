"""Ends what a process started once that process is gone, however it went: a run that was killed with -9 as well.

The process holds the writing end of a pipe, which the system closes when it dies. A small process of its own waits at
the other end; then it ends everything that carries the run's mark in its environment, which every child inherits.
Linux's own way, a signal at the parent's death, is tied to the thread that started the child, and so comes too early.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
import uuid
from typing import IO

import psutil

MARK = "FREQD_RUN_MARK"
GRACE_SECONDS = 10.0

_watching: subprocess.Popen[bytes] | None = None


def guard() -> None:
    """From now on, whatever this process starts ends with it. Calling it again changes nothing."""
    global _watching
    if _watching is not None:
        return
    mark = uuid.uuid4().hex
    _watching = subprocess.Popen(
        [sys.executable, "-P", __file__, mark],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C is for the run, not for who watches it
    )
    os.environ[MARK] = mark


def watch(mark: str, alive: IO[bytes]) -> None:
    """Wait until nobody can write to ``alive`` any more, then end every process with this mark."""
    alive.read()
    for pause in (0.0, 0.5):  # twice: a program that is being started has no environment yet
        time.sleep(pause)
        _end(marked(mark))


def _end(left: list[psutil.Process]) -> None:
    for stop in (psutil.Process.terminate, psutil.Process.kill):
        for process in left:
            try:
                stop(process)
            except psutil.NoSuchProcess:
                continue
        _, left = psutil.wait_procs(left, timeout=GRACE_SECONDS)


def marked(mark: str) -> list[psutil.Process]:
    """Living processes with this mark in the environment that they were started with."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == mark:
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


if __name__ == "__main__":
    watch(sys.argv[1], sys.stdin.buffer)
