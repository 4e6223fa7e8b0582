"""supervisord as the stack uses it, with small programs in the place of servers."""

from __future__ import annotations

import os
import signal
import sys
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

from flows.ops.processes import StackError, stop
from flows.ops.supervision import Supervisor, supervisor
from tasks.runtime.server_state import MARK, Stack
from tests.shell import wait_for

Start = Callable[..., tuple[Supervisor, Stack]]


def program(code: str) -> list[str]:
    """A Python program that prints its process id, and then does this."""
    return [sys.executable, "-u", "-c", f"import os, signal, subprocess, sys, time; print(os.getpid()); {code}"]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    with ExitStack() as stack:

        def do(**commands: Sequence[str]) -> tuple[Supervisor, Stack]:
            mark = uuid.uuid4().hex
            found = stack.enter_context(supervisor(tmp_path, commands, {**os.environ, MARK: mark}))
            started = Stack(mark, found.process.pid, "", "", "sqlite")
            stack.callback(stop, started)
            return found, started

        yield do


def said(folder: Path, name: str) -> list[str]:
    path = folder / f"{name}.log"
    return path.read_text().splitlines() if path.exists() else []


def test_what_dies_is_started_anew_until_all_is_stopped_the_last_first(start: Start, tmp_path: Path) -> None:
    note = "lambda *_: (open('ended', 'a').write('{} '), sys.exit())"
    waits = "signal.signal(signal.SIGTERM, {}); time.sleep(60)"
    found, stack = start(**{name: program(waits.format(note.format(name))) for name in ("server", "client")})
    assert stack.pids == {}, "nothing is started by itself"
    found.start("server", "client")
    for name in ("server", "client"):
        found.wait(name, lambda name=name: said(tmp_path, name))  # type: ignore[misc]
    before = stack.pids
    assert {name: [str(pid)] for name, pid in before.items()} == {n: said(tmp_path, n) for n in ("server", "client")}
    running = "success: client entered RUNNING"  # until then, it counts as one that did not start
    wait_for(lambda: running in (tmp_path / "supervisor.log").read_text(), 60)
    os.kill(before["client"], signal.SIGKILL)
    wait_for(lambda: len(said(tmp_path, "client")) == 2, 20)
    assert stack.lives("server", "client")
    assert stack.pids["server"] == before["server"]
    assert stack.pids["client"] != before["client"]
    assert stop(stack) == 3
    assert stack.processes() == []
    assert not stack.lives("server")
    assert (tmp_path / "ended").read_text() == "client server "


def test_a_program_that_ends_is_told_with_its_last_words(start: Start, tmp_path: Path) -> None:
    found, _ = start(broken=program("print('50% of it, and \"more\" ; # all'); sys.exit(3)"))
    found.start("broken")
    with pytest.raises(StackError, match=r"broken ended; the last lines of .*broken\.log") as caught:
        found.wait("broken", lambda: False)
    assert '50% of it, and "more" ; # all' in str(caught.value)


def test_nothing_of_a_killed_program_is_left_beside_the_new_one(start: Start, tmp_path: Path) -> None:
    child = "subprocess.run([sys.executable, '-c', 'import time; time.sleep(60)'], start_new_session=True)"
    found, stack = start(parent=[sys.executable, "-P", "-m", "flows.ops.program", *program(child)])
    found.start("parent")
    found.wait("parent", lambda: len(stack.processes()) == 3)
    first = {process.pid for process in stack.processes()} - {stack.supervisor}
    os.kill(stack.pids["parent"], signal.SIGKILL)
    wait_for(lambda: len(said(tmp_path, "parent")) == 2, 20)
    assert first.isdisjoint(process.pid for process in stack.processes())


def test_its_files_are_its_owners_alone_and_its_socket_does_not_stay(start: Start, tmp_path: Path) -> None:
    found, stack = start(idle=program("time.sleep(60)"))
    found.start("idle")
    found.wait("idle", lambda: said(tmp_path, "idle"))
    assert found.socket.stat().st_mode & 0o777 == 0o600
    assert found.socket.parent.stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "supervisor.conf").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "idle.log").stat().st_mode & 0o777 == 0o600
    assert stack.supervised
