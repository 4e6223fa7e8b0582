"""What a killed run leaves behind: nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tasks.runtime.watchdog import MARK, marked

PARENT = """
import os, subprocess, sys, threading, time
from tasks.runtime.watchdog import MARK, guard
guard()
guard()
sleeper = "import signal, sys, time; signal.signal(signal.SIGTERM, signal.{how}); time.sleep(120)"
start = lambda: subprocess.Popen([sys.executable, "-c", sleeper], start_new_session=True)
thread = threading.Thread(target=start)
thread.start()
thread.join()
print(os.environ[MARK], flush=True)
time.sleep({seconds})
"""


def started(seconds: float, how: str = "SIG_DFL") -> tuple[subprocess.Popen[str], str]:
    program = PARENT.format(seconds=seconds, how=how)
    root = Path(__file__).resolve().parents[3]
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, cwd=root)
    assert process.stdout is not None
    mark = process.stdout.readline().strip()
    deadline = time.monotonic() + 20
    while not marked(mark):  # a program that is being started has no environment yet
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return process, mark


def gone(mark: str, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if not marked(mark):
            return True
        time.sleep(0.1)
    return False


def test_children_end_with_a_process_that_is_killed() -> None:
    process, mark = started(60)
    children = marked(mark)
    assert len(children) == 1, "a child that a thread started outlives the thread"
    process.kill()
    process.wait()
    assert gone(mark, 20)
    assert not children[0].is_running() or children[0].status() == psutil.STATUS_ZOMBIE


def test_a_child_that_does_not_listen_is_killed() -> None:
    process, mark = started(60, "SIG_IGN")
    time.sleep(0.5)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert gone(mark, 30)


def test_an_orderly_end_is_an_end_too_and_the_watchdog_goes() -> None:
    process, mark = started(3)
    watchers = [child for child in psutil.Process(process.pid).children() if "watchdog" in " ".join(child.cmdline())]
    assert len(watchers) == 1, "guarding twice is guarding once"
    assert process.wait(30) == 0
    assert gone(mark, 20)
    psutil.wait_procs(watchers, timeout=20)
    assert not watchers[0].is_running() or watchers[0].status() == psutil.STATUS_ZOMBIE


def test_the_mark_is_only_in_what_was_started_after_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(MARK, "of-this-test")
    assert marked("of-this-test") == [], "this process was started without it"
