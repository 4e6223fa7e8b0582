"""Somebody at a shell, for tests that use freqd as its users do: by commands, against servers of its own."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import tomllib
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from freqd.config.load import build
from tasks.runtime import server_state
from tasks.runtime.embedded import TOKEN_HEADER
from tasks.runtime.server_state import Stack
from tasks.runtime.workspace import Workspace

FREQD = Path(sys.executable).parent / "freqd"
SMALL = """
threads = 1
[data]
source = ["purchases.csv"]
split = "random"
[teacher]
kind = "als"
factors = 8
regularization = 1.0
alpha = 10.0
iterations = 2
[distill]
dim = 4
epochs = 20
[baselines]
models = "bpr"
epochs = 1
weight_decay = 1e-5
[spectral]
bands = 2
[evaluate]
bootstrap_samples = 100
"""


def environment(**changes: str) -> dict[str, str]:
    """The user's environment, without what the tests set for themselves."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT_", "MLFLOW_", "FREQD_W"))}
    return {**kept, "COLUMNS": "200", **changes}


def freqd_command(*words: str | Path, cwd: Path | None = None, **changes: str) -> subprocess.CompletedProcess[str]:
    """`freqd` with these words, as a user types it."""
    return subprocess.run(
        [FREQD, *map(str, words)], capture_output=True, text=True, cwd=cwd, env=environment(**changes), timeout=300
    )


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class User:
    """Somebody at a shell, with a working directory and free ports of his own."""

    def __init__(self, folder: Path, **changes: str) -> None:
        self.folder = folder
        self.workspace = Workspace(folder / "work")
        ports = [(f"--{name}-port", str(free_port())) for name in ("prefect", "mlflow", "page")]
        self.ports = tuple(word for pair in ports for word in pair)
        own = ("PREFECT_", "MLFLOW_", "FREQD_W", "FREQD_DATABASE_URL")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(own)}
        temporary = folder / "tmp"  # what a killed process leaves there goes with the folder
        temporary.mkdir(exist_ok=True)
        own_place = {"COLUMNS": "200", "OMP_NUM_THREADS": "1", "TMPDIR": str(temporary)}
        self.environment = {**kept, **own_place, **changes}

    def __call__(self, *words: str | Path) -> subprocess.CompletedProcess[str]:
        command = [FREQD, *map(str, words), "--workdir", str(self.workspace.root)]
        return subprocess.run(
            command, capture_output=True, text=True, cwd=self.folder, env=self.environment, timeout=300
        )

    def start(self, *words: str | Path) -> subprocess.Popen[str]:
        """A command that goes on until it is stopped; what it prints can be read while it does."""
        command = [FREQD, *map(str, words), "--workdir", str(self.workspace.root)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=self.folder, env=self.environment)

    def runs(self, *states: str) -> list[dict[str, Any]]:
        """The flow runs in these states, as the Prefect server tells them."""
        query = {"flow_runs": {"state": {"type": {"any_": list(states)}}}, "sort": "EXPECTED_START_TIME_ASC"}
        return list(self.ask("/flow_runs/filter", query))

    def retrain(self, **sections: dict[str, Any]) -> dict[str, Any]:
        """Start the deployment as its page does, with the small settings and these sections in their place."""
        settings = build([tomllib.loads(SMALL), sections, {"data": {"source": [str(self.folder / "purchases.csv")]}}])
        deployment = self.ask("/deployments/name/freqd/retrain", None)
        body = {"parameters": {"config": settings.model_dump(mode="json")}}
        return dict(self.ask(f"/deployments/{deployment['id']}/create_flow_run", body))

    def ask(self, path: str, body: Any, method: str | None = None) -> Any:
        """What the Prefect server answers; a GET without a body."""
        found = Stack.read(self.workspace)
        assert found is not None
        content = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json", TOKEN_HEADER: server_state.token(self.workspace)}
        request = urllib.request.Request(f"{found.prefect}/api{path}", content, headers, method=method)
        for again in (True, True, True, False):
            try:
                with urllib.request.urlopen(request, timeout=10) as answer:
                    return json.loads(answer.read() or b"null")
            except (
                urllib.error.HTTPError
            ) as error:  # 503: two writers met in SQLite; Prefect's own clients ask again too
                if error.code != 503 or not again:
                    raise
                time.sleep(1.0)


def wait_for(what: Callable[[], Any], seconds: float) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = what()
        if found:
            return found
        time.sleep(0.5)
    raise AssertionError(f"did not happen within {seconds} s")
