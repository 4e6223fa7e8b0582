"""The Prefect server of one run: started by the run, in a session of its own, and started again if it dies.

The run holds the listening socket and hands it to the server. So no other process can take the port in between, a
request that is made while the server starts waits instead of failing, and so does one while it is started anew.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib.metadata
import json
import os
import secrets
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock

from freqd.errors import InputError
from tasks.runtime import stopping

START_SECONDS, SAY_SECONDS = 600.0, 10.0
"""How long the server may take to start while its process lives, and how often that is reported."""
RESTARTS = 3
TOKEN_VARIABLE, TOKEN_HEADER = "FREQD_SERVER_TOKEN", "X-Freqd-Token"


class Embedded:
    """The server of this process."""

    def __init__(self, folder: Path) -> None:
        self.log = folder / "embedded.log"
        self.token = secrets.token_urlsafe(32)
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.address = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self._ending = self._ready = False
        self._deaths = 0
        # Prefect makes its tables when it starts, and two servers that do it at once spoil them for each other
        self._made = folder / f"tables-{importlib.metadata.version('prefect')}"
        self._first = FileLock(folder / "first.lock", thread_local=False)
        if not self._made.exists():
            self._first.acquire()
        self._process = self._launch("wb")
        threading.Thread(target=self._watch, name="freqd-embedded", daemon=True).start()

    def environment(self) -> dict[str, str]:
        """What a client of the server needs."""
        return {"PREFECT_API_URL": f"{self.address}/api", **client_headers(self.token)}

    def _launch(self, mode: str) -> subprocess.Popen[bytes]:
        foreign = ("PREFECT_API_URL", "PREFECT_CLIENT_CUSTOM_HEADERS")
        environment = {name: value for name, value in os.environ.items() if name not in foreign}
        descriptor = self._socket.fileno()
        with self.log.open(mode) as log:
            return subprocess.Popen(
                [sys.executable, "-P", "-m", "tasks.runtime.prefect_server", str(descriptor)],
                env={**environment, TOKEN_VARIABLE: self.token, "PREFECT_SERVER_UI_ENABLED": "false"},
                pass_fds=[descriptor],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # a signal to the run's group is for the run, which then ends its server
            )

    def _watch(self) -> None:
        """Start the server anew when it dies; after too many deaths end the run."""
        while True:
            code = self._process.wait()
            if self._ending or not self._ready:
                return
            self._deaths += 1
            if self._deaths > RESTARTS:
                stopping.stop(
                    f"freqd: the embedded Prefect server ended {self._deaths} times, the last time with code {code} "
                    f"(see {self.log}); the same command resumes where it stopped",
                    1,
                )
                return
            self._process = self._launch("ab")

    def wait(self, say: Callable[[str], None]) -> None:
        """Wait until the server answers, as long as its process lives.

        Raises:
            InputError: it ended, or does not answer in ``START_SECONDS``.
        """
        began = told = time.monotonic()
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        while (now := time.monotonic()) - began < START_SECONDS:
            if self._process.poll() is not None:
                raise InputError(
                    f"the embedded Prefect server did not start: {self._last_words()}",
                    f"see {self.log}; free disk and memory, or move {self.log.parent} away if its database is damaged",
                )
            if now - told >= SAY_SECONDS:
                told = now
                say(f"waiting for the embedded Prefect server, {now - began:.0f} s so far: the machine is busy")
            with (
                contextlib.suppress(OSError, urllib.error.URLError),
                opener.open(f"{self.address}/api/health", timeout=2),
            ):
                self._ready = True
                self._made.touch()
                self._first.release()
                return
            time.sleep(0.05)
        raise InputError(
            f"the embedded Prefect server does not answer after {START_SECONDS:.0f} s",
            "give the same command again when the machine is less busy",
        )

    def _last_words(self) -> str:
        lines = self.log.read_text(errors="replace").strip().splitlines()
        errors = [line for line in lines if "Error" in line]
        return (errors or lines or [f"it ended with code {self._process.returncode}"])[-1].strip()[:300]

    def stop(self) -> None:
        """End the server."""
        self._ending = True
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(1.0)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait(1.0)


def client_headers(token: str) -> dict[str, str]:
    """The environment by which Prefect's clients send the token, with the headers that are there."""
    try:
        headers = dict(json.loads(os.environ.get("PREFECT_CLIENT_CUSTOM_HEADERS") or "{}"))
    except ValueError:
        headers = {}
    return {"PREFECT_CLIENT_CUSTOM_HEADERS": json.dumps({**headers, TOKEN_HEADER: token})}


_server: Embedded | None = None


def running() -> Embedded | None:
    """The server of this process, if it has one."""
    return _server


def start(folder: Path) -> None:
    """Start the server, unless there is one, and point Prefect at it; before Prefect is imported."""
    global _server
    if _server is not None:
        return
    _server = Embedded(folder)
    atexit.register(_server.stop)  # before prefect is imported, so it is called after all of its farewells
    os.environ.update(_server.environment())
