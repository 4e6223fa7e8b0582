"""``python -P -m flows.ops.page PORT``: the read-only page of `freqd up`, on 127.0.0.1."""

from __future__ import annotations

import logging
import os
import sys
import threading
import time

from litestar import Litestar, MediaType, Response, get

from freqd.serve.http.limits import Access, bounded
from freqd.serve.http.refusals import EXCEPTION_HANDLERS
from tasks.runtime.environment import introduce
from tasks.runtime.workspace import Workspace

FRESH_SECONDS = 5.0
"""How long a page is shown again as it is."""
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


class Kept:
    """The page, made anew when somebody asks and it is older than ``FRESH_SECONDS``."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._lock = threading.Lock()
        self._text, self._until = "", 0.0

    def text(self) -> str:
        """The page as HTML."""
        from flows.ops.overview import gather
        from freqd.report.overview.page import page

        with self._lock:
            if time.monotonic() >= self._until:
                self._text = page(gather(self._workspace))
                self._until = time.monotonic() + FRESH_SECONDS
            return self._text


def create_app(workspace: Workspace) -> Litestar:
    """The application: one page that only reads, under names of this machine alone."""
    kept = Kept(workspace)

    @get("/", media_type=MediaType.HTML, sync_to_thread=True)
    def overview() -> Response[str]:
        """What stands in production."""
        return Response(kept.text(), media_type=MediaType.HTML, headers=HEADERS)

    @get("/health", media_type=MediaType.TEXT)
    async def health() -> str:
        """Whether the page answers."""
        return "ok"

    app = Litestar(
        route_handlers=[overview, health], exception_handlers=EXCEPTION_HANDLERS, openapi_config=None, debug=False
    )
    names = frozenset({"127.0.0.1", "localhost", "[::1]"})
    app.asgi_handler = bounded(app.asgi_handler, Access(None, names, remedy="open it as http://127.0.0.1"))
    return app


def main() -> None:
    """Serve it until SIGTERM."""
    os.umask(0o077)
    workspace = Workspace.locate(None)
    logging.getLogger("httpx").setLevel(logging.WARNING)  # else a line for each request to the other servers
    introduce(workspace)  # before Prefect reads its settings
    import uvicorn

    from freqd.serve.http.limits import TimeoutProtocol

    uvicorn.run(
        create_app(workspace), host="127.0.0.1", port=int(sys.argv[1]), http=TimeoutProtocol, log_level="warning"
    )


if __name__ == "__main__":
    main()
