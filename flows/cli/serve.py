"""`freqd serve`: a registered model, or one of a run, over HTTP."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from flows.cli.model_options import CHAMPION, INDEX, Index, ModelName, WhichModel
from flows.cli.options import DONE, find_run, workspace_of
from flows.cli.output import say
from freqd.errors import InputError

if TYPE_CHECKING:
    from litestar import Litestar

    from freqd.config import IndexConfig
    from freqd.feedback import EventLog
    from freqd.serve.http.limits import Access
    from freqd.serve.http.service import Service, Trial
    from tasks.mlops.champion import Registered
    from tasks.mlops.model_source import OfRun

BACKLOG = 2048
"""Connections that may wait to be accepted."""

LOOPBACK = ("127.0.0.1", "localhost", "::1")
TOKEN = "FREQD_SERVE_TOKEN"
KEEP_ALIVE_SECONDS = 75
"""Longer than a reverse proxy keeps an idle connection (nginx: 60 s), so that it never sends into a closed one."""


@Parameter(name="*")
@dataclass(frozen=True)
class Listening:
    """Where the service listens, and who may ask."""

    host: Annotated[
        str, Parameter(help="Address to listen on; one that others can reach requires a token, see --token-file.")
    ] = "127.0.0.1"
    port: Annotated[
        int, Parameter(help="Port to listen on; 0 takes a free one.", validator=Number(gte=0, lte=65535))
    ] = 8080
    token_file: Annotated[
        Path | None,
        Parameter(
            help="File with a token that every request must send [the variable FREQD_SERVE_TOKEN; on 127.0.0.1 none]."
        ),
    ] = None
    allow_host: Annotated[
        list[str] | None,
        Parameter(
            consume_multiple=True, help="Further names by which the service may be asked, of a proxy for example."
        ),
    ] = None


LISTENING = Listening()


@Parameter(name="*")
@dataclass(frozen=True)
class Served:
    """A model of a run, in place of a registered one."""

    from_: Annotated[
        str | None,
        Parameter(name="--from", help="Serve a model of this run, not a registered one; 'last': the latest."),
    ] = None
    model: Annotated[ModelName | None, Parameter(help="With --from: which of the run's models [student].")] = None


SERVED = Served()


@Parameter(name="*")
@dataclass(frozen=True)
class Feedback:
    """What users do, and a challenger for some of them."""

    challenger: Annotated[
        str | None, Parameter(help="Version that answers a share of the users in the champion's place, as a trial.")
    ] = None
    challenger_share: Annotated[
        float,
        Parameter(
            help="That share of the users; always the same ones for one version.",
            validator=Number(gte=0.0, lte=0.5),
        ),
    ] = 0.0
    events_mb: Annotated[
        int,
        Parameter(
            help="Disk for what POST /events keeps, in MB; the oldest make room. 0: keep none.", validator=Number(gte=0)
        ),
    ] = 1000


FEEDBACK = Feedback()


def serve(
    *,
    which: WhichModel = CHAMPION,
    listening: Listening = LISTENING,
    poll: Annotated[float, Parameter(help="Seconds between two looks at the alias.", validator=Number(gte=0.1))] = 3.0,
    index: Index = INDEX,
    of_run: Served = SERVED,
    feedback: Feedback = FEEDBACK,
) -> int:
    """Answer over HTTP with the registered model that an alias points at, and follow the alias as it moves.

    A newly promoted version takes over without a dropped request; a broken one is reported and not served. With
    --from and --model a run's teacher can be served next to its student, to see what compression buys. What users do, sent
    to POST /events, is kept in the working directory; `freqd online` compares versions by it.
    """
    host = listening.host
    access = _access(host, listening.token_file, listening.allow_host or ())
    bound = _listen(host, listening.port)
    try:
        index_config = index.config()
        source = _source(of_run, which)
        from freqd.serve.http.app import create_app

        service = _open(source, index_config, poll, f"http://{host}:{bound.getsockname()[1]}")
        trial = _trial(service, source, feedback)
        _answer(create_app(service, access, trial=trial, log=_log(which, source, feedback.events_mb)), bound)
    finally:
        bound.close()
    return DONE


def _open(source: Registered | OfRun, index: IndexConfig, poll: float, address: str) -> Service:
    """The service of a model that is ready to answer; says what it is and where to ask."""
    from freqd.serve.http.service import Model, Service, warm_up

    version, recommender = source.open()
    answers = warm_up(recommender, index)
    named = (
        f"{version} of run {source.name}"
        if source.alias is None
        else f"{source.name} version {version} ({source.alias})"
    )
    _say(f"{named}: {address}")
    _say(f"{len(recommender.item_ids):,} items, dimension {recommender.features.dim}: {answers}")
    _say(f"how to ask: {address}/   stop: Ctrl-C")
    return Service(source, Model(version, recommender), poll, index, _say)


def _trial(service: Service, source: Registered | OfRun, feedback: Feedback) -> Trial | None:
    """The challenger for a share of the users: a version that somebody named, and that stays the same until the service ends.

    Raises:
        InputError: what is served has no challenger, or only one of the two options is given.
    """
    if not feedback.challenger_share and feedback.challenger is None:
        return None
    from freqd.serve.http.service import Model, Service, Trial, warm_up
    from tasks.mlops import registry
    from tasks.mlops.champion import Registered

    if not isinstance(source, Registered):
        raise InputError("--challenger-share needs a champion beside whom a challenger is served", "leave out --from")
    if not feedback.challenger_share or feedback.challenger is None:
        raise InputError(
            "a trial needs a version and a share of the users",
            "for example --challenger 7 --challenger-share 0.1; see `freqd models list`",
        )
    entry = registry.find(source.name, feedback.challenger)
    version = str(entry.version)
    try:
        recommender = registry.load(source.name, version)
    except registry.BrokenModelError as error:
        raise InputError(f"the challenger is broken: {error}", "name another version with --challenger") from error
    warm_up(recommender, service.index)
    said = entry.tags.get("freqd.verdict", "not judged")
    _say(
        f"challenger: version {version} ({said}), for {feedback.challenger_share:.0%} of the users, until this service is stopped"
    )
    beside = Service(source, Model(version, recommender), index=service.index, metrics=service.metrics, leads=False)
    return Trial(beside, feedback.challenger_share)


def _log(which: WhichModel, source: Registered | OfRun, megabytes: int) -> EventLog | None:
    """Where events are kept; None if they are not."""
    if not megabytes:
        return None
    from freqd.feedback import EventLog

    return EventLog(workspace_of(which.workdir).events_of(source.name), source.name, megabytes * 10**6)


def _answer(app: Litestar, listening: socket.socket) -> None:
    """Answer until somebody stops the process."""
    import uvicorn

    from freqd.serve.http.limits import TimeoutProtocol
    from tasks.runtime import stopping

    config = uvicorn.Config(
        app,
        http=TimeoutProtocol,
        log_level="warning",
        access_log=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=10,
    )
    stopping.release()
    try:
        uvicorn.Server(config).run(sockets=[listening])
    except KeyboardInterrupt:
        say("stopped")


def _say(text: str) -> None:
    say(text)


def _source(of_run: Served, which: WhichModel) -> Registered | OfRun:
    """What is served: a registered model, or one of a run."""
    run, model = of_run.from_, of_run.model
    if run is None:
        if model is not None:
            raise InputError(f"--model {model} is a model of a run, and no run is named", "name it with --from")
        return which.find()
    if which.name is not None or which.alias != CHAMPION.alias:
        raise InputError("--from names a run, --name and --alias a registered model", "leave out one of them")
    workspace, folder = find_run(which.workdir, run)
    from freqd.report.run_result import RunResult
    from tasks.mlops.model_source import OfRun

    return OfRun(workspace, RunResult.load(folder / "summary.json"), model or "student")


def _access(host: str, token_file: Path | None, names: Sequence[str]) -> Access:
    """Who may ask.

    Raises:
        InputError: others can reach the address and there is no token, or the token is too short.
    """
    from freqd.serve.http.limits import Access

    loopback = host in LOOPBACK
    try:
        token = (
            token_file.expanduser().read_text().strip() if token_file is not None else os.environ.get(TOKEN, "").strip()
        )
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"--token-file {token_file} cannot be read: {error}", "name a file with one line") from error
    if not token and not loopback:
        raise InputError(
            f"{host} can be reached by others, and there is no token that a request must send",
            f"make one (openssl rand -hex 24 > serve.token; chmod 600 serve.token), and give --token-file or set {TOKEN}",
        )
    if token and (len(token) < 16 or not token.isascii() or not token.isprintable() or " " in token):
        raise InputError(
            "the token is shorter than 16 characters or has others than plain ones", "openssl rand -hex 24 makes one"
        )
    return Access(token or None, frozenset({*LOOPBACK, "[::1]", *map(str.lower, names)}) if loopback else None)


def _listen(host: str, port: int) -> socket.socket:
    """A bound socket.

    Raises:
        InputError: the address is not available, most often because the port is taken.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # the protocol is named: asyncio sends small packets without delay only where it knows that the socket is TCP
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(BACKLOG)
    except OSError as error:
        listening.close()
        raise InputError(
            f"cannot listen on {host} port {port}: {error.strerror or error}",
            "name another port with --port, or another address of this machine with --host",
        ) from error
    return listening
