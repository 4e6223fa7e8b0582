"""What stands before the Prefect server: who may ask it what.

A web page in the operator's browser can send requests to 127.0.0.1, and with a name of its own that it lets point there it
can even read the answers. Prefect runs whatever its API is told to run. So:

- the Host header has to be the server's own, for websockets too;
- freqd's processes send a secret header and may do everything;
- everybody else, such as the page in the browser, may read and do the few things that an operator does on the page: start a
  deployment, answer, pause or cancel a run, switch a schedule or an automation. What they send may not say how a run is
  started or where its result lies; and where a browser says where a request comes from, it has to be the page itself.
"""

from __future__ import annotations

import hmac
import json
import re
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any
from urllib.parse import unquote_to_bytes

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

HEADER = b"x-freqd-token"
BODY_LIMIT = 4 * 2**20
_ID, _NAME = "[0-9a-fA-F-]{36}", "[^/]+"

READS = tuple(
    re.compile(pattern)
    for pattern in (
        r"/(flows|flow_runs|task_runs|deployments|work_pools|work_queues|artifacts|artifacts/latest|automations|block_documents|"
        r"block_types|block_schemas|variables|logs|events|concurrency_limits|v2/concurrency_limits|task_workers|saved_searches)"
        r"/(filter|count|paginate|history|lateness)",
        rf"/work_pools/{_NAME}/(queues|workers)/filter",
        rf"/work_pools/{_NAME}/concurrency_status",
        rf"/work_queues/{_ID}/concurrency_status",
        rf"/flow_runs/{_ID}/input/filter",
        r"/events/count-by/[a-z-]+",
        r"/ui/(flows|flow_runs|task_runs|schemas)/[a-z/-]+",
    )
)
"""Routes that are asked by POST and only read."""

_DEPLOYMENT = re.compile(rf"/deployments/{_ID}")
_START = re.compile(rf"/deployments/{_ID}/create_flow_run")
_SCHEDULE = re.compile(rf"/deployments/{_ID}/schedules/{_ID}")
_AUTOMATION = re.compile(rf"/automations/{_ID}")
_BLOCKS = re.compile(r"/block_documents/(filter|count)")
_STATE = re.compile(rf"/flow_runs/{_ID}/set_state")

WRITES = (
    ("POST", _START),
    ("POST", re.compile(rf"/deployments/{_ID}/(pause_deployment|resume_deployment)")),
    ("PATCH", _SCHEDULE),
    ("PATCH", _DEPLOYMENT),
    ("POST", re.compile(rf"/flow_runs/{_ID}/resume")),
    ("POST", _STATE),
    ("PATCH", _AUTOMATION),
)
"""What the page may do besides reading."""

_RUN = "state name parameters tags idempotency_key enforce_parameter_schema empirical_policy context labels work_queue_name"
_TIMES = "active schedule slug parameters replaces max_active_runs max_scheduled_runs catchup"
BODIES = (
    (_START, frozenset(_RUN.split())),
    (_SCHEDULE, frozenset(_TIMES.split())),
    (_DEPLOYMENT, frozenset({"paused"})),
    (_AUTOMATION, frozenset({"enabled"})),
    (_BLOCKS, frozenset({"block_documents", "block_types", "block_schemas", "limit", "offset", "sort"})),
)
"""What a body may set. The page also sends null for all that it does not mean to change: those are left out."""

NOT_READ = (re.compile(r"/collections/.*"),)
"""Routes that fetch something from outside. (The page cannot do without /admin/settings, which tells no secret.)"""
SOCKETS = frozenset({"/events/out", "/logs/out"})
"""Websockets that the page may open; they only read."""
NOT_HERE = "the page may not do this; `freqd` on the command line can"
ANOTHER_PAGE = "another page may not ask this"


class Guard:
    """The guard of one server.

    Args:
        app: the server.
        port: where it listens.
        token: what freqd's own processes send.
    """

    def __init__(self, app: App, port: int, token: str) -> None:
        self._app, self._token = app, token.encode()
        names = [f"{host}:{port}" for host in ("127.0.0.1", "localhost", "[::1]")]
        self._hosts = frozenset(name.encode() for name in names)
        self._origins = frozenset(f"http://{name}".encode() for name in names)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it with 403."""
        if scope["type"] == "lifespan":
            return await self._app(scope, receive, send)
        headers: list[tuple[bytes, bytes]] = scope["headers"]

        def values(name: bytes) -> list[bytes]:
            return [value for key, value in headers if key.lower() == name]

        hosts, tokens = values(b"host"), values(HEADER)
        if len(hosts) != 1 or hosts[0].lower() not in self._hosts:
            return await _refuse(scope, receive, send, "nothing is served under this name")
        scope["headers"] = [(key, value) for key, value in headers if key.lower() != HEADER]
        if len(tokens) == 1 and hmac.compare_digest(tokens[0], self._token):
            return await self._app(scope, receive, send)
        reason = self._foreign(scope, values) or _route(scope)
        if reason is None and scope["type"] == "http" and scope["method"] in {"POST", "PATCH", "PUT"}:
            body = await _read(receive)
            body, reason = _checked(_path(scope) or "", body)
            length = str(len(body)).encode()
            scope["headers"] = [(k, length if k.lower() == b"content-length" else v) for k, v in scope["headers"]]
            receive = _again(body, receive)
        if reason is not None:
            return await _refuse(scope, receive, send, reason)
        return await self._app(scope, receive, send)

    def _foreign(self, scope: Scope, values: Callable[[bytes], list[bytes]]) -> str | None:
        """Why a request does not come from the server's own page."""
        origins, sites = values(b"origin"), values(b"sec-fetch-site")
        if origins and (len(origins) != 1 or origins[0].lower() not in self._origins):
            return ANOTHER_PAGE
        navigates = values(b"sec-fetch-mode") == [b"navigate"]
        if sites and sites[0] in {b"cross-site", b"same-site"} and not origins and not navigates:
            return ANOTHER_PAGE
        writes = scope["type"] == "websocket" or scope["method"] not in {"GET", "HEAD"}
        return "only freqd's own processes and the page may ask this" if writes and not origins else None


def _path(scope: Scope) -> str | None:
    """The route within the API; None outside of it."""
    path = str(scope["path"].removeprefix(scope.get("root_path", "")))
    return path.removeprefix("/api").rstrip("/") if path.startswith("/api/") else None


def _route(scope: Scope) -> str | None:
    """Why a route is not for the page."""
    path = _path(scope)
    if b"include_secrets" in unquote_to_bytes(scope.get("query_string", b"")).lower():
        return NOT_HERE
    if scope["type"] == "websocket":
        return None if path in SOCKETS else NOT_HERE
    method = scope["method"]
    if method in {"GET", "HEAD"}:
        return NOT_HERE if path is not None and any(route.fullmatch(path) for route in NOT_READ) else None
    if path is None:
        return NOT_HERE
    allowed = method == "POST" and any(route.fullmatch(path) for route in READS)
    return None if allowed or any(method == verb and route.fullmatch(path) for verb, route in WRITES) else NOT_HERE


def _checked(path: str, body: bytes | None) -> tuple[bytes, str | None]:
    """The body as it goes on, and why it may not."""
    if body is None:
        return b"", f"the request is larger than {BODY_LIMIT} bytes"
    allowed = next((keys for route, keys in BODIES if route.fullmatch(path)), None)
    if allowed is None and not _STATE.fullmatch(path):
        return body, None
    try:
        given = json.loads(body or b"{}")
    except ValueError:
        given = None
    if not isinstance(given, dict):
        return body, "this is no JSON object"
    if _has_data(given.get("state")):
        return body, "the page may not say where the result of a run lies"
    if allowed is None:
        return json.dumps(given).encode(), None
    given = {key: value for key, value in given.items() if key in allowed or value}
    foreign = sorted(set(given) - allowed)
    return json.dumps(given).encode(), f"the page may not set {', '.join(foreign)}" if foreign else None


def _has_data(state: object) -> bool:
    """Whether a state says where a result lies, which clients would read and unpickle."""
    return state is not None and (not isinstance(state, dict) or state.get("data") is not None)


async def _read(receive: Receive) -> bytes | None:
    """The body; None if it is too long or the client has gone."""
    body = b""
    while len(body) <= BODY_LIMIT:
        message = await receive()
        if message["type"] != "http.request":
            return None
        body += message.get("body", b"")
        if not message.get("more_body"):
            return body if len(body) <= BODY_LIMIT else None
    return None


def _again(body: bytes, receive: Receive) -> Receive:
    """A ``receive`` that gives a body that was read already."""
    waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> Message:
        return waiting.pop() if waiting else await receive()

    return again


async def _refuse(scope: Scope, receive: Receive, send: Send, reason: str) -> None:
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": 1008, "reason": reason})  # before it was accepted: 403
        return
    body = json.dumps({"detail": reason, "exception_message": reason}).encode()
    headers: Iterable[tuple[bytes, bytes]] = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
    ]
    await send({"type": "http.response.start", "status": 403, "headers": headers})
    await send({"type": "http.response.body", "body": body})
