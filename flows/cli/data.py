"""`freqd data`: named data sets, and checks of the user's own files."""

from __future__ import annotations

from typing import Annotated

from cyclopts import App, Parameter

from flows.cli.options import DONE, NO_PARTS, Config, DataOptions, Parts, Set, SettingsFrom, workspace_of
from flows.cli.output import AsJson, say, say_facts, say_json, say_records, say_table
from freqd.errors import InputError

data_app = App(name="data", help="Named data sets, and checks of your own files.")


@data_app.command(name="list")
def data_list(*, as_json: AsJson = False) -> int:
    """List the named data sets and whether they are on this machine."""
    from freqd.data.catalog import CATALOG, dataset_location

    workspace = workspace_of(None)
    columns = ("name", "users", "items", "interactions", "time", "available", "what it is")
    rows = [
        (
            name,
            entry.users,
            entry.items,
            entry.interactions,
            entry.time,
            dataset_location(entry, workspace.data_dir, workspace.downloads),
            entry.title,
        )
        for name, entry in CATALOG.items()
    ]
    if as_json:
        say_records(columns, rows)
        return DONE
    say_table(columns, [(*row[:4], "yes" if row[4] else "no", *row[5:]) for row in rows], optional=(5, 4))
    say("A mirror of these data sets is used first if FREQD_DATA_DIR names its folder.")
    return DONE


@data_app.command(name="info")
def data_info(name: Annotated[str, Parameter(help="A named data set.")], *, as_json: AsJson = False) -> int:
    """Say what a named data set is, whose it is, and under which terms."""
    from freqd.data.catalog import CATALOG

    if name not in CATALOG:
        raise InputError(f"there is no data set {name!r}", f"data sets are: {', '.join(CATALOG)}")
    facts = CATALOG[name].as_dict()
    if as_json:
        say_json(facts)
        return DONE
    say_facts(
        (label, "\n".join(map(str, value)) if isinstance(value, list) else value) for label, value in facts.items()
    )
    return DONE


@data_app.command(name="check")
def data_check(
    *sources: Annotated[str, Parameter(help="A named data set, or CSV, TSV or Parquet files.")],
    config: Config = None,
    parts: Parts = NO_PARTS,
    set_: Set = None,
    as_json: AsJson = False,
) -> int:
    """Check data as a run would, and write nothing: columns, what would be dropped and why, the split."""
    from freqd import data as library
    from tasks.runtime.resources import free_memory

    settings = SettingsFrom(config, set_=set_).read(DataOptions(list(sources) or None, parts))
    workspace = workspace_of(None)
    found = library.check(settings.data, workspace.places, seed=settings.seed, memory=free_memory())
    if not found.ok:
        raise InputError(found.problem, found.remedy)
    if as_json:
        say_json([row._asdict() for row in found.table()])
    else:
        say_table(("check", "rows", "note"), found.table())
    return DONE
