"""The routes, and the application of one service."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any
from urllib.parse import unquote_to_bytes

from litestar import Litestar, MediaType, Request, Response, get, post
from litestar.exceptions import HTTPException, NotFoundException
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.params import JSONBody, Parameter
from prometheus_client import generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

import freqd
from freqd.feedback import Event, EventLog
from freqd.serve.http.limits import Access, bounded
from freqd.serve.http.messages import (
    MAX_K,
    Bare,
    Events,
    Health,
    Question,
    Recommendation,
    Recommendations,
    Similar,
    Taken,
    scored,
    texts,
)
from freqd.serve.http.metrics import measured
from freqd.serve.http.page import ASSETS, POLICY, START, TRY, asset, page, with_examples
from freqd.serve.http.refusals import EXCEPTION_HANDLERS, REFUSALS, UNKNOWN
from freqd.serve.http.service import Service, Trial
from freqd.serve.recommender import Lists

MAX_BODY = 2 * 2**20
MAX_ANSWERED = 8
"""Questions for many users that are worked on at a time; more are asked to come again."""
BATCH_USERS = 50
"""Users that are answered between two checks whether the client is still there."""
IN_LOOP_USERS = 2
"""A request for more users than this is answered in a thread, so that others need not wait for it."""
NO_LISTS = Lists([], None, None, [])

AnyRequest = Request[Any, Any, Any]
K = Annotated[int, Parameter(ge=1, le=MAX_K, description=f"Items to return, 1 to {MAX_K}.")]


def create_app(
    service: Service, access: Access | None = None, *, trial: Trial | None = None, log: EventLog | None = None
) -> Litestar:
    """The application of one service.

    Args:
        service: what answers.
        access: who may ask, by default everybody.
        trial: a challenger for a share of the users.
        log: keeps what users do; None: nothing is kept.
    """

    @asynccontextmanager
    async def following(_: Litestar) -> AsyncIterator[None]:
        watch = asyncio.create_task(service.follow())
        try:
            yield
        finally:
            watch.cancel()

    app = Litestar(
        route_handlers=[recommend, recommend_many, similar, happened, health, metrics, how_to_ask, try_it, try_it_with],
        lifespan=[following],
        exception_handlers=EXCEPTION_HANDLERS,
        openapi_config=OpenAPIConfig(
            title="freqd", version=freqd.__version__, path="/schema", render_plugins=[_WithExamples()],
            use_handler_docstrings=True,
        ),
        debug=False,
    )  # fmt: skip
    app.state.trial, app.state.log, app.state.writing = trial, log, asyncio.Lock()
    app.state.service, app.state.answered = service, asyncio.Semaphore(MAX_ANSWERED)
    app.asgi_handler = measured(bounded(app.asgi_handler, access or Access()), service.metrics)  # refusals count too
    return app


@get("/recommend/{user:path}", summary="The best items of one user", responses=REFUSALS)
async def recommend(
    request: AnyRequest,
    user: Annotated[str, Parameter(description="The user's own id.")],
    k: K = 20,
    exclude_seen: Annotated[bool, Parameter(description="Leave out what the user has met already.")] = True,
) -> Recommendation:
    """A known user is answered from the model, anybody else with what is popular; `source` says which."""
    _only(request, ("k", "exclude_seen"))
    user = _own_id(request, "/recommend/")
    service = _service_for(request, user)
    return service.recommend(service.model, user, NO_LISTS, k=k, exclude_seen=exclude_seen)


@post(
    "/recommend",
    status_code=200,
    summary="The best items of many users, or of a new one by history",
    responses=REFUSALS,
    request_max_body_size=MAX_BODY,
)
async def recommend_many(request: AnyRequest, data: JSONBody[Question | None] = None) -> Recommendations:
    """Unknown users are folded in from `history`; without one they get what is popular. `source` says which.

    The first items of `history`, `allow` and `deny` that the model does not know are listed in `unknown_items`.
    """
    _only(request, ())
    if data is None:
        raise HTTPException("the body is missing: send a Question as JSON, see /", status_code=400)
    users: list[str | None] = [None] if data.users is None else [str(user) for user in data.users]
    data.check()
    service = _service(request)
    model = service.model
    given = {"history": texts(data.history), "allow": texts(data.allow), "deny": texts(data.deny)}
    lists = {id(service): (service, model, model.recommender.resolve(**given))}
    trial: Trial | None = request.app.state.trial
    if trial is not None and any(trial.takes(user, model.version) for user in users):
        other = trial.service.model
        lists[id(trial.service)] = (trial.service, other, other.recommender.resolve(**given))

    def answers(some: list[str | None]) -> list[Recommendation]:
        found = []
        for user in some:
            asked = lists.get(id(_service_for(request, user)), lists[id(service)])
            who, version, own = asked
            found.append(who.recommend(version, user, own, k=data.k, exclude_seen=data.exclude_seen))
        return found

    if len(users) <= IN_LOOP_USERS:
        return _together(service.source.name, answers(users))
    answered: asyncio.Semaphore = request.app.state.answered
    if answered.locked():
        raise HTTPException("too many questions for many users at once: ask again in a second", status_code=503)
    async with answered, _presence(request) as gone:
        found: list[Recommendation] = []
        for first in range(0, len(users), BATCH_USERS):
            if gone.done():
                raise HTTPException("the client has gone", status_code=499)
            found += await asyncio.to_thread(answers, users[first : first + BATCH_USERS])
    return _together(service.source.name, found)


@get("/similar/{item:path}", summary="Items like one item", responses={**REFUSALS, **UNKNOWN})
async def similar(
    request: AnyRequest,
    item: Annotated[str, Parameter(description="The item's own id.")],
    k: K = 20,
) -> Similar:
    """By the cosine of their features. 404 for an item that the model does not know."""
    _only(request, ("k",))
    item = _own_id(request, "/similar/")
    service = _service(request)
    model = service.model
    if item not in model.recommender.item_rows:
        raise NotFoundException(f"the model does not know item {item!r}")
    answer = model.recommender.similar(item, k=k)
    return Similar(item, scored(answer), service.source.name, model.version)


@post(
    "/events",
    status_code=202,
    summary="What users were shown and did",
    responses=REFUSALS,
    request_max_body_size=MAX_BODY,
)
async def happened(request: AnyRequest, data: JSONBody[Events]) -> Taken:
    """Impressions, clicks and purchases, each with the `version` that the answer named. `freqd online` compares versions by them."""
    _only(request, ())
    _from_a_program(request)
    log: EventLog | None = request.app.state.log
    if log is None:
        raise HTTPException("this service keeps no events", status_code=503)
    events = [
        Event(
            str(one.user),
            str(one.item),
            one.event,
            one.version,
            None if one.time is None else int(one.time * 1e6),
            one.position,
        )
        for one in data.events
    ]
    async with request.app.state.writing:
        try:
            await asyncio.to_thread(log.write, events)
        except OSError as error:
            raise HTTPException(f"the events were not kept: {error.strerror or error}", status_code=503) from error
    counted = _service(request).metrics.events
    for event in events:
        counted.labels(event.event).inc()
    return Taken(len(events))


@get("/health", summary="What is served")
async def health(request: AnyRequest) -> Health | Bare:
    """`status` is `ok`, or `degraded` while an older version answers in the place of a broken one."""
    service, trial = _service(request), request.app.state.trial
    if not request.scope.get("freqd_known", True):
        return Bare(service.status())
    found = service.health()
    if trial is not None and trial.service.model.version != service.model.version:
        found.challenger_version, found.challenger_share = trial.service.model.version, trial.share
    return found


@get("/metrics", media_type=MediaType.TEXT, summary="Metrics for Prometheus")
async def metrics(request: AnyRequest) -> Response[bytes]:
    """Requests by route and status, seconds by route, answers by source, the version that is served."""
    return Response(generate_latest(_service(request).metrics.registry), media_type=CONTENT_TYPE_LATEST)


@get("/", media_type=MediaType.HTML, include_in_schema=False)
async def how_to_ask(request: AnyRequest) -> Response[str]:
    """The schema as a page for people."""
    return Response(page(request.app.openapi_schema.to_schema()), media_type=MediaType.HTML)


@get("/try", media_type=MediaType.HTML, include_in_schema=False)
async def try_it(request: AnyRequest) -> Response[str]:
    """Swagger UI, to ask by a form."""
    return Response(TRY, media_type=MediaType.HTML, headers={"Content-Security-Policy": POLICY})


@get("/try/{name:str}", include_in_schema=False, sync_to_thread=True)
def try_it_with(name: Annotated[str, Parameter(description="Of a file of Swagger UI.")]) -> Response[bytes]:
    """A file of Swagger UI."""
    if name == "start.js":
        return Response(START.encode(), media_type="text/javascript")
    if name not in ASSETS:
        raise NotFoundException(f"there is no file {name!r}")
    return Response(asset(name), media_type="text/css" if name.endswith(".css") else "text/javascript")


class _WithExamples(JsonRenderPlugin):
    """The schema with examples of bodies."""

    def render(self, request: AnyRequest, openapi_schema: dict[str, Any]) -> bytes:
        """As JSON."""
        return super().render(request, with_examples(openapi_schema))


def _service(request: AnyRequest) -> Service:
    service: Service = request.app.state.service
    return service


def _together(model: str, answers: list[Recommendation]) -> Recommendations:
    versions = {answer.version for answer in answers}
    return Recommendations(model, versions.pop() if len(versions) == 1 else None, answers)


def _from_a_program(request: AnyRequest) -> None:
    """Refuse what a foreign page in somebody's browser sends: without a token it could report what it likes.

    Raises:
        HTTPException: it does.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise HTTPException("send the events as content-type application/json", status_code=400)
    origin, site = request.headers.get("origin"), request.headers.get("sec-fetch-site", "none")
    if site not in ("same-origin", "none") or origin not in (None, f"http://{request.headers.get('host', '')}"):
        raise HTTPException("another page may not report events", status_code=403)


def _service_for(request: AnyRequest, user: str | None) -> Service:
    """What answers a user: the champion, or the challenger on trial."""
    service, trial = _service(request), request.app.state.trial
    return trial.service if trial is not None and trial.takes(user, service.model.version) else service


def _own_id(request: AnyRequest, route: str) -> str:
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
async def _presence(request: AnyRequest) -> AsyncIterator[asyncio.Task[Any]]:
    """A task that is done when the client has gone; the body was read already, so nothing else can come."""
    gone = asyncio.ensure_future(request.receive())
    try:
        yield gone
    finally:
        gone.cancel()


def _only(request: AnyRequest, names: tuple[str, ...]) -> None:
    """Refuse query parameters that the route does not have: a misspelt one would silently do nothing."""
    for name in request.query_params:
        if name not in names:
            known = ", ".join(names) or "none"
            raise HTTPException(f"{name}: there is no such query parameter; there are: {known}", status_code=400)
