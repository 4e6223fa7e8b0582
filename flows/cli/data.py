"""`freqd data`: named data sets, and checks of the user's own files."""

from __future__ import annotations

from typing import Annotated

from cyclopts import App, Parameter
from rich.table import Table

from flows.cli.options import DONE, NO_PARTS, Config, DataOptions, Parts, Set, SettingsFrom, console, workspace_of
from freqd.errors import InputError

data_app = App(name="data", help="Named data sets, and checks of your own files.")


@data_app.command(name="list")
def data_list() -> int:
    """List the named data sets and whether they are on this machine."""
    from freqd.data.catalog import CATALOG, dataset_location

    workspace = workspace_of(None)
    columns = ("name", "users", "items", "interactions", "time", "available", "what it is")
    table = Table(*columns, box=None, padding=(0, 2, 0, 0))
    for name, entry in CATALOG.items():
        size = (f"{number:,}" for number in (entry.users, entry.items, entry.interactions))
        place = dataset_location(entry, workspace.data_dir, workspace.downloads)
        table.add_row(name, *size, "yes" if entry.time else "no", place, entry.title)
    console.print(table)
    console.print("A mirror of these data sets is used first if FREQD_DATA_DIR names its folder.")
    return DONE


@data_app.command(name="info")
def data_info(name: Annotated[str, Parameter(help="A named data set.")]) -> int:
    """Say what a named data set is, whose it is, and under which terms."""
    from freqd.data.catalog import CATALOG

    if name not in CATALOG:
        raise InputError(f"there is no data set {name!r}", f"data sets are: {', '.join(CATALOG)}")
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    for label, value in CATALOG[name].as_dict().items():
        shown = (
            "\n".join(map(str, value))
            if isinstance(value, list)
            else f"{value:,}"
            if type(value) is int
            else str(value)
        )
        table.add_row(label, shown)
    console.print(table)
    return DONE


@data_app.command(name="check")
def data_check(
    *sources: Annotated[str, Parameter(help="A named data set, or CSV, TSV or Parquet files.")],
    config: Config = None,
    parts: Parts = NO_PARTS,
    set_: Set = None,
) -> int:
    """Check data as a run would, and write nothing: columns, what would be dropped and why, the split."""
    from freqd import data as library
    from tasks.runtime.resources import free_memory

    settings = SettingsFrom(config, set_=set_).read(DataOptions(list(sources) or None, parts))
    workspace = workspace_of(None)
    found = library.check(settings.data, workspace.places, seed=settings.seed, memory=free_memory())
    if not found.ok:
        raise InputError(found.problem, found.remedy)
    table = Table("check", "rows", "note", box=None, padding=(0, 2, 0, 0))
    for row in found.table():
        table.add_row(row.check, "" if row.rows is None else f"{row.rows:,}", row.note)
    console.print(table)
    return DONE
