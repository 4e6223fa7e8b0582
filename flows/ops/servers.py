"""The servers of a working directory: started, looked at, stopped. Nothing listens beyond 127.0.0.1."""

from __future__ import annotations

import os
import socket
import sys
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from filelock import FileLock

from flows.ops import processes
from flows.ops.processes import HOST, answers
from flows.ops.supervision import supervisor
from flows.ops.worker import POOL
from freqd.errors import InputError
from freqd.report.overview.facts import ServerFacts
from freqd.storage.files import write_atomic
from tasks.mlops import database
from tasks.runtime import server_state
from tasks.runtime.environment import HEARTBEAT_SECONDS, SWITCHES
from tasks.runtime.server_state import Stack
from tasks.runtime.workspace import Workspace

NEEDED = ("prefect", "mlflow", "worker")
NAMES = (*NEEDED, "page")
PAGE_PORT = 4280


@dataclass(frozen=True)
class Ports:
    """Where the servers and the page listen; None: the page where it is free, from ``PAGE_PORT`` on."""

    prefect: int = 4200
    mlflow: int = 5000
    page: int | None = None


IMPATIENT = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}
"""What the page is told: who looks at it wants to know soon that a server does not answer."""
SETTINGS = {
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "INFO",
    "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": str(HEARTBEAT_SECONDS),
    "PREFECT_WORKER_QUERY_SECONDS": "5",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}
"""What the servers and the worker are told besides the switches; a user who sets one of them otherwise is obeyed."""


def up(workspace: Workspace, ports: Ports, say: Callable[[str], None]) -> tuple[Stack, bool]:
    """Start what is not running; the stack, and whether it had to be started.

    Args:
        workspace: whose stores the servers keep.
        ports: where they are to listen.
        say: called with what happens.

    Raises:
        InputError: a port is taken, or the database cannot be used.
        StackError: a server did not become healthy in time; everything that was started is stopped again.
    """
    workspace.prepare()
    for folder in (server_state.folder(workspace), workspace.prefect_home, workspace.mlflow_artifacts):
        folder.mkdir(parents=True, exist_ok=True)
    with FileLock(server_state.folder(workspace) / "up.lock"):
        before = Stack.read(workspace)
        if before is not None and before.lives(*NEEDED):
            return before, False
        if before is not None:
            gone = ", ".join(sorted(set(NAMES) - before.pids.keys(), key=NAMES.index))
            say(f"the last stack was not stopped in order ({gone} gone); it is started anew")
            processes.stop(before)
        ports = replace(ports, page=ports.page or processes.free_from(PAGE_PORT))
        for name, port in vars(ports).items():
            processes.require_free(name, port)
        prepare_database()
        if server_state.database() is None:
            database.prepare(workspace)
        return _start(workspace, ports, say), True


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
        count = processes.stop(stack)
        server_state.state_file(workspace).unlink(missing_ok=True)
    return count


def look(workspace: Workspace) -> list[ServerFacts]:
    """The processes of the stack; empty if none was started."""
    stack = Stack.read(workspace)
    if stack is None:
        return []
    probes: dict[str, Callable[[], bool]] = {
        "prefect": lambda: answers(f"{stack.prefect}/api/health"),
        "mlflow": lambda: answers(f"{stack.mlflow}/health"),
        "worker": lambda: True,
        "page": lambda: answers(f"{stack.page}/health"),
    }
    found, pids = [], stack.pids
    for name in NAMES:
        pid = pids.get(name)
        state = "gone" if pid is None else "healthy" if probes[name]() else "not answering"
        memory = 0 if pid is None else processes.memory_of(pid)
        address = {"prefect": stack.prefect, "mlflow": stack.mlflow, "page": stack.page}.get(name, "")
        found.append(ServerFacts(name=name, pid=pid, state=state, address=address, memory_bytes=memory))
    return found


def log_file(workspace: Workspace, name: str) -> Path:
    """Where a process of the stack writes."""
    return server_state.folder(workspace) / f"{name}.log"


def prepare_database() -> None:
    """Make the schemas of Prefect and MLflow on PostgreSQL, if that is where the stores are.

    Raises:
        InputError: the database cannot be reached, or its user may not make a schema.
    """
    address = server_state.database()
    if address is None:
        return
    import psycopg

    options = address.arguments() | {"autocommit": True, "connect_timeout": 10}
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


def _start(workspace: Workspace, ports: Ports, say: Callable[[str], None]) -> Stack:
    mark, worker = uuid.uuid4().hex, f"freqd-{socket.gethostname()}"
    prefect, mlflow, page = (f"http://{HOST}:{port}" for port in (ports.prefect, ports.mlflow, ports.page))
    kind = "sqlite" if server_state.database() is None else "postgresql"
    stores, folder = server_state.stores(workspace), server_state.folder(workspace)
    stack = Stack(mark, 0, prefect, mlflow, kind, page)
    commands = _commands(workspace, stack, worker, stores)
    with supervisor(folder, commands, {**_environment(workspace, mark), **stores}) as started:
        stack = replace(stack, supervisor=started.process.pid)
        try:
            write_atomic(server_state.state_file(workspace), stack.as_json())
            started.start("prefect", "mlflow")
            say("starting the servers")
            deploy = _deployment(workspace, stack)
            started.wait("prefect", partial(answers, f"{prefect}/api/health"))
            started.wait("mlflow", partial(answers, f"{mlflow}/health"))
            say("starting the worker")
            deploy()
            started.start("worker", "page")
            started.wait("worker", lambda: _online(worker))
            started.wait("page", partial(answers, f"{page}/health"))
        except BaseException:
            processes.stop(stack)
            server_state.state_file(workspace).unlink(missing_ok=True)
            raise
    return stack


def _commands(workspace: Workspace, stack: Stack, worker: str, stores: Iterable[str]) -> dict[str, list[str]]:
    """The programs, each with what the others need not know. Here is nothing secret: everybody can read it."""
    prefect_port, mlflow_port, page_port = (
        address.rpartition(":")[2] for address in (stack.prefect, stack.mlflow, stack.page)
    )
    prefect = {
        "PREFECT_SERVER_API_HOST": HOST,
        "PREFECT_SERVER_API_PORT": prefect_port,
        "PREFECT_UI_URL": stack.prefect,  # in the links of alerts
        "PREFECT_SERVER_UI_API_URL": "/api",  # the page may be opened as localhost too
        "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": f"{stack.prefect},http://localhost:{prefect_port}",
    }
    artifacts, python = workspace.mlflow_artifacts.as_uri(), (sys.executable, "-P", "-m")
    program = (*python, "flows.ops.program", "env")
    without = [word for name in stores for word in ("-u", name)]
    return {
        "prefect": [*program, *_settings(prefect), *python, "tasks.runtime.prefect_server"],
        "mlflow": [
            *(*program, sys.executable, "-m", "mlflow", "server"),
            *("--host", HOST, "--port", mlflow_port, "--workers", "1"),
            *("--default-artifact-root", artifacts, "--artifacts-destination", artifacts),
        ],
        "worker": [*program, *without, *_settings(stack.addresses()), *python, "flows.ops.worker", POOL, worker],
        "page": [
            *program,
            *without,
            *_settings({**stack.addresses(), **IMPATIENT}),
            *python,
            "flows.ops.page",
            page_port,
        ],
    }


def _settings(variables: Mapping[str, str]) -> list[str]:
    """Words for the program ``env``."""
    return [f"{name}={value}" for name, value in variables.items()]


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
