"""The HTTP service: recommendations of the registered model that an alias points at, followed as it moves.

One process, one event loop. A request is answered within the loop (a product with all items is well below a
millisecond for small features), so there is no queue and no hand-over between threads; only long lists of users go
to a thread, and so does loading a new model. The model is one attribute, replaced as a whole: a request takes it
once and is answered by that model from beginning to end.
"""

from __future__ import annotations

import asyncio
import hmac
import html
import logging
import re
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Annotated, Any, Protocol
from urllib.parse import unquote_to_bytes

import msgspec
from litestar import Litestar, MediaType, Request, Response, get, post
from litestar.enums import ScopeType
from litestar.exceptions import HTTPException, NotFoundException
from litestar.openapi import OpenAPIConfig
from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.params import JSONBody, Parameter
from litestar.types import ASGIApp, Message, Receive, Scope, Send
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

import freqd
from freqd.config import IndexConfig
from freqd.errors import InputError
from freqd.serve import Answer, Recommender
from freqd.serve import faiss_index as cells
from freqd.serve.recommender import Lists

MAX_K = 1000
MAX_USERS = 1000
MAX_LIST = 10_000
"""Ids in each of the lists of a question."""
MAX_BODY = 2 * 2**20
MAX_ECHO = 20
"""Ids of a question that an answer repeats because the model does not know them."""
MAX_ANSWERED = 8
"""Questions for many users that are worked on at a time; more are told to come again."""
MAX_REQUESTS = 512
"""Requests in the process at a time."""
BODY_SECONDS = 10.0
"""How long a client may take to send a body."""
HEAD_SECONDS = 10.0
"""How long a client may take to send the head of a request."""
REGISTRY_SECONDS = 5.0
"""How long the registry may take to say which version an alias points at."""
BATCH_USERS = 50
"""Users that are answered between two looks whether the client is still there."""
METHODS = frozenset({"GET", "POST", "HEAD", "OPTIONS", "PUT", "PATCH", "DELETE"})
IN_LOOP_USERS = 2
"""A request for more users than this is answered in a thread, so that others need not wait for it."""
LONGEST_WAIT = 300.0
"""Seconds after which a broken version is tried again at the latest."""
BUCKETS = (0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


class Source(Protocol):
    """Where models come from: ``tasks.mlops.champion.Registered``, or ``tasks.mlops.model_source.OfRun``, which has no alias."""

    name: str
    alias: str | None

    def version(self) -> str:
        """The version to serve at this moment."""
        ...

    def load(self, version: str) -> Recommender:
        """That version, checked."""
        ...


@dataclass(frozen=True)
class Model:
    """What answers: a version and its recommender."""

    version: str
    recommender: Recommender


@dataclass
class Rejected:
    """A version that is not served because it is broken."""

    version: str
    reason: str
    tries: int = 1
    retry_at: float = 0.0


class Metrics:
    """Prometheus metrics of one service."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        common: dict[str, Any] = {"registry": self.registry}
        self.requests = Counter(
            "freqd_requests", "Requests by route and status.", ("method", "route", "status"), **common
        )
        self.seconds = Histogram(
            "freqd_request_seconds", "Seconds to answer, by route.", ("route",), buckets=BUCKETS, **common
        )
        self.answers = Counter("freqd_answers", "Answers by where they come from.", ("source",), **common)
        self.model = Gauge("freqd_model_info", "1 for the version that is served.", ("name", "version"), **common)
        self.loaded = Gauge("freqd_model_loaded_timestamp_seconds", "When the served version was loaded.", **common)
        self.broken = Gauge("freqd_model_rejected", "1 while the alias points at a broken version.", **common)
        self.registry_up = Gauge("freqd_registry_up", "1 if the registry answered when last asked.", **common)
        self.recall = Gauge("freqd_index_recall", "Share of the exact top 20 that is found; 1: exact.", **common)
        self.build = Gauge("freqd_index_build_seconds", "Seconds that the index took; 0: there is none.", **common)
        self.swaps = Counter("freqd_model_swaps", "Times that another version took over.", **common)


@dataclass
class Service:
    """The model that is served, and the watch over its alias.

    Attributes:
        source: where models come from.
        model: the one that answers; replaced as a whole.
        poll_seconds: between two looks at the alias.
        rejected: the version that the alias points at, if it is broken.
        index: whether new models get an index.
        say: told in one line what a new model answers with.
        registry_error: why the registry did not answer when last asked.
    """

    source: Source
    model: Model
    poll_seconds: float = 3.0
    index: IndexConfig = field(default_factory=IndexConfig)
    say: Callable[[str], None] = lambda text: None
    rejected: Rejected | None = None
    registry_error: str | None = None
    metrics: Metrics = field(default_factory=Metrics)
    _asked: asyncio.Future[str] | None = None

    def __post_init__(self) -> None:
        self._take(self.model)
        self.metrics.broken.set(0)
        self.metrics.registry_up.set(1)

    async def follow(self) -> None:
        """Look at the alias for ever."""
        while True:
            await asyncio.sleep(self.poll_seconds)
            await self.look()

    async def look(self) -> None:
        """Take over the version that the alias points at, if it is another one and whole."""
        try:
            version = await self._ask_registry()
        except Exception as error:  # a registry that is away for a while must not stop the service
            self.registry_error = _without_places(f"{type(error).__name__}: {error}".splitlines()[0])
            self.metrics.registry_up.set(0)
            return
        self.registry_error = None
        self.metrics.registry_up.set(1)
        if version == self.model.version:
            self._reject(None)
            return
        last = self.rejected if self.rejected is not None and self.rejected.version == version else None
        if last is not None and time.monotonic() < last.retry_at:
            return
        try:
            recommender = await asyncio.to_thread(self._load, version)
        except Exception as error:  # the same: whatever it is, the present model goes on
            tries = 1 if last is None else last.tries + 1
            wait = min(self.poll_seconds * 2**tries, LONGEST_WAIT)
            self._reject(Rejected(version, _without_places(str(error)), tries, time.monotonic() + wait))
            return
        self._take(Model(version, recommender))
        self.metrics.swaps.inc()
        self._reject(None)

    async def _ask_registry(self) -> str:
        """The version that the alias points at; one question at a time, for one that hangs goes on in its thread.

        Raises:
            TimeoutError: the registry does not answer.
        """
        if self._asked is None or self._asked.done():
            self._asked = asyncio.ensure_future(asyncio.to_thread(self.source.version))
        try:
            return await asyncio.wait_for(asyncio.shield(self._asked), REGISTRY_SECONDS)
        except TimeoutError:
            raise TimeoutError(f"the registry does not answer within {REGISTRY_SECONDS:g} s") from None

    def _load(self, version: str) -> Recommender:
        """Load a version and touch everything that the first request would have to build."""
        recommender = self.source.load(version)
        self.say(f"version {version}: {prepare(recommender, self.index)}")
        return recommender

    def _take(self, model: Model) -> None:
        self.model = model
        self.metrics.model.clear()
        self.metrics.model.labels(self.source.name, model.version).set(1)
        self.metrics.loaded.set_to_current_time()
        index = model.recommender.index.approximate
        self.metrics.recall.set(1.0 if index is None else index.recall)
        self.metrics.build.set(0.0 if index is None else index.seconds)

    def _reject(self, rejected: Rejected | None) -> None:
        self.rejected = rejected
        self.metrics.broken.set(rejected is not None)


def prepare(recommender: Recommender, config: IndexConfig) -> str:
    """Give a recommender its index if it is to have one, then answer one question of each kind.

    So what is computed once is computed before the first request.

    Returns:
        What it answers with, for a person.
    """
    many = len(recommender.item_ids) >= config.min_items
    if config.kind == "faiss" or (config.kind == "auto" and many and cells.installed()):
        recommender.index.approximate = cells.build(recommender.features, config)
    item = str(recommender.item_ids[0])
    recommender.ask(str(recommender.user_ids[0]), k=1)
    recommender.ask(history=[item], k=1)
    recommender.similar(item, k=1)
    if recommender.index.approximate is not None:
        return str(recommender.index.approximate)
    return 'exact; with `pip install "freqd[index]"` an index is built' if config.kind == "auto" and many else "exact"


# -- what goes over the wire ----------------------------------------------------------------------------------------


class Scored(msgspec.Struct):
    """An item and its score."""

    item: str
    score: float


class Recommendation(msgspec.Struct, omit_defaults=True):
    """The answer for one user."""

    user: str | None
    source: str
    items: list[Scored]
    model: str
    version: str
    unknown_items: list[str] = []


class Recommendations(msgspec.Struct):
    """The answers for many users, in the order of the question, all by the same version of the model."""

    model: str
    version: str
    answers: list[Recommendation]


class Similar(msgspec.Struct):
    """Items like one item, by cosine."""

    item: str
    items: list[Scored]
    model: str
    version: str


Id = str | int


class Problem(msgspec.Struct):
    """Why a request was refused."""

    status: int
    error: str


class Question(msgspec.Struct, forbid_unknown_fields=True):
    """Whom to recommend to, and what may be recommended.

    ``users``: own ids. ``history``: items that a new user has met; with at most one user. Neither: what is popular.
    """

    users: list[Id] | None = None
    history: list[Id] | None = None
    k: Annotated[int, msgspec.Meta(ge=1, le=MAX_K)] = 20
    exclude_seen: bool = True
    allow: list[Id] | None = None
    deny: list[Id] | None = None

    def check(self) -> None:
        """See that it asks for no more than is answered.

        Raises:
            HTTPException: it does.
        """
        for name, most in (("users", MAX_USERS), ("history", MAX_LIST), ("allow", MAX_LIST), ("deny", MAX_LIST)):
            given = len(getattr(self, name) or ())
            if given > most:
                raise HTTPException(f"{name}: {given} are given, at most {most} are taken", status_code=400)
        if self.history is not None and len(self.users or ()) > 1:
            raise HTTPException("history: it is one user's, but users names more than one", status_code=400)


class Bare(msgspec.Struct):
    """All that is told without the token: ``ok`` or ``degraded``."""

    status: str


class Health(msgspec.Struct, omit_defaults=True):
    """What is served, and what stands in the way of the newest version.

    ``status``: ``ok``, or ``degraded``: an older version answers because the newest is broken or the registry is away.
    ``index``: ``exact``, or ``faiss``: then ``index_recall`` is the share of the exact top 20 that it finds.
    """

    status: str
    model: str
    alias: str | None
    version: str
    users: int
    items: int
    dim: int
    freqd: str
    index: str
    index_recall: float | None = None
    index_build_seconds: float | None = None
    rejected_version: str | None = None
    rejected_reason: str | None = None
    registry_error: str | None = None


def _scored(answer: Answer) -> list[Scored]:
    return [Scored(item, score) for item, score in zip(answer.items, answer.scores, strict=True)]


NO_LISTS = Lists([], None, None, [])
_REFUSALS = {
    400: ResponseSpec(
        Problem, description="The question cannot be read or asks for too much.", generate_examples=False
    ),
    401: ResponseSpec(Problem, description="The token is missing or wrong.", generate_examples=False),
    503: ResponseSpec(Problem, description="Too much at once.", generate_examples=False),
}
_UNKNOWN = {404: ResponseSpec(Problem, description="The model does not know it.", generate_examples=False)}

# -- routes ---------------------------------------------------------------------------------------------------------

K = Annotated[int, Parameter(ge=1, le=MAX_K, description=f"Items to return, 1 to {MAX_K}.")]


def build(service: Service, access: Access | None = None) -> Litestar:
    """The application of one service; ``access`` says who may ask, by default everybody."""
    access = access or Access()

    def recommendation(model: Model, user: str | None, lists: Lists, **rest: Any) -> Recommendation:
        answer = model.recommender.answer(user, lists, **rest)
        service.metrics.answers.labels(answer.source).inc()
        unknown = answer.unknown_items[:MAX_ECHO]
        return Recommendation(user, answer.source, _scored(answer), service.source.name, model.version, unknown)

    answered = asyncio.Semaphore(MAX_ANSWERED)

    @get("/recommend/{user:path}", summary="The best items of one user", responses=_REFUSALS)
    async def recommend(
        request: Request[Any, Any, Any],
        user: Annotated[str, Parameter(description="The user's own id.")],
        k: K = 20,
        exclude_seen: Annotated[bool, Parameter(description="Leave out what the user has met already.")] = True,
    ) -> Recommendation:
        """A known user is answered from the model, anybody else with what is popular; `source` says which."""
        _only(request, ("k", "exclude_seen"))
        user = _own_id(request, "/recommend/")
        return recommendation(service.model, user, NO_LISTS, k=k, exclude_seen=exclude_seen)

    @post(
        "/recommend",
        status_code=200,
        summary="The best items of many users, or of a new one by history",
        responses=_REFUSALS,
        request_max_body_size=MAX_BODY,
    )
    async def recommend_many(
        request: Request[Any, Any, Any], data: JSONBody[Question | None] = None
    ) -> Recommendations:
        """Unknown users are folded in from `history`; without one they get what is popular. `source` says which.

        The first items of `history`, `allow` and `deny` that the model does not know are listed in `unknown_items`.
        """
        _only(request, ())
        if data is None:
            raise HTTPException("the body is missing: send a Question as JSON, see /", status_code=400)
        users: list[str | None] = [None] if data.users is None else [str(user) for user in data.users]
        data.check()
        model = service.model
        lists = model.recommender.resolve(
            history=_texts(data.history), allow=_texts(data.allow), deny=_texts(data.deny)
        )

        def answers(some: list[str | None]) -> list[Recommendation]:
            return [recommendation(model, user, lists, k=data.k, exclude_seen=data.exclude_seen) for user in some]

        if len(users) <= IN_LOOP_USERS:
            return Recommendations(service.source.name, model.version, answers(users))
        if answered.locked():
            raise HTTPException("too many questions for many users at once: ask again in a second", status_code=503)
        async with answered, _presence(request) as gone:
            found: list[Recommendation] = []
            for first in range(0, len(users), BATCH_USERS):
                if gone.done():
                    raise HTTPException("the client has gone", status_code=499)
                found += await asyncio.to_thread(answers, users[first : first + BATCH_USERS])
        return Recommendations(service.source.name, model.version, found)

    @get("/similar/{item:path}", summary="Items like one item", responses={**_REFUSALS, **_UNKNOWN})
    async def similar(
        request: Request[Any, Any, Any],
        item: Annotated[str, Parameter(description="The item's own id.")],
        k: K = 20,
    ) -> Similar:
        """By the cosine of their features. 404 for an item that the model does not know."""
        _only(request, ("k",))
        item = _own_id(request, "/similar/")
        model = service.model
        if item not in model.recommender.item_rows:
            raise NotFoundException(f"the model does not know item {item!r}")
        answer = model.recommender.similar(item, k=k)
        return Similar(item, _scored(answer), service.source.name, model.version)

    @get("/health", summary="What is served")
    async def health(request: Request[Any, Any, Any]) -> Health | Bare:
        """`status` is `ok`, or `degraded` while an older version answers in the place of a broken one."""
        model, rejected = service.model, service.rejected
        index = model.recommender.index.approximate
        degraded = rejected is not None or service.registry_error is not None
        status = "degraded" if degraded else "ok"
        if not request.scope.get("freqd_known", True):
            return Bare(status)
        return Health(
            status=status,
            model=service.source.name,
            alias=service.source.alias,
            version=model.version,
            users=len(model.recommender.user_ids),
            items=len(model.recommender.item_ids),
            dim=model.recommender.features.dim,
            freqd=freqd.__version__,
            index="exact" if index is None else "faiss",
            index_recall=None if index is None else round(index.recall, 4),
            index_build_seconds=None if index is None else round(index.seconds, 2),
            rejected_version=None if rejected is None else rejected.version,
            rejected_reason=None if rejected is None else rejected.reason,
            registry_error=service.registry_error,
        )

    @get("/metrics", media_type=MediaType.TEXT, summary="Metrics for Prometheus")
    async def metrics() -> Response[bytes]:
        """Requests by route and status, seconds by route, answers by source, the version that is served."""
        return Response(generate_latest(service.metrics.registry), media_type=CONTENT_TYPE_LATEST)

    @get("/", media_type=MediaType.HTML, include_in_schema=False)
    async def page(request: Request[Any, Any, Any]) -> Response[str]:
        return Response(_page(request.app.openapi_schema.to_schema()), media_type=MediaType.HTML)

    @asynccontextmanager
    async def following(_: Litestar) -> AsyncIterator[None]:
        watch = asyncio.create_task(service.follow())
        try:
            yield
        finally:
            watch.cancel()

    app = Litestar(
        route_handlers=[recommend, recommend_many, similar, health, metrics, page],
        lifespan=[following],
        exception_handlers={
            HTTPException: _explain,
            InputError: _refuse,
            RecursionError: _unreadable,
            UnicodeError: _unreadable,
            Exception: _broken,
        },
        openapi_config=OpenAPIConfig(
            title="freqd", version=freqd.__version__, path="/schema", render_plugins=[JsonRenderPlugin()],
            use_handler_docstrings=True,
        ),
        debug=False,
    )  # fmt: skip
    app.asgi_handler = _measured(_bounded(app.asgi_handler, access), service.metrics)  # refusals are counted too
    return app


def _texts(ids: list[Id] | None) -> list[str] | None:
    return None if ids is None else [str(value) for value in ids]


def _own_id(request: Request[Any, Any, Any], route: str) -> str:
    """What follows the route in the path as it was sent: slashes are part of an id, also doubled ones.

    Raises:
        NotFoundException: the path as it was sent does not begin with the route.
        HTTPException: the id is no UTF-8.
    """
    path = bytes(request.scope["raw_path"]).partition(b"?")[0]  # some servers leave the query in it
    if not path.startswith(route.encode()):
        raise NotFoundException("there is no such route; write the / before an id as it is")
    try:
        return unquote_to_bytes(path.removeprefix(route.encode())).decode()
    except UnicodeDecodeError:
        raise HTTPException("the id in the path is not UTF-8", status_code=400) from None


@asynccontextmanager
async def _presence(request: Request[Any, Any, Any]) -> AsyncIterator[asyncio.Task[Any]]:
    """A task that is done when the client has gone; the body was read already, so nothing else can come."""
    gone = asyncio.ensure_future(request.receive())
    try:
        yield gone
    finally:
        gone.cancel()


def _only(request: Request[Any, Any, Any], names: tuple[str, ...]) -> None:
    """Refuse query parameters that the route does not have: a misspelt one would silently do nothing."""
    for name in request.query_params:
        if name not in names:
            known = ", ".join(names) or "none"
            raise HTTPException(f"{name}: there is no such query parameter; there are: {known}", status_code=400)


def _explain(_: Request[Any, Any, Any], error: HTTPException) -> Response[dict[str, Any]]:
    """Litestar's refusals as one message that names what is wrong."""
    message = error.detail
    extra = error.extra
    if isinstance(extra, list) and extra:
        message = "; ".join(
            f"{entry['key']}: {entry['message']}" if entry.get("key") else str(entry["message"]) for entry in extra
        )
    return _problem(error.status_code, message)


def _refuse(_: Request[Any, Any, Any], error: InputError) -> Response[dict[str, Any]]:
    return _problem(400, error.problem)


def _unreadable(_: Request[Any, Any, Any], error: Exception) -> Response[Any]:
    return _problem(
        400, f"the request cannot be read: {'it is nested too deeply' if isinstance(error, RecursionError) else error}"
    )


def _broken(_: Request[Any, Any, Any], error: Exception) -> Response[Any]:
    logging.getLogger("freqd").error("a request failed", exc_info=error)
    return _problem(500, "the request failed; the log of the service says why")


def _problem(status: int, message: str) -> Response[Any]:
    headers = {503: {"retry-after": "1"}, 401: {"www-authenticate": "Bearer"}}.get(status, {})
    return Response(Problem(status, message), status_code=status, media_type=MediaType.JSON, headers=headers)


def _without_places(text: str) -> str:
    """A text that may be shown to whoever asks: without paths and addresses of this machine."""
    return re.sub(r"[a-z+]+://[^\s'\"]+|(?<![\w.])/[^\s'\":,)]+", "…", text)


@dataclass(frozen=True)
class Access:
    """Who may ask.

    Attributes:
        token: what a request has to bring as ``Authorization: Bearer TOKEN``; None: nothing.
        hosts: names under which the service may be asked, in lower case, without a port; None: all. A page of a foreign name
            that points to this machine could read the answers otherwise.
    """

    token: str | None = None
    hosts: frozenset[str] | None = None

    def refusal(self, scope: Scope) -> tuple[int, str] | None:
        """Why a request may not be answered."""
        headers = dict(scope["headers"])
        host = headers.get(b"host", b"").decode("latin-1").lower()
        name = host.partition("]")[0] + "]" if host.startswith("[") else host.partition(":")[0]
        if self.hosts is not None and name not in self.hosts:
            return 403, "this service is not asked by that name; `freqd serve --allow-host NAME` allows it"
        return None

    def known(self, scope: Scope) -> bool:
        """Whether the request brings the token."""
        if self.token is None:
            return True
        given = dict(scope["headers"]).get(b"authorization", b"")
        return hmac.compare_digest(given, f"Bearer {self.token}".encode())


def _bounded(app: ASGIApp, access: Access) -> ASGIApp:
    """Refuse who may not ask, what is too much at a time, and bodies that do not come."""
    busy = 0

    async def bounded(scope: Scope, receive: Receive, send: Send) -> None:
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
            return await _say(send, *refusal)
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

        busy += 1
        try:
            await app(scope, in_time, send)
        finally:
            busy -= 1

    return bounded


async def _say(send: Send, status: int, message: str) -> None:
    """A refusal before the application has seen the request."""
    body = msgspec.json.encode(Problem(status, message))
    extra = [(b"retry-after", b"1")] if status == 503 else [(b"www-authenticate", b"Bearer")] if status == 401 else []
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()), *extra]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})


def _measured(app: ASGIApp, metrics: Metrics) -> ASGIApp:
    """Count and time every request."""

    async def measured(scope: Scope, receive: Receive, send: Send) -> None:
        started, status = time.perf_counter(), 500

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await app(scope, receive, watched)
        finally:
            route = str(scope.get("path_template") or "none")
            method = str(scope.get("method", ""))
            metrics.requests.labels(method if method in METHODS else "other", route, str(status)).inc()
            metrics.seconds.labels(route).observe(time.perf_counter() - started)

    return measured


def impatient() -> Any:
    """uvicorn's HTTP protocol, which closes a connection whose request does not come: it has no such limit itself."""
    from uvicorn.protocols.http.h11_impl import H11Protocol

    class Impatient(H11Protocol):
        """Closes a connection on which no whole head of a request has come ``HEAD_SECONDS`` after its first byte."""

        waiting: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self.wait()

        def data_received(self, data: bytes) -> None:
            if self.cycle is None or self.cycle.response_complete:
                self.wait()
            before = self.cycle
            super().data_received(data)
            if self.cycle is not before and self.waiting is not None:
                self.waiting.cancel()
                self.waiting = None

        def connection_lost(self, exc: Exception | None) -> None:
            if self.waiting is not None:
                self.waiting.cancel()
            super().connection_lost(exc)

        def wait(self) -> None:
            if self.waiting is None:
                self.waiting = self.loop.call_later(HEAD_SECONDS, self.transport.close)

    return Impatient


# -- the page -------------------------------------------------------------------------------------------------------

_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:52rem;margin:2rem auto;padding:0 1rem}"
    "code{background:#f2f2f2;padding:.1em .3em}h2{margin-bottom:.2em;font-size:1.1rem}"
    "td{padding:.1em 1em .1em 0;vertical-align:top}"
)


def _page(schema: Mapping[str, Any]) -> str:
    """The OpenAPI schema as one page that needs nothing from elsewhere."""
    parts = []
    for path, operations in sorted(schema["paths"].items()):
        for method, operation in operations.items():
            rows = "".join(
                f"<tr><td><code>{html.escape(p['name'])}</code></td><td>{html.escape(p.get('description', ''))}</td>"
                f"<td>{_default(p.get('schema', {}))}</td></tr>"
                for p in operation.get("parameters", [])
            )
            body = "<p>Body: <code>Question</code> as JSON, see the schema.</p>" if "requestBody" in operation else ""
            parts.append(
                f"<h2><code>{method.upper()} {html.escape(path)}</code> {html.escape(operation.get('summary', ''))}</h2>"
                f"<p>{html.escape(operation.get('description', ''))}</p>{body}<table>{rows}</table>"
            )
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>freqd</title><style>{_STYLE}</style></head>'
        f'<body><h1>freqd {html.escape(freqd.__version__)}</h1><p><a href="/schema/openapi.json">OpenAPI schema</a> · '
        f'<a href="/health">health</a> · <a href="/metrics">metrics</a></p>{"".join(parts)}</body></html>'
    )


def _default(schema: Mapping[str, Any]) -> str:
    return f"default {html.escape(str(schema['default']))}" if "default" in schema else "required"
