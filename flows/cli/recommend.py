"""`freqd recommend`: the best items of all users in one file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from flows.cli.model_options import CHAMPION, INDEX, Index, WhichModel
from flows.cli.options import DONE, check_file, console, workspace_of
from freqd.errors import InputError

MOST = 10_000
"""Items a user that `freqd recommend` writes at the most."""
K = Annotated[int, Parameter(help=f"Items a user, at most {MOST:,}.", validator=Number(gte=1, lte=MOST))]


def recommend(
    *,
    out: Annotated[Path, Parameter(help="Parquet file to write.")],
    k: K = 20,
    include_seen: Annotated[bool, Parameter(negative="", help="Also what a user already has.")] = False,
    which: WhichModel = CHAMPION,
    index: Index = INDEX,
    ray: Annotated[str | None, Parameter(help="On the nodes of the cluster of Ray at HOST:PORT.")] = None,
) -> int:
    """Write the best items of all users to one Parquet file: user, rank, item, score, source."""
    out = out.expanduser()
    if out.suffix != ".parquet":
        raise InputError(f"{out} does not end in .parquet", "name a Parquet file with --out")
    if out.is_dir():
        raise InputError(f"{out} is a folder", "name a Parquet file with --out")
    check_file("--out", out)
    index_config = index.config()
    registered = which.find()
    from rich.progress import Progress

    from freqd.config import EngineConfig
    from freqd.serve.batch import write_recommendations
    from tasks.runtime.engine import blocks_on
    from tasks.runtime.engine import engine as on_engine

    version, recommender = registered.open()
    if found := recommender.index.put_into_cells(index_config):
        console.print(f"{len(recommender.item_ids):,} items: {found}", markup=False, soft_wrap=True)
    engine = EngineConfig() if ray is None else EngineConfig(kind="ray", address=ray)
    with on_engine(engine, workspace_of(which.workdir)), Progress(console=console, transient=True) as bar:
        line = bar.add_task("recommend", total=1.0)
        rows = write_recommendations(
            recommender,
            out,
            k=k,
            exclude_seen=not include_seen,
            engine=blocks_on(engine),
            progress=lambda done, text: bar.update(line, completed=done, description=text),
        )
    text = f"{rows:,} rows for {len(recommender.user_ids):,} users by {registered.name} version {version}: {out}"
    console.print(text, markup=False, soft_wrap=True)
    return DONE
