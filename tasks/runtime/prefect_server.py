"""``python -P -m tasks.runtime.prefect_server [DESCRIPTOR]``: the Prefect server, behind the guard.

With the descriptor of a listening socket it is the server of one run, without a page; else that of a working directory, on
PREFECT_SERVER_API_HOST and PREFECT_SERVER_API_PORT. Our own processes are known by the token of FREQD_SERVER_TOKEN, which
is taken out of the environment so that nobody can read it there; without it, by that of the working directory.

``create_app`` is not among Prefect's public names. It is the only way to put something before the server, and is used
nowhere else.
"""

from __future__ import annotations

import os
import socket
import sys
from typing import Any, cast

from tasks.runtime import server_state
from tasks.runtime.embedded import TOKEN_VARIABLE
from tasks.runtime.guard import Guard
from tasks.runtime.workspace import Workspace


def main(descriptor: int | None) -> None:
    """Serve until SIGTERM."""
    os.umask(0o077)
    token = os.environ.pop(TOKEN_VARIABLE, "") or server_state.token(Workspace.locate(None))

    import uvicorn
    from prefect.server.api.server import create_app
    from prefect.settings import get_current_settings

    from tasks.runtime import alert_block as alert_block  # Prefect finds the block by its class

    settings = get_current_settings()
    api = settings.server.api
    listening = None if descriptor is None else socket.socket(fileno=descriptor)
    port = api.port if listening is None else listening.getsockname()[1]
    app = create_app(ephemeral=listening is not None, final=True)
    config = uvicorn.Config(
        cast(Any, Guard(cast(Any, app), port, token)),
        host=api.host,
        port=port,
        timeout_keep_alive=api.keepalive_timeout,
        ws_ping_interval=api.websocket_ping_interval,
        ws_ping_timeout=api.websocket_ping_timeout,
        log_level="error" if listening is not None else settings.server.logging_level.lower(),
        lifespan="on",
        proxy_headers=False,
        timeout_graceful_shutdown=1 if listening is not None else 10,
    )
    uvicorn.Server(config).run(sockets=None if listening is None else [listening])


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else None)
