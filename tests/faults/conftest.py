"""Faults: what is counted, and what has to hold whatever happened."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tasks.mlops.audit import AuditTrail
from tests.shell import FREQD, SMALL, User

INJECT = Path(__file__).parent / "inject"
COLUMNS = ("tried", "lost", "duplicates", "tracebacks", "HTTP 500", "leftovers")
_counts: dict[str, dict[str, int]] = {}


def count(what: str, **numbers: int) -> None:
    """Add to a line of the table."""
    line = _counts.setdefault(what, dict.fromkeys(COLUMNS, 0))
    for name, number in numbers.items():
        line[name.replace("_", " ")] += number


def pytest_sessionfinish(session: pytest.Session) -> None:
    if hasattr(session.config, "workeroutput"):  # one of several processes
        session.config.workeroutput["faults"] = _counts


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    for what, line in getattr(node, "workeroutput", {}).get("faults", {}).items():
        count(what, **line)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if not _counts:
        return
    terminalreporter.section("faults")
    terminalreporter.write_line(f"| fault | {' | '.join(COLUMNS)} |")
    terminalreporter.write_line(f"|---|{'---|' * len(COLUMNS)}")
    for what, line in _counts.items():
        terminalreporter.write_line(f"| {what} | {' | '.join(str(line[name]) for name in COLUMNS)} |")


class Victim(User):
    """Somebody whose runs are killed, and whose disk fails."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.environment = {**self.environment, "COLUMNS": "160"}

    def run(
        self, fault: str = "", kill_after: float | None = None, *more: str, timeout: float = 240.0
    ) -> tuple[int, str]:
        """Exit code and output of a run, which is killed after so many seconds, or where the fault says."""
        environment = dict(self.environment)
        if fault:
            environment |= {
                "FREQD_FAULT": fault,
                "PYTHONPATH": f"{INJECT}{os.pathsep}{environment.get('PYTHONPATH', '')}",
            }
            environment["FREQD_FAULT_COUNT"] = str(self.folder / "count")
        command = [FREQD, "run", "--config", "small.toml", *more, "--workdir", str(self.workspace.root)]
        process = subprocess.Popen(
            list(map(str, command)),
            cwd=self.folder,
            env=environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        try:
            out, _ = process.communicate(timeout=kill_after if kill_after is not None else timeout)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            out, _ = process.communicate()
        return process.returncode, out

    def metrics(self) -> dict[str, Any]:
        """Test metrics and digests of the latest run."""
        runs = sorted(self.workspace.runs.glob("*/summary.json"), key=lambda path: path.stat().st_mtime)
        summary = json.loads(runs[-1].read_text())
        return {
            "metrics": summary["metrics"],
            "artifacts": {k: v["digest"] for k, v in summary["artifacts"].items() if "regist" not in k},
        }

    def versions(self) -> list[tuple[str, str]]:
        """All registered versions: number and the key of the stage that registered them."""
        database = self.workspace.mlflow_home / "mlflow.db"
        if not database.exists():
            return []
        with sqlite3.connect(database) as connection:
            rows = connection.execute(
                "SELECT version, value FROM model_version_tags WHERE key = 'freqd.register_key'"
            ).fetchall()
        return [(str(version), str(key)) for version, key in rows]

    def duplicates(self) -> int:
        keys = [key for _, key in self.versions()]
        moves = [
            (entry.version, entry.previous)
            for entry in AuditTrail.of(self.workspace.root).entries()
            if entry.what == "promote"
        ]
        return len(keys) - len(set(keys)) + len(moves) - len(set(moves))

    def leftovers(self) -> int:
        """Processes and temporary files that a finished run has left; those of killed ones are told apart by their age."""
        deadline = time.monotonic() + 8
        while True:
            mine = [p for p in psutil.process_iter() if _belongs(p, str(self.folder))]
            if not mine or time.monotonic() > deadline:
                return len(mine)
            time.sleep(0.2)

    def whole(self) -> bool:
        trail = AuditTrail.of(self.workspace.root)
        return trail.check() == [] and trail.ending() == ""


def _belongs(process: psutil.Process, folder: str) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE and process.environ().get("TMPDIR", "").startswith(folder)
    except (psutil.Error, OSError):
        return False


def tracebacks(text: str) -> int:
    return len(re.findall(r"Traceback \(most recent call last\)", text))


@pytest.fixture
def victim(tmp_path: Path, planted: Callable[..., Any]) -> Iterator[Victim]:
    planted(users=120, items=80).write_csv(tmp_path / "purchases.csv")
    (tmp_path / "small.toml").write_text(SMALL)
    somebody = Victim(tmp_path)
    yield somebody
    somebody("down")


@pytest.fixture
def chance() -> random.Random:
    """Another one each time, unless FREQD_FAULT_SEED says which."""
    seed = int(os.environ.get("FREQD_FAULT_SEED") or time.time())
    print(f"FREQD_FAULT_SEED={seed}")
    return random.Random(seed)
