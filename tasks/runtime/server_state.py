"""The servers of a working directory: where they listen, whether they live, and which databases they keep.

A stack is known by a mark in the environment of its processes, which every child inherits. So no process of it is
overlooked, and none of somebody else's is taken for one because it happens to have an old process id.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from freqd.errors import InputError
from freqd.pseudonym import secret_of
from freqd.storage.database_url import Address
from tasks.runtime import embedded
from tasks.runtime.embedded import client_headers

if TYPE_CHECKING:
    from tasks.runtime.workspace import Workspace

MARK = "FREQD_STACK"
PROGRAM = "SUPERVISOR_PROCESS_NAME"
"""Where supervisord tells each process that it starts its name."""
RESTART_SECONDS = 12.0
"""Longer than supervisord waits before it starts a process anew."""
DATABASE = "FREQD_DATABASE_URL"
PREFECT_SCHEMA, MLFLOW_SCHEMA = "freqd_prefect", "freqd_mlflow"
LOOPBACK = ("127.0.0.1", "localhost")


@dataclass(frozen=True)
class Stack:
    """What the state file says of a started stack. It holds no secret.

    Attributes:
        mark: value of ``FREQD_STACK`` in the environment of its processes.
        supervisor: process id of the supervisord that runs the others.
        prefect: address of the Prefect server.
        mlflow: address of the MLflow server.
        database: ``sqlite`` or ``postgresql``.
        page: address of the read-only page; empty in a stack of an earlier freqd.
    """

    mark: str
    supervisor: int
    prefect: str
    mlflow: str
    database: str
    page: str = ""

    @classmethod
    def read(cls, workspace: Workspace) -> Stack | None:
        """The stack that was started last and not stopped, whether it still lives or not."""
        try:
            return cls(**json.loads(state_file(workspace).read_text()))
        except (OSError, ValueError, TypeError):
            return None

    @classmethod
    def running(cls, workspace: Workspace) -> Stack | None:
        """The stack of the workspace if both of its servers live."""
        stack = cls.read(workspace)
        return stack if stack is not None and stack.lives("prefect", "mlflow") else None

    @property
    def supervised(self) -> bool:
        """Whether the supervisor lives."""
        return environment_of(self.supervisor).get(MARK) == self.mark

    @property
    def pids(self) -> dict[str, int]:
        """Ids of the supervised processes by name as they are now: prefect, mlflow, worker; none without the supervisor."""
        try:
            children = psutil.Process(self.supervisor).children() if self.supervised else []
        except psutil.NoSuchProcess:
            return {}
        named = {environment_of(child.pid).get(PROGRAM): child.pid for child in children}
        return {name: pid for name, pid in named.items() if name is not None}

    def lives(self, *names: str) -> bool:
        """Whether these processes are there; one that died is waited for while the supervisor starts it anew."""
        deadline = time.monotonic() + RESTART_SECONDS
        while self.supervised and time.monotonic() < deadline:
            if self.pids.keys() >= set(names):
                return True
            time.sleep(0.2)
        return False

    def processes(self) -> list[psutil.Process]:
        """All living processes of the stack: servers, worker, runs, and whatever they started."""
        return marked(self.mark)

    def environment(self, workspace: Workspace) -> dict[str, str]:
        """What a client of the servers needs, the secret among it."""
        return {**client_headers(token(workspace)), **self.addresses()}

    def addresses(self) -> dict[str, str]:
        """Where the servers are, for a client that knows the secret."""
        return {
            "PREFECT_API_URL": f"{self.prefect}/api",
            "MLFLOW_TRACKING_URI": self.mlflow,
            "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # else two lines a stage
        }

    def as_json(self) -> str:
        """The text of the state file."""
        return json.dumps(asdict(self), indent=1)


def folder(workspace: Workspace) -> Path:
    """Where state and logs of the stack lie."""
    return workspace.root / "stack"


def state_file(workspace: Workspace) -> Path:
    """The file that says which stack was started."""
    return folder(workspace) / "state.json"


def token(workspace: Workspace) -> str:
    """The secret by which the Prefect server knows freqd's own processes; made when it is asked for first.

    Whoever can read the file may do everything through the server's API, so nobody but its owner can.
    """
    return secret_of(folder(workspace) / "token").hex()


def reachable(workspace: Workspace) -> bool:
    """Whether there is a Prefect server that outlives this process."""
    configured = bool(os.environ.get("PREFECT_API_URL")) and embedded.running() is None
    return configured or Stack.running(workspace) is not None


def database() -> Address | None:
    """The PostgreSQL database of ``FREQD_DATABASE_URL``, if it is set.

    Raises:
        InputError: it holds no address.
    """
    text = os.environ.get(DATABASE)
    return Address.parse(text, DATABASE) if text else None


def connect(workspace: Workspace) -> dict[str, str]:
    """Environment of a run: the servers of the workspace if they live, else nothing.

    Raises:
        InputError: the stores are on PostgreSQL, which is reached through the servers, and they are down.
    """
    stack = Stack.running(workspace)
    if stack is not None:
        return stack.environment(workspace)
    configured = os.environ.get("PREFECT_API_URL") and os.environ.get("MLFLOW_TRACKING_URI")
    if os.environ.get(DATABASE) and not configured:
        raise InputError(
            f"{DATABASE} is set, but the servers that use it are down",
            f"start them with `freqd up`, or unset {DATABASE} to use SQLite files",
        )
    return {}


def stores(workspace: Workspace) -> dict[str, str]:
    """Databases of the servers: the SQLite files of embedded runs, or one schema each in one PostgreSQL database.

    The addresses go into the environment, not onto a command line, where everybody could read the password.
    """
    address = database()
    if address is None:
        return {
            "PREFECT_API_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{workspace.prefect_home}/prefect.db",
            "MLFLOW_BACKEND_STORE_URI": workspace.mlflow_uri,
        }
    prefect = address.url("postgresql+asyncpg").replace("sslmode=", "ssl=")  # asyncpg's word
    return {
        "PREFECT_API_DATABASE_CONNECTION_URL": prefect,
        "PREFECT_SERVER_DATABASE_SQLALCHEMY_CONNECT_ARGS_SEARCH_PATH": f"{PREFECT_SCHEMA},public",
        "MLFLOW_BACKEND_STORE_URI": address.url("postgresql+psycopg", options=f"-csearch_path={MLFLOW_SCHEMA}"),
    }


def no_proxy(environment: Mapping[str, str]) -> dict[str, str]:
    """Never ask a proxy for this machine."""
    before = environment.get("NO_PROXY") or environment.get("no_proxy") or ""
    names = [name for name in before.split(",") if name]
    value = ",".join([*names, *(name for name in LOOPBACK if name not in names)])
    return {"NO_PROXY": value, "no_proxy": value}


def marked(mark: str) -> list[psutil.Process]:
    """All living processes with this mark."""
    return [process for process in psutil.process_iter() if environment_of(process.pid).get(MARK) == mark]


def environment_of(pid: int) -> dict[str, str]:
    """The environment that a process was started with; empty if it is gone, dead or somebody else's."""
    try:
        process = psutil.Process(pid)
        return {} if process.status() == psutil.STATUS_ZOMBIE else process.environ()
    except (psutil.Error, OSError):
        return {}
