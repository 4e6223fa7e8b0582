"""A run that is told to stop ends within seconds, whatever it does, and goes on when it is started again."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import polars as pl
import psutil
import pytest

from tests.shell import FREQD, SMALL, User

LIMIT_SECONDS = 10.0


@pytest.fixture
def user(tmp_path: Path, planted: Callable[..., pl.DataFrame]) -> User:
    planted(users=400, items=200, per_user=30).write_csv(tmp_path / "purchases.csv")
    slow = SMALL.replace('kind = "als"', 'kind = "bpr"\nepochs = 4000\npatience = 4000').replace("iterations = 2\n", "")
    (tmp_path / "small.toml").write_text(slow)
    return User(tmp_path)


def start(user: User) -> subprocess.Popen[str]:
    """A run in a process group of its own, in the middle of its teacher."""
    command = [FREQD, "run", "--config", "small.toml", "--workdir", user.workspace.root]
    running = subprocess.Popen(
        [str(word) for word in command], cwd=user.folder, env=user.environment, text=True, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    scratch = user.workspace.store.root / "scratch" / "teacher"
    deadline = time.monotonic() + 120
    while not [p for p in scratch.rglob("*") if p.is_file()] and running.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    assert running.poll() is None
    return running


def server_of(user: User) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter(["cmdline"]):
        if "tasks.runtime.prefect_server" in " ".join(process.info["cmdline"] or ()):
            try:
                if process.environ().get("TMPDIR", "").startswith(str(user.folder)):
                    found.append(process)
            except psutil.Error:
                continue
    return found


@pytest.mark.slow
@pytest.mark.parametrize(
    ("which", "code", "server"),
    [(signal.SIGTERM, 143, "lives"), (signal.SIGINT, 130, "lives"), (signal.SIGHUP, 129, "lives"), (signal.SIGTERM, 143, "gone")],
)  # fmt: skip
def test_a_signal_to_the_group_ends_a_run(user: User, which: signal.Signals, code: int, server: str) -> None:
    running = start(user)
    if server == "gone":
        for process in server_of(user):
            process.kill()
    began = time.monotonic()
    os.killpg(running.pid, which)
    out, _ = running.communicate(timeout=60)
    took = time.monotonic() - began
    assert took < LIMIT_SECONDS, out
    assert running.returncode == code, out
    assert "Traceback" not in out, out
    assert out.rstrip().splitlines()[-1].startswith("freqd: stopped"), out
    deadline = time.monotonic() + 5
    while server_of(user) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert server_of(user) == [], "nothing of the run is left"
    again = user("run", "--config", "small.toml", "--set", "teacher.epochs=5")
    assert again.returncode == 0, again.stdout + again.stderr
    assert "cached" in again.stdout + again.stderr, "what was finished is not made again"


def test_a_closed_or_full_output_is_no_error_of_the_program() -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([FREQD, "settings"], stdout=full, stderr=subprocess.PIPE, text=True, timeout=60)
    assert done.returncode != 0
    assert "Traceback" not in done.stderr, done.stderr
    with subprocess.Popen([FREQD, "settings"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        said = process.stderr.read()
    assert "Traceback" not in said, said
