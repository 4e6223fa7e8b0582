"""A week in production, by the command line only: from the first `freqd up` to the last `freqd down`."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import polars as pl
import psutil
import pytest

from tasks.runtime.server_state import Stack
from tests.shell import SMALL, User, wait_for

LATER = 10_000_000
"""Seconds by which the drifted data follow on the first."""


def versions(user: User) -> dict[str, list[str]]:
    """The aliases of every registered version."""
    return {row["version"]: row["aliases"] for row in json.loads(user("models", "list", "--json").stdout)}


def run_ended(user: User, kind: str) -> Callable[[], dict[str, Any] | None]:
    """Looks for a run that was started by the scheduler or by an automation, and has ended."""

    def look() -> dict[str, Any] | None:
        done = user.runs("COMPLETED", "FAILED", "CRASHED")
        return next((run for run in done if (run["created_by"] or {}).get("type") == kind), None)

    return look


@contextmanager
def server(user: User) -> Iterator[httpx.Client]:
    """`freqd serve` until the end of the block, where it must stop by itself."""
    process = user.start("serve", "--port", "0", "--poll", "0.5")
    try:
        assert process.stdout is not None
        first = process.stdout.readline()
        address = re.search(r"http://127\.0\.0\.1:\d+", first)
        assert address, first
        with httpx.Client(base_url=address.group(), timeout=10) as web:
            yield web
        assert process.poll() is None, "one server, from the first champion to the last"
    finally:
        process.send_signal(signal.SIGINT)
        with process:
            code = process.wait(20)
    assert code == 0


@pytest.mark.slow
def test_from_nothing_to_a_champion_to_another_and_back(user: User, planted: Callable[..., pl.DataFrame]) -> None:
    settings = SMALL.replace("purchases.csv", "purchases*.csv").replace("random", "time")
    # The new tastes are those of fewer items, each bought more often.
    policy = 'min_coverage_ratio = 0.5\nmax_popularity_ratio = "none"\nmin_group_ratio = "none"\n'
    (user.folder / "small.toml").write_text(f"{settings}[registry]\n{policy}")
    assert user("up", *user.ports).returncode == 0
    stack = Stack.running(user.workspace)
    assert stack is not None

    # on a schedule
    assert user("schedule", "--cron", "* * * * *", "--config", "small.toml", "--name", "minutely").returncode == 0
    scheduled = wait_for(run_ended(user, "SCHEDULE"), 150)
    assert scheduled["state_type"] == "COMPLETED", user("logs", "worker").stdout
    assert user("schedule", "remove", "minutely").returncode == 0
    first = versions(user)
    (champion,) = [version for version, aliases in first.items() if "champion" in aliases]

    with server(user) as web:

        def answers(user_id: str) -> dict[str, Any]:
            answer = web.get(f"/recommend/{user_id}", params={"k": 5})
            assert answer.status_code == 200, answer.text
            return dict(answer.json())

        before = answers("u0003")
        assert (before["version"], before["source"]) == (champion, "model")
        assert answers("u0303")["source"] == "popularity"

        # those who are known take to other things, and as many new ones come
        rows = planted(users=400, seed=1).with_columns(time=pl.col("time") + LATER)
        rows.write_csv(user.folder / "purchases-2.csv")
        checked = user("drift")
        assert checked.returncode == 0, checked.stdout + checked.stderr
        assert re.search("drift in .*unknown users", checked.stdout), checked.stdout
        assert "A retraining was asked for" in checked.stdout

        def retrained() -> dict[str, Any] | None:
            answers("u0003")  # is asked all the while, and must always answer
            return run_ended(user, "AUTOMATION")()

        automatic = wait_for(retrained, 150)
        assert automatic["state_type"] == "COMPLETED", user("logs", "worker").stdout
        events = user.ask("/events/filter", {"filter": {"event": {"name": ["freqd.drift.found"]}}})["events"]
        assert len(events) == 1
        second = versions(user)
        (challenger,) = [version for version, aliases in second.items() if "challenger" in aliases]
        assert challenger not in first
        assert "champion" in second[challenger], user("models", "show", challenger).stdout

        # the server follows without a restart, there and back
        wait_for(lambda: answers("u0003")["version"] == challenger, 30)
        assert answers("u0303")["source"] == "model"
        back = user("rollback", "--why", "complaints about the new list")
        assert back.returncode == 0, back.stderr
        assert f"version {champion}" in back.stdout
        wait_for(lambda: answers("u0003")["version"] == champion, 30)
        assert answers("u0003") == before
        assert web.get("/health").json()["status"] == "ok"

    trail = json.loads(user("audit", "--json").stdout)
    assert [(entry["what"], entry["version"]) for entry in trail] == [
        ("promote", champion),
        ("promote", challenger),
        ("rollback", champion),
    ]
    assert user("down").returncode == 0
    assert stack.processes() == []
    theirs = [p for p in psutil.process_iter(["cmdline"]) if str(user.folder) in " ".join(p.info["cmdline"] or [])]
    assert [p for p in theirs if p.pid != os.getpid()] == []
