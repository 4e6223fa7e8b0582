"""Killed anywhere, a run goes on where it was, and its result is that of a run that nobody killed."""

from __future__ import annotations

import random
import signal

import pytest

from tests.faults.conftest import Victim, count, tracebacks

pytestmark = [pytest.mark.faults, pytest.mark.timeout(1500)]
KILLS_BY_TIME, KILLS_AT_WRITES = 36, 24


def finish(victim: Victim, what: str) -> None:
    """The run is let through; nothing is lost, doubled or left."""
    code, out = victim.run()
    assert code == 0, out
    count(what, tracebacks=tracebacks(out), duplicates=victim.duplicates(), leftovers=victim.leftovers())
    assert tracebacks(out) == 0, out
    assert victim.duplicates() == 0, victim.versions()
    assert victim.leftovers() == 0
    assert victim.whole()


@pytest.fixture
def expected(victim: Victim) -> dict[str, object]:
    """What a run finds that nobody kills, and how long it takes."""
    whole = Victim(victim.folder)
    whole.workspace = type(victim.workspace)(victim.folder / "whole")
    code, out = whole.run()
    assert code == 0, out
    return whole.metrics()


def test_kills_at_random_moments(victim: Victim, expected: dict[str, object], chance: random.Random) -> None:
    killed = rounds = 0
    while killed < KILLS_BY_TIME:
        rounds += 1
        victim.workspace = type(victim.workspace)(victim.folder / f"work{rounds}")
        for _ in range(9):
            code, out = victim.run(kill_after=chance.uniform(2.0, 14.0))
            killed += code == -signal.SIGKILL
            assert tracebacks(out) == 0, out
            if code == 0:
                break
        finish(victim, "kill -9 at random moments")
        lost = victim.metrics() != expected
        count("kill -9 at random moments", lost=int(lost))
        assert not lost
    count("kill -9 at random moments", tried=killed)


def test_kills_in_the_middle_of_writes(victim: Victim, expected: dict[str, object], chance: random.Random) -> None:
    victim.workspace = type(victim.workspace)(victim.folder / "counted")
    code, out = victim.run(f"count:0:{victim.workspace.root}")
    assert code == 0, out
    writes = int((victim.folder / "count").read_text())
    assert writes > 50
    killed = rounds = 0
    while killed < KILLS_AT_WRITES:
        rounds += 1
        victim.workspace = type(victim.workspace)(victim.folder / f"written{rounds}")
        at = chance.randint(1, max(2, writes // 8))
        for _ in range(10):
            code, out = victim.run(f"kill:{at}:{victim.workspace.root}")
            killed += code == -signal.SIGKILL
            assert tracebacks(out) == 0, out
            if code == 0:
                break
            at = chance.randint(max(1, at // 2), at + writes // 6)  # what was done is not written again
        finish(victim, "kill -9 in the middle of a write")
        lost = victim.metrics() != expected
        count("kill -9 in the middle of a write", lost=int(lost))
        assert not lost
    count("kill -9 in the middle of a write", tried=killed)


@pytest.mark.parametrize("error", ["ENOSPC", "EIO", "EACCES"])
def test_a_disk_that_fails(victim: Victim, expected: dict[str, object], chance: random.Random, error: str) -> None:
    victim.workspace = type(victim.workspace)(victim.folder / "counted")
    victim.run(f"count:0:{victim.workspace.root}")
    writes = int((victim.folder / "count").read_text())
    victim.workspace = type(victim.workspace)(victim.folder / "failing")
    at = chance.randint(1, 12)
    for attempt in range(4):
        code, out = victim.run(f"{error}:{at}:{victim.workspace.root}")
        count(f"{error} at a write", tried=1, tracebacks=tracebacks(out))
        assert tracebacks(out) == 0, out
        if code == 0:  # the write was one that may fail, or the run did not get so far: another one, in a new place
            victim.workspace = type(victim.workspace)(victim.folder / f"failing{attempt}")
            at = chance.randint(1, writes)
            continue
        assert code in (1, 2), out
        assert "remedy:" in out or "resumes where it stopped" in out, out
        at = chance.randint(1, at + writes // 7)
    finish(victim, f"{error} at a write")
    lost = victim.metrics() != expected
    count(f"{error} at a write", lost=int(lost))
    assert not lost


def test_runs_at_once(victim: Victim, expected: dict[str, object]) -> None:
    """Four equal ones in one new working directory: the same result, one version."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda n: victim.run("", None, "--name", f"run{n}"), range(4)))
    for code, out in found:
        assert code == 0, out
        count("four equal runs at once", tried=1, tracebacks=tracebacks(out))
        assert tracebacks(out) == 0, out
    assert victim.duplicates() == 0
    assert len(victim.versions()) == 1
    lost = victim.metrics() != expected
    count("four equal runs at once", lost=int(lost), duplicates=victim.duplicates(), leftovers=victim.leftovers())
    assert not lost
    assert victim.leftovers() == 0
