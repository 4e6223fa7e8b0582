"""Who may ask, how much at a time, and how long a client may take to say what it wants."""

from __future__ import annotations

import asyncio
import hmac
import time
from dataclasses import dataclass
from typing import Any

from litestar.enums import ScopeType
from litestar.exceptions import HTTPException
from litestar.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from freqd.serve.http.refusals import send_refusal

MAX_REQUESTS = 512
"""Requests in the process at a time."""
BODY_SECONDS = 10.0
"""How long a client may take to send a body."""
HEAD_SECONDS = 10.0
"""How long a client may take to send the head of a request."""


@dataclass(frozen=True)
class Access:
    """Who may ask.

    Attributes:
        token: what a request has to bring as ``Authorization: Bearer TOKEN``; None: nothing.
        hosts: names under which the service may be asked, in lower case, without a port; None: all. A page of a foreign name
            that points to this machine could read the answers otherwise.
        remedy: for whoever asked under another name.
    """

    token: str | None = None
    hosts: frozenset[str] | None = None
    remedy: str = "`freqd serve --allow-host NAME` allows it"

    def refusal(self, scope: Scope) -> tuple[int, str] | None:
        """Why a request may not be answered."""
        headers = dict(scope["headers"])
        host = headers.get(b"host", b"").decode("latin-1").lower()
        name = host.partition("]")[0] + "]" if host.startswith("[") else host.partition(":")[0]
        if self.hosts is not None and name not in self.hosts:
            return 403, f"this service is not asked by that name; {self.remedy}"
        return None

    def known(self, scope: Scope) -> bool:
        """Whether the request brings the token."""
        if self.token is None:
            return True
        given = dict(scope["headers"]).get(b"authorization", b"")
        return hmac.compare_digest(given, f"Bearer {self.token}".encode())


def bounded(app: ASGIApp, access: Access) -> ASGIApp:
    """Refuse who may not ask, what is too much at a time, and bodies that do not come."""
    busy = 0

    async def bound(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal busy
        if scope["type"] != ScopeType.HTTP:
            return await app(scope, receive, send)
        known = access.known(scope)
        scope["freqd_known"] = known  # type: ignore[typeddict-unknown-key]
        refusal = access.refusal(scope)
        if refusal is None and not known and scope["path"] != "/health":
            refusal = 401, "send the token of this service as Authorization: Bearer TOKEN"
        if refusal is None and busy >= MAX_REQUESTS:
            refusal = 503, "too many requests at once: ask again in a second"
        if refusal is not None:
            return await send_refusal(send, *refusal)
        busy += 1
        try:
            await app(scope, _in_time(receive), send)
        finally:
            busy -= 1

    return bound


def _in_time(receive: Receive) -> Receive:
    """``receive``, until the body is whole only within ``BODY_SECONDS`` from now."""
    deadline = time.monotonic() + BODY_SECONDS
    whole = False

    async def in_time() -> Any:
        nonlocal whole
        if whole:
            return await receive()
        try:
            message = await asyncio.wait_for(receive(), max(0.0, deadline - time.monotonic()))
        except TimeoutError:
            raise HTTPException("the body did not come in time", status_code=408) from None
        whole = message["type"] != "http.request" or not message.get("more_body", False)
        return message

    return in_time


class TimeoutProtocol(H11Protocol):
    """uvicorn's HTTP protocol, which has no such limit itself: closes a connection whose request does not come.

    That is, one on which no whole head of a request has come ``HEAD_SECONDS`` after its first byte.
    """

    waiting: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """The time runs from the connection on."""
        super().connection_made(transport)
        self.wait()

    def data_received(self, data: bytes) -> None:
        """It runs again from the first byte of another request on, and stops with a whole head."""
        if self.cycle is None or self.cycle.response_complete:
            self.wait()
        before = self.cycle
        super().data_received(data)
        if self.cycle is not before and self.waiting is not None:
            self.waiting.cancel()
            self.waiting = None

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is waited for any more."""
        if self.waiting is not None:
            self.waiting.cancel()
        super().connection_lost(exc)

    def wait(self) -> None:
        """Let the time run, unless it runs already."""
        if self.waiting is None:
            self.waiting = self.loop.call_later(HEAD_SECONDS, self.transport.close)
