"""`freqd recommend`: the best items of all users in one file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from flows.cli.model_options import CHAMPION, INDEX, Index, WhichModel
from flows.cli.options import DONE, check_file, workspace_of
from flows.cli.output import console, say
from freqd.errors import InputError

MOST = 10_000
"""Items a user that `freqd recommend` writes at the most."""
K = Annotated[int, Parameter(help=f"Items a user, at most {MOST:,}.", validator=Number(gte=1, lte=MOST))]


def recommend(
    *,
    out: Annotated[Path, Parameter(help="Parquet file to write.")],
    k: K = 20,
    users: Annotated[
        str | None, Parameter(help="CSV, TSV or Parquet file with a column of users: only for those [all users].")
    ] = None,
    include_seen: Annotated[bool, Parameter(negative="", help="Also what a user already has.")] = False,
    which: WhichModel = CHAMPION,
    index: Index = INDEX,
    ray: Annotated[str | None, Parameter(help="On the nodes of the cluster of Ray at HOST:PORT.")] = None,
) -> int:
    """Write the best items of all users, or of some, to one Parquet file: user, rank, item, score, source."""
    out = out.expanduser()
    if out.suffix != ".parquet":
        raise InputError(f"{out} does not end in .parquet", "name a Parquet file with --out")
    if out.is_dir():
        raise InputError(f"{out} is a folder", "name a Parquet file with --out")
    check_file("--out", out)
    index_config = index.config()
    registered = which.find()
    import polars as pl
    from rich.progress import Progress

    from freqd.config import EngineConfig
    from freqd.data.user_list import read_users
    from freqd.serve.batch import write_recommendations
    from tasks.runtime.engine import blocks_on
    from tasks.runtime.engine import engine as on_engine

    version, recommender = registered.open()
    chosen = None if users is None else read_users(users, recommender.user_ids.cast(pl.String))
    if chosen is not None and len(chosen.unknown):
        first = ", ".join(repr(name) for name in chosen.unknown.head(3))
        text = f"{len(chosen.unknown):,} users of {users} are not known to the model and are left out, such as {first}"
        say(text)
    if found := recommender.index.put_into_cells(index_config):
        say(f"{len(recommender.item_ids):,} items: {found}")
    engine = EngineConfig() if ray is None else EngineConfig(kind="ray", address=ray)
    with on_engine(engine, workspace_of(which.workdir)), Progress(console=console, transient=True) as bar:
        line = bar.add_task("recommend", total=1.0)
        rows = write_recommendations(
            recommender,
            out,
            k=k,
            exclude_seen=not include_seen,
            users=None if chosen is None else chosen.rows,
            engine=blocks_on(engine),
            progress=lambda done, text: bar.update(line, completed=done, description=text),
        )
    count = len(recommender.user_ids) if chosen is None else len(chosen.rows)
    text = f"{rows:,} rows for {count:,} users by {registered.name} version {version}: {out}"
    say(text)
    return DONE
