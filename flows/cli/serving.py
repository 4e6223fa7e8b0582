"""`freqd serve`, `freqd recommend`, `freqd export`, `freqd explain`: what a registered model or a run answers."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter
from cyclopts.validators import Number

from flows.cli.options import DONE, Workdir, check_file, console, find_run, workspace_of
from freqd.errors import InputError
from freqd.pseudonym import pseudonym, shape

if TYPE_CHECKING:
    from freqd.report.results import RunResult

Name = Annotated[str | None, Parameter(help="Registered model [the only one with the alias].")]
Alias = Annotated[str, Parameter(help="Which of its versions: the one with this alias.")]
MOST = 10_000
"""Items a user that `freqd recommend` writes at the most."""
K = Annotated[int, Parameter(help=f"Items a user, at most {MOST:,}.", validator=Number(gte=1, lte=MOST))]
ModelName = Literal["student", "teacher", "scratch", "svd"]

IndexKind = Literal["auto", "exact", "faiss"]

BACKLOG = 2048
"""Connections that may wait to be accepted."""

LOOPBACK = ("127.0.0.1", "localhost", "::1")
TOKEN = "FREQD_SERVE_TOKEN"
KEEP_ALIVE_SECONDS = 75
"""Longer than a reverse proxy keeps an idle connection (nginx: 60 s), so that it never sends into a closed one."""


def serve(
    *,
    alias: Alias = "champion",
    name: Name = None,
    host: Annotated[
        str, Parameter(help="Address to listen on; one that others can reach asks for a token, see --token-file.")
    ] = "127.0.0.1",
    port: Annotated[
        int, Parameter(help="Port to listen on; 0 takes a free one.", validator=Number(gte=0, lte=65535))
    ] = 8080,
    poll: Annotated[float, Parameter(help="Seconds between two looks at the alias.", validator=Number(gte=0.1))] = 3.0,
    index: Annotated[
        IndexKind, Parameter(help="exact: score all items; faiss: an approximate index; auto: one for very many items.")
    ] = "auto",
    index_from: Annotated[int, Parameter(help="Items from which on 'auto' takes an index.")] = 1_000_000,
    index_recall: Annotated[float, Parameter(help="Share of the exact top 20 that an index has to find.")] = 0.98,
    token_file: Annotated[
        Path | None,
        Parameter(
            help="File with a token that every request has to bring [the variable FREQD_SERVE_TOKEN; on 127.0.0.1 none]."
        ),
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        Parameter(
            consume_multiple=True, help="Further names by which the service may be asked, of a proxy for example."
        ),
    ] = None,
    from_: Annotated[
        str | None,
        Parameter(name="--from", help="Serve a model of this run, not a registered one; 'last': the latest."),
    ] = None,
    model: Annotated[ModelName | None, Parameter(help="With --from: which of the run's models [student].")] = None,
    workdir: Workdir = None,
) -> int:
    """Answer over HTTP with the registered model that an alias points at, and follow the alias as it moves.

    A newly promoted version takes over without a dropped request; a broken one is reported and not served. With
    --from and --model a run's teacher can be served beside its student, to see what compression buys.
    """
    access = _access(host, token_file, allow_host or ())
    listening = _listen(host, port)
    try:
        index_config = _index(index, index_from, index_recall)
        source = _source(from_, model, name, alias, workdir)
        import uvicorn

        from flows.server import Model, Service, build, impatient, prepare
        from freqd.evaluate.ranking import blas_threads

        version, bundle = source.open()
        blas_threads().limit(limits=1, user_api="blas")  # a request is too short for a second core
        answers = prepare(bundle, index_config)

        def say(text: str) -> None:
            console.print(text, markup=False, soft_wrap=True)

        app = build(Service(source, Model(version, bundle), poll, index_config, say), access)
        address = f"http://{host}:{listening.getsockname()[1]}"
        what = f"{source.name} version {version} ({alias})" if from_ is None else f"{version} of run {source.name}"
        say(f"{what}: {address}")
        say(f"{len(bundle.item_ids):,} items, {bundle.features.dim} numbers each: {answers}")
        say(f"how to ask: {address}/   stop: Ctrl-C")
        config = uvicorn.Config(
            app,
            http=impatient(),
            log_level="warning",
            access_log=False,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=10,
        )
        from tasks.runtime import stopping

        stopping.release()
        try:
            uvicorn.Server(config).run(sockets=[listening])
        except KeyboardInterrupt:
            console.print("stopped")
    finally:
        listening.close()
    return DONE


def recommend(
    *,
    out: Annotated[Path, Parameter(help="Parquet file to write.")],
    k: K = 20,
    include_seen: Annotated[bool, Parameter(negative="", help="Also what a user has met already.")] = False,
    alias: Alias = "champion",
    name: Name = None,
    workdir: Workdir = None,
) -> int:
    """Write the best items of all users to one Parquet file: user, rank, item, score, source."""
    out = out.expanduser()
    if out.suffix != ".parquet":
        raise InputError(f"{out} does not end in .parquet", "name a Parquet file with --out")
    if out.is_dir():
        raise InputError(f"{out} is a folder", "name a Parquet file with --out")
    check_file("--out", out)
    registered = _registered(name, alias, workdir)
    from rich.progress import Progress

    from freqd.serve.batch import write_recommendations

    version, bundle = registered.open()
    with Progress(console=console, transient=True) as bar:
        line = bar.add_task("recommend", total=1.0)
        rows = write_recommendations(
            bundle,
            out,
            k=k,
            exclude_seen=not include_seen,
            progress=lambda done, text: bar.update(line, completed=done, description=text),
        )
    text = f"{rows:,} rows for {len(bundle.user_ids):,} users by {registered.name} version {version}: {out}"
    console.print(text, markup=False, soft_wrap=True)
    return DONE


def export(
    *,
    out: Annotated[Path, Parameter(help="File ending in .safetensors or .npz, or a folder for Parquet files.")],
    alias: Alias = "champion",
    name: Name = None,
    workdir: Workdir = None,
) -> int:
    """Write a registered model's features with their ids, for other systems."""
    from freqd.serve import export_features
    from freqd.serve.export import check_target, form_of

    out = out.expanduser()
    form = form_of(out)
    check_target(out, form)
    registered = _registered(name, alias, workdir)
    version, bundle = registered.open()
    export_features(bundle.features, bundle.user_ids, bundle.item_ids, out, form)
    text = (
        f"{len(bundle.user_ids):,} users and {len(bundle.item_ids):,} items, {bundle.features.dim} numbers each, "
        f"of {registered.name} version {version}: {out}"
    )
    console.print(text, markup=False, soft_wrap=True)
    return DONE


def explain(
    user: Annotated[str, Parameter(name="USER", help="The user's own id.")],
    item: Annotated[str, Parameter(name="ITEM", help="The item's own id.")],
    *,
    from_: Annotated[str, Parameter(name="--from", help="The run to look into; 'last' is the latest.")] = "last",
    model: Annotated[ModelName, Parameter(help="Which of the run's models.")] = "student",
    top: Annotated[int, Parameter(help="Neighbours to list a side.", validator=Number(gte=0))] = 5,
    show_ids: Annotated[
        bool, Parameter(name="--show-ids", negative="", help="Name users by their own ids, not by pseudonyms.")
    ] = False,
    as_json: Annotated[bool, Parameter(name="--json", negative="", help="As JSON.")] = False,
    workdir: Workdir = None,
) -> int:
    """Split the score of an item for a user by graph frequency, and name the neighbours that carried it.

    Users are named by pseudonyms, so that an explanation may be passed on.
    """
    workspace, folder = find_run(workdir, from_)
    from freqd.report.results import RunResult

    found = _explain(workspace, RunResult.load(folder / "summary.json"), folder.name, model, user, item, top)
    if not show_ids:
        salt = workspace.salt
        found["user"] = pseudonym(salt, user)
        for entry in found["by_user_graph"]["neighbours"]:
            entry["id"] = pseudonym(salt, entry["id"])
    if as_json:
        print(json.dumps(found, indent=1))
    else:
        _show(found)
    return DONE


def _index(kind: IndexKind, min_items: int, recall: float) -> Any:
    """The settings of the index, and faiss if it was asked for."""
    from pydantic import ValidationError

    from freqd.config import IndexConfig
    from freqd.serve.faiss_index import require_installed

    try:
        config = IndexConfig(kind=kind, min_items=min_items, recall=recall)
    except ValidationError as error:
        first = error.errors()[0]
        option = {"min_items": "--index-from", "recall": "--index-recall"}[str(first["loc"][0])]
        raise InputError(f"{option} {first['input']}: {first['msg']}", "see `freqd serve --help`") from error
    if kind == "faiss":
        require_installed()
    return config


def _source(run: str | None, model: ModelName | None, name: str | None, alias: str, workdir: Path | None) -> Any:
    """What is served: a registered model, or one of a run."""
    if run is None:
        if model is not None:
            raise InputError(f"--model {model} is a model of a run, and no run is named", "name it with --from")
        return _registered(name, alias, workdir)
    if name is not None or alias != "champion":
        raise InputError("--from names a run, --name and --alias a registered model", "leave out one of them")
    workspace, folder = find_run(workdir, run)
    from freqd.report.results import RunResult
    from tasks.mlops.model_source import OfRun

    return OfRun(workspace, RunResult.load(folder / "summary.json"), model or "student")


def _registered(name: str | None, alias: str, workdir: Path | None) -> Any:
    from tasks.mlops import champion

    champion.use_registry(workspace_of(workdir))
    return champion.Registered.find(name, alias)


def _access(host: str, token_file: Path | None, names: Sequence[str]) -> Any:
    """Who may ask.

    Raises:
        InputError: others can reach the address and there is no token, or the token is too short.
    """
    from flows.server import Access

    loopback = host in LOOPBACK
    try:
        token = (
            token_file.expanduser().read_text().strip() if token_file is not None else os.environ.get(TOKEN, "").strip()
        )
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"--token-file {token_file} cannot be read: {error}", "name a file with one line") from error
    if not token and not loopback:
        raise InputError(
            f"{host} can be reached by others, and there is no token that a request has to bring",
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
        InputError: the address cannot be had, most often because the port is taken.
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


def _explain(
    workspace: Any, result: RunResult, run: str, model: ModelName, user: str, item: str, top: int
) -> dict[str, Any]:
    """The explanation as plain values, with own ids in the place of rows."""
    from freqd.config.load import build
    from freqd.data.interactions import Split
    from freqd.embeddings import TrainedModel
    from freqd.graph import Graphs
    from freqd.serve.explain import Side, explain, total
    from freqd.spectral import Spectrum
    from tasks.mlops.model_source import WHERE, artifact

    split = artifact(workspace, result, "ingest.split", Split)
    config = build([result.config])
    rows: dict[str, Any] = {}
    sides = (("user", split.user_ids, user, split.item_ids), ("item", split.item_ids, item, split.user_ids))
    for what, ids, asked, others in sides:
        rows[what] = ids.cast(str).index_of(asked)
        if rows[what] is None:
            told, known = (shape if what == "user" else str), ids.cast(str)
            like = ", ".join(dict.fromkeys(told(value) for value in known[:3]))
            turned = asked in others.cast(str)
            named = (
                f"item {asked!r}"
                if what == "item" and not turned
                else f"{what} with this id, built like {shape(asked)!r}"
            )
            order = "; USER comes first, then ITEM" if turned else ""
            raise InputError(f"run {run} has no {named}", f"its {what}s' ids are like: {like}{order}")
    seen = split.train.matrix()
    found = explain(
        artifact(workspace, result, WHERE[model], TrainedModel).features,
        artifact(workspace, result, "graph.graphs", Graphs),
        artifact(workspace, result, "spectrum.spectrum", Spectrum).edges,
        config.spectral,
        rows["user"],
        rows["item"],
        seen=seen,
        top=top,
    )

    def side(view: Side, ids: Any) -> dict[str, Any]:
        return {
            "bands": view.bands.tolist(),
            **{kind: total(view, found.taste, kind) for kind in ("shared", "middle", "niche")},
            "neighbours": [{"id": str(ids[n.row]), "share": n.share, "score": n.score, "met": n.met} for n in view.neighbours],
        }  # fmt: skip

    return {
        "run": run,
        "model": model,
        "user": user,
        "item": item,
        "score": found.score,
        "met_in_training": found.seen,
        "edges": found.edges.tolist(),
        "taste": found.taste,
        "by_user_graph": side(found.user, split.user_ids),
        "by_item_graph": side(found.item, split.item_ids),
        "by_both": found.both.tolist(),
    }


def _show(found: dict[str, Any]) -> None:
    from rich.table import Table

    title = f"{found['model']} of run {found['run']}: user {found['user']}, item {found['item']}, score {found['score']:.4f}"
    console.print(title + (" (met in training)" if found["met_in_training"] else ""), markup=False, soft_wrap=True)
    columns = ("frequency", "taste", "by the user graph", "by the item graph")
    table = Table(*columns, box=None, padding=(0, 2, 0, 0))
    views = found["by_user_graph"], found["by_item_graph"]
    for band, kind in enumerate(found["taste"]):
        parts = (f"{view['bands'][band]:+.4f}" for view in views)
        table.add_row(f"{found['edges'][band]:.3f} to {found['edges'][band + 1]:.3f}", kind, *parts)
    table.add_row("sum", "", *(f"{sum(view['bands']):+.4f}" for view in views))
    console.print(table)
    console.print("shared: where neighbours agree; niche: where they differ.")
    for what, view, met in (
        ("Items", views[1], "the user has met it"),
        ("Users", views[0], "has met the item"),
    ):
        console.print(f"{what} that carried the shared part:" + ("" if view["neighbours"] else " none"))
        for entry in view["neighbours"]:
            line = f"  {entry['share']:+.4f}  {entry['id']}{f'  ({met})' if entry['met'] else ''}"
            console.print(line, markup=False, soft_wrap=True)
