"""The servers of a working directory: started, looked at, stopped. Nothing listens beyond 127.0.0.1."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from filelock import FileLock

from freqd.errors import FreqdError, InputError
from freqd.storage.files import write_atomic
from tasks.mlops import database
from tasks.runtime import server_state
from tasks.runtime.embedded import TOKEN_VARIABLE
from tasks.runtime.environment import HEARTBEAT_SECONDS, SWITCHES
from tasks.runtime.server_state import Stack
from tasks.runtime.workspace import Workspace

HOST = "127.0.0.1"
PREFECT_PORT, MLFLOW_PORT = 4200, 5000
START_SECONDS = 90.0
STOP_SECONDS = 15.0
PRIVATE = 0o077
"""Umask of all that freqd starts: what it writes is its owner's alone."""
LOG_BYTES = 50 * 2**20
NAMES = ("prefect", "mlflow", "worker")

SETTINGS = {
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "INFO",
    "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": str(HEARTBEAT_SECONDS),
    "PREFECT_WORKER_QUERY_SECONDS": "5",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}
"""What the servers and the worker are told besides the switches; a user who sets one of them otherwise is obeyed."""


class StackError(FreqdError):
    """The servers could not be started or stopped, for a reason that lies not in the user's input."""


@dataclass(frozen=True)
class Health:
    """What is seen of one process of the stack."""

    name: str
    pid: int | None
    state: str
    address: str
    memory_bytes: int

    @property
    def well(self) -> bool:
        """Whether it lives and answers."""
        return self.state == "healthy"


def up(workspace: Workspace, prefect_port: int, mlflow_port: int, say: Callable[[str], None]) -> tuple[Stack, bool]:
    """Start what is not running; the stack, and whether it had to be started.

    Args:
        workspace: whose stores the servers keep.
        prefect_port: port of the Prefect server.
        mlflow_port: port of the MLflow server.
        say: told what happens.

    Raises:
        InputError: a port is taken, or the database cannot be used.
        StackError: a server did not become healthy in time; everything that was started is stopped again.
    """
    workspace.prepare()
    for folder in (server_state.folder(workspace), workspace.prefect_home, workspace.mlflow_artifacts):
        folder.mkdir(parents=True, exist_ok=True)
    with FileLock(server_state.folder(workspace) / "up.lock"):
        before = Stack.read(workspace)
        if before is not None and all(before.lives(name) for name in NAMES):
            return before, False
        if before is not None:
            gone = ", ".join(name for name in NAMES if not before.lives(name))
            say(f"the last stack was not stopped in order ({gone} gone); it is started anew")
            _stop(before)
        for name, port in (("prefect", prefect_port), ("mlflow", mlflow_port)):
            require_free(name, port)
        prepare_database()
        if server_state.database() is None:
            database.prepare(workspace)
        return _start(workspace, prefect_port, mlflow_port, say), True


def down(workspace: Workspace) -> int:
    """Stop everything of the stack; how many processes there were.

    The worker's runs are asked to stop first, while the servers can still take down that they did.

    Raises:
        StackError: a process does not end.
    """
    server_state.folder(workspace).mkdir(parents=True, exist_ok=True)
    with FileLock(server_state.folder(workspace) / "up.lock"):
        stack = Stack.read(workspace)
        if stack is None:
            return 0
        count = _stop(stack)
        server_state.state_file(workspace).unlink(missing_ok=True)
    return count


def look(workspace: Workspace) -> list[Health]:
    """The processes of the stack; empty if none was started."""
    stack = Stack.read(workspace)
    if stack is None:
        return []
    probes: dict[str, Callable[[], bool]] = {
        "prefect": lambda: answers(f"{stack.prefect}/api/health"),
        "mlflow": lambda: answers(f"{stack.mlflow}/health"),
        "worker": lambda: True,
    }
    found = []
    for name in NAMES:
        lives = stack.lives(name)
        state = "gone" if not lives else "healthy" if probes[name]() else "not answering"
        memory = _memory(stack.pids[name]) if lives else 0
        address = {"prefect": stack.prefect, "mlflow": stack.mlflow}.get(name, "")
        found.append(Health(name, stack.pids.get(name), state, address, memory))
    return found


def log_file(workspace: Workspace, name: str) -> Path:
    """Where a process of the stack writes."""
    return server_state.folder(workspace) / f"{name}.log"


def tail(path: Path, lines: int) -> list[str]:
    """The last lines of a log; none if there is no log."""
    if not path.exists():
        return []
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 400 * lines - 1))
        return file.read().decode(errors="replace").splitlines()[-lines:]


def require_free(name: str, port: int) -> None:
    """See that nobody listens on a port.

    Raises:
        InputError: somebody does; who, as far as this user may know.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise InputError(
                f"port {port} for {name} cannot be had: {_holder(port) or error.strerror}",
                f"name another one with --{name}-port, or stop what listens there",
            ) from error


def prepare_database() -> None:
    """Make the schemas of Prefect and MLflow on PostgreSQL, if that is where the stores are.

    Raises:
        InputError: the database cannot be reached, or its user may not make a schema.
    """
    address = server_state.database()
    if address is None:
        return
    import psycopg

    options: dict[str, Any] = {**address.arguments(), "autocommit": True, "connect_timeout": 10}
    try:
        with psycopg.connect(**options) as connection:
            for schema in (server_state.PREFECT_SCHEMA, server_state.MLFLOW_SCHEMA):
                connection.execute(f"CREATE SCHEMA IF NOT EXISTS {schema}".encode())
            connection.execute(b"CREATE EXTENSION IF NOT EXISTS pg_trgm SCHEMA public")
    except psycopg.Error as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InputError(
            f"the database of {server_state.DATABASE} cannot be used: {reason}",
            "see that the server runs and that its user may create schemas and the extension pg_trgm there",
        ) from error


def answers(url: str) -> bool:
    """Whether a server on this machine answers with 200. No proxy is asked."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except (OSError, urllib.error.URLError):
        return False


def _start(workspace: Workspace, prefect_port: int, mlflow_port: int, say: Callable[[str], None]) -> Stack:
    mark = uuid.uuid4().hex
    stack = Stack(
        mark=mark,
        pids={},
        prefect=f"http://{HOST}:{prefect_port}",
        mlflow=f"http://{HOST}:{mlflow_port}",
        database="sqlite" if server_state.database() is None else "postgresql",
    )
    common = _environment(workspace, mark)
    stores = server_state.stores(workspace)
    prefect = {
        **{name: value for name, value in stores.items() if name.startswith("PREFECT_")},
        "PREFECT_SERVER_API_HOST": HOST,
        "PREFECT_SERVER_API_PORT": str(prefect_port),
        "PREFECT_SERVER_UI_API_URL": "/api",  # the page may be opened as localhost too
        "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": f"{stack.prefect},http://localhost:{prefect_port}",
        TOKEN_VARIABLE: server_state.token(workspace),
    }
    artifacts = workspace.mlflow_artifacts.as_uri()
    python = sys.executable
    commands: dict[str, tuple[list[str], Mapping[str, str]]] = {
        "prefect": (
            [python, "-P", "-m", "tasks.runtime.prefect_server"],
            prefect,
        ),
        "mlflow": (
            [
                *(python, "-m", "mlflow", "server", "--host", HOST, "--port", str(mlflow_port), "--workers", "1"),
                *("--default-artifact-root", artifacts, "--artifacts-destination", artifacts),
            ],
            {name: value for name, value in stores.items() if name.startswith("MLFLOW_")},
        ),
    }
    started: dict[str, subprocess.Popen[bytes]] = {}

    def launch(name: str, command: list[str], more: Mapping[str, str]) -> None:
        nonlocal stack
        started[name] = _launch(log_file(workspace, name), command, {**common, **more}, server_state.folder(workspace))
        pids = {**stack.pids, name: started[name].pid}
        stack = Stack(mark=mark, pids=pids, prefect=stack.prefect, mlflow=stack.mlflow, database=stack.database)
        write_atomic(server_state.state_file(workspace), stack.as_json())

    try:
        for name, (command, more) in commands.items():
            launch(name, command, more)
        say("starting the servers")
        deploy = _deployment(workspace, stack)
        _wait("prefect", started["prefect"], lambda: answers(f"{stack.prefect}/api/health"), workspace)
        _wait("mlflow", started["mlflow"], lambda: answers(f"{stack.mlflow}/health"), workspace)
        say("starting the worker")
        pool, name = deploy(), f"freqd-{socket.gethostname()}"
        launch("worker", [python, "-P", "-m", "flows.ops.worker", pool, name], stack.environment(workspace))
        _wait("worker", started["worker"], lambda: _online(name), workspace)
    except BaseException:
        _stop(stack)
        server_state.state_file(workspace).unlink(missing_ok=True)
        raise
    return stack


def _deployment(workspace: Workspace, stack: Stack) -> Callable[[], str]:
    """Import what makes the deployment while the servers start: it takes as long as they do."""
    os.environ.update(stack.environment(workspace))
    from tasks.runtime.environment import embed

    embed(workspace)
    from flows.ops import deployments

    return lambda: deployments.deploy(workspace)


def _online(worker: str) -> bool:
    from flows.ops import deployments

    return deployments.online(worker)


def _environment(workspace: Workspace, mark: str) -> dict[str, str]:
    """The user's environment without addresses of other servers, with the switches and the mark."""
    ours = {
        *("PREFECT_API_URL", "PREFECT_CLIENT_CUSTOM_HEADERS", "PREFECT_API_DATABASE_CONNECTION_URL"),
        *("MLFLOW_TRACKING_URI", "MLFLOW_BACKEND_STORE_URI"),
    }
    kept = {name: value for name, value in os.environ.items() if name not in ours and name != server_state.DATABASE}
    return {
        **SWITCHES,
        **SETTINGS,
        **kept,
        **server_state.no_proxy(os.environ),
        server_state.MARK: mark,
        "PREFECT_HOME": str(workspace.prefect_home),
        "PREFECT_RESULTS_LOCAL_STORAGE_PATH": str(workspace.prefect_home / "results"),
        "FREQD_WORKDIR": str(workspace.root),
        "PYTHONUNBUFFERED": "1",
    }


def _launch(log: Path, command: list[str], environment: Mapping[str, str], folder: Path) -> subprocess.Popen[bytes]:
    if log.exists() and log.stat().st_size > LOG_BYTES:
        log.replace(log.with_suffix(".log.1"))
    with log.open("ab") as file:
        file.write(f"--- {time.strftime('%Y-%m-%d %H:%M:%S')} started\n".encode())
        file.flush()
        return subprocess.Popen(
            command,
            env=dict(environment),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            umask=PRIVATE,
        )


def _wait(name: str, process: subprocess.Popen[bytes], healthy: Callable[[], bool], workspace: Workspace) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            problem = f"{name} ended with code {process.returncode}"
            break
        if healthy():
            return
        time.sleep(0.3)
    else:
        problem = f"{name} is not healthy after {START_SECONDS:.0f} s"
    log = log_file(workspace, name)
    raise StackError(f"{problem}; the last lines of {log}:\n" + "\n".join(tail(log, 12)))


def _stop(stack: Stack) -> int:
    """End all processes of a stack, runs before the worker before the servers; how many there were."""
    everything = stack.processes()
    roots = set(stack.pids.values())
    worker = stack.pids.get("worker")
    kept_by_servers = {p.pid for name in ("prefect", "mlflow") for p in _family(stack.pids.get(name))}
    first = [p for p in everything if p.pid not in kept_by_servers and p.pid != worker]
    _end(first)
    _end([p for p in everything if p.pid == worker])
    _end([p for p in stack.processes() if p.pid in roots])
    _end(stack.processes())
    left = stack.processes()
    if left:
        raise StackError(f"these processes do not end: {', '.join(str(p.pid) for p in left)}")
    return len(everything)


def _end(processes: list[psutil.Process]) -> None:
    for process in processes:
        _quietly(process.terminate)
    _, alive = psutil.wait_procs(processes, timeout=STOP_SECONDS)
    for process in alive:
        _quietly(process.kill)
    psutil.wait_procs(alive, timeout=STOP_SECONDS)


def _quietly(action: Callable[[], Any]) -> None:
    try:
        action()
    except psutil.NoSuchProcess:
        return


def _family(pid: int | None) -> Iterator[psutil.Process]:
    if pid is None:
        return
    try:
        process = psutil.Process(pid)
        yield process
        yield from process.children(recursive=True)
    except psutil.Error:
        return


def _memory(pid: int) -> int:
    total = 0
    for process in _family(pid):
        try:
            total += int(process.memory_info().rss)
        except psutil.Error:
            continue
    return total


def _holder(port: int) -> str | None:
    try:
        for connection in psutil.net_connections("tcp"):
            if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port and connection.pid:
                process = psutil.Process(connection.pid)
                return f"{process.name()} (process {process.pid}) listens there"
    except psutil.Error:
        return None
    return None
