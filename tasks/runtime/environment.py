"""Environment of Prefect and MLflow: nothing leaves the machine, everything is kept below one folder.

Both packages read their environment when they are imported, so this module imports neither.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from functools import cache
from typing import TYPE_CHECKING

from tasks.runtime import stopping

if TYPE_CHECKING:
    from tasks.runtime.workspace import Workspace

SWITCHES = {
    "DO_NOT_TRACK": "true",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_UI_V2_ENABLED": "false",
    "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
    "PREFECT_CLOUD_ENABLE_ORCHESTRATION_TELEMETRY": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_AI_GATEWAY": "false",
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    "RAY_USAGE_STATS_ENABLED": "0",
}
"""What would call home, and the value that stops it. A user who sets one of them otherwise is obeyed."""

HEARTBEAT_SECONDS = 30
"""How often a run tells the Prefect server that it lives; the least that Prefect takes."""


def silence() -> None:
    """Switch off every dependency's telemetry unless the user has decided otherwise."""
    for name, value in SWITCHES.items():
        os.environ.setdefault(name, value)


def share_cores() -> None:
    """Let idle OpenMP threads sleep instead of spin: on a busy machine spinning makes small steps many times slower.

    Read when torch is imported.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def embed(workspace: Workspace, *, flows: bool = True) -> None:
    """Point Prefect and MLflow at the workspace's servers if they are up, else at SQLite stores in the workspace.

    ``PREFECT_API_URL`` and ``MLFLOW_TRACKING_URI`` win if they are set.

    Args:
        workspace: the working directory.
        flows: whether flows are to be run: without servers, one is started for this process.

    Raises:
        InputError: the stores are on PostgreSQL, and the servers are down.
        RuntimeError: Prefect is already imported, so that its settings can no longer be changed.
    """
    if "prefect" in sys.modules and os.environ.get("PREFECT_HOME") != str(workspace.prefect_home):
        raise RuntimeError("embed() must be called before prefect is imported")
    from tasks.runtime import embedded
    from tasks.runtime.server_state import connect, no_proxy
    from tasks.runtime.watchdog import guard

    server_state = connect(workspace)
    for folder in (workspace.prefect_home, workspace.mlflow_home):
        folder.mkdir(parents=True, exist_ok=True)
    defaults = {
        "PREFECT_HOME": str(workspace.prefect_home),
        "PREFECT_API_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{workspace.prefect_home}/prefect.db",
        "PREFECT_RESULTS_LOCAL_STORAGE_PATH": str(workspace.prefect_home / "results"),
        "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": "http://127.0.0.1",
        "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
        "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": str(HEARTBEAT_SECONDS),
        "MLFLOW_TRACKING_URI": workspace.mlflow_uri,
        "MLFLOW_LOGGING_LEVEL": "WARNING",
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
        **server_state,
    }
    os.environ["PREFECT_HOME"] = str(workspace.prefect_home)
    for name, value in defaults.items():
        os.environ.setdefault(name, value)
    os.environ.update(no_proxy(os.environ))
    introduce(workspace)
    if not server_state and flows and "PREFECT_API_URL" not in os.environ:
        guard()
        embedded.start(workspace.prefect_home)
    if os.environ["MLFLOW_TRACKING_URI"] == workspace.mlflow_uri:
        from tasks.mlops import database

        database.prepare(workspace)


def introduce(workspace: Workspace) -> None:
    """Let the Prefect server of PREFECT_API_URL on this machine know freqd's processes; before Prefect is imported.

    That is the server of a unit on a production host. Nothing is sent to a server elsewhere.
    """
    from tasks.runtime import server_state
    from tasks.runtime.embedded import client_headers

    address = os.environ.get("PREFECT_API_URL", "")
    token = server_state.folder(workspace) / "token"
    here = address.startswith(tuple(f"http://{host}:" for host in server_state.LOOPBACK))
    if here and token.is_file() and "PREFECT_CLIENT_CUSTOM_HEADERS" not in os.environ:
        os.environ.update(client_headers(server_state.token(workspace)))


@cache
def watch_servers(workspace: Workspace) -> None:
    """End the command when the servers it uses are stopped: Prefect and MLflow would ask them for minutes."""
    from tasks.runtime.server_state import Stack

    if Stack.running(workspace) is None:
        return

    def look() -> None:
        while Stack.running(workspace) is not None:
            time.sleep(1.0)
        stopping.stop(
            "freqd: the servers were stopped; start them with `freqd up`, and the same command resumes where it stopped",
            1,
        )

    threading.Thread(target=look, name="freqd-servers", daemon=True).start()
