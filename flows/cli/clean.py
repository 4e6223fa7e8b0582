"""`freqd clean`: delete what a working directory can do without."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number
from rich.console import Console

from flows.cli.backfill import parse_days
from flows.cli.options import DONE, Workdir, workspace_of
from flows.cli.output import AsJson, say, say_json, say_table
from freqd.errors import InputError


def clean(
    *,
    keep: Annotated[int, Parameter(help="How many of the latest runs to keep.", validator=Number(gte=0))] = 10,
    older_than: Annotated[str, Parameter(help="Keep what is younger, for example 30d or 4w.")] = "30d",
    delete: Annotated[bool, Parameter(negative="", help="Delete it; without this it is only shown.")] = False,
    as_json: AsJson = False,
    workdir: Workdir = None,
) -> int:
    """Show, and with --delete remove, old runs with what only they need, and what killed processes left.

    What a registered version came from stays, and so do the results of compare, tune and cadence. What is removed can
    be computed again.
    """
    days = parse_days("--older-than", older_than)
    workspace = workspace_of(workdir)
    if not workspace.root.is_dir():
        raise InputError(f"there is no working directory {workspace.root}", "name it with --workdir")
    from tasks.runtime.environment import embed

    with workspace.opened():
        embed(workspace)
        from tasks.runtime import cleaning, embedded

        server = embedded.running()
        if server is not None:
            server.wait(lambda line: say(line, Console(stderr=True, highlight=False)))
        found = cleaning.plan(workspace, keep, days)
        if as_json:
            say_json({"found": dict(found.rows()), "bytes": found.bytes, "deleted": delete})
        else:
            say_table(("what", "number"), found.rows())
        size = f"{found.bytes / 1e6:,.1f} MB, and what MLflow and Prefect keep of them"
        if delete:
            cleaning.carry_out(workspace, found)
        if not as_json:
            say(f"{size}: deleted" if delete else f"{size}: nothing was deleted; `freqd clean --delete` does that")
    return DONE
