"""`freqd init`: a settings file for the user's own data, after a look at them."""

from __future__ import annotations

import json
import os
import shlex
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from flows.cli.options import DONE, NO_PARTS, DataOptions, Parts, Set, SettingsFrom, check_file, workspace_of
from flows.cli.output import say, say_table
from freqd.errors import InputError

if TYPE_CHECKING:
    from freqd.config import DataConfig
    from freqd.data.info import SplitInfo

LOST = 0.3
"""Share of the pairs that the k-core may drop before a smaller one is looked at."""
SMALL_CORE = 2
CORES_TIMED = 2
SECONDS, SECONDS_A_PAIR, SECONDS_A_SCORE = 30.0, 8e-5, 5.5e-7
"""Of a run with the defaults on two cores: at least, for each interaction, for each user and item; from the runs in docs/results.md."""
OFFERED = (
    "distill.dim",
    "teacher.kind",
    "teacher.factors",
    "budget_minutes",
    "registry.model_name",
    "registry.margin",
    "registry.approval",
    "registry.refit",
    "report.samples",
    "engine.workers",
)
"""Settings that the file names with their defaults, as comments."""


def init(
    *sources: Annotated[str, Parameter(help="CSV, TSV or Parquet files with a row an interaction.")],
    items: Annotated[
        Path | None, Parameter(help="File with a title, and perhaps a category, of each item; for the report.")
    ] = None,
    out: Annotated[Path, Parameter(help="File to write; it must not be there yet.")] = Path("freqd.toml"),
    parts: Parts = NO_PARTS,
    set_: Set = None,
) -> int:
    """Look at your data and write a commented settings file for them.

    Shows what freqd reads, drops and keeps, and proposes a split, the least interactions of a user or item, and how long a run will take.
    """
    if not sources and parts == NO_PARTS:
        raise InputError("`freqd init` needs files", "name one or more, for example freqd init purchases.csv")
    out = out.expanduser()
    if out.exists():
        raise InputError(f"{out} is there already", "name another file with --out, or move that one away")
    check_file("--out", out)
    more = [] if items is None else [f"data.items={items}"]
    settings = SettingsFrom(set_=[*(set_ or ()), *more]).read(DataOptions(list(sources) or None, parts)).data
    from freqd.storage.files import storage_error, write_atomic

    if settings.items is not None:
        from freqd.data.item_table import read_items

        read_items(settings)
    info, core = _looked_at(settings)
    text = _file(settings, info, core)
    try:
        write_atomic(out, text)
    except OSError as error:
        raise storage_error(error, out.parent) from error
    say()
    say(f"A run with the defaults will take {_duration(info)} on the {os.cpu_count()} cores of this machine: a guess.")
    say(f"Settings: {out}. Next: freqd run --config {shlex.quote(str(out))}")
    return DONE


def _looked_at(settings: DataConfig) -> tuple[SplitInfo, int | None]:
    """What the data are, shown; and the least interactions that the file should ask for, if not the default."""
    info = _checked(settings)
    core = None
    lost = sum(row.rows for row in info.dropped if row.reason.startswith("user with fewer"))
    whole = settings.min_user_interactions or settings.min_item_interactions
    if whole is None and lost > LOST * (lost + info.kept.interactions):
        update = {"min_user_interactions": SMALL_CORE, "min_item_interactions": SMALL_CORE}
        smaller = _checked(settings.model_copy(update=update))
        say(
            f"Users with fewer than 5 items and items with fewer than 5 users hold {lost:,} of the interactions. With {SMALL_CORE} in "
            f"place of 5 {smaller.kept.interactions:,} are kept instead of {info.kept.interactions:,}; the file asks for that."
        )
        info, core = smaller, SMALL_CORE
    from freqd.data.quality import QualityReport

    say_table(("check", "rows", "note"), QualityReport(info).table())
    return info, core


def _checked(settings: DataConfig) -> SplitInfo:
    from freqd import data as library
    from tasks.runtime.resources import free_memory

    found = library.check(settings, workspace_of(None).places, memory=free_memory())
    if found.info is None:
        raise InputError(found.problem, found.remedy)
    return found.info


def _duration(info: SplitInfo) -> str:
    kept = info.kept
    seconds = SECONDS + SECONDS_A_PAIR * kept.interactions + SECONDS_A_SCORE * kept.users * kept.items
    seconds *= CORES_TIMED / max(CORES_TIMED, os.cpu_count() or 1)
    if seconds < 90:
        return "a minute or two"
    minutes = seconds / 60
    return f"some {minutes:.0f} minutes" if minutes < 90 else f"some {minutes / 60:.0f} hours"


def _file(settings: DataConfig, info: SplitInfo, core: int | None) -> str:
    """The settings file."""
    from freqd.config import RunConfig, describe

    meaning = {name: (default, text) for name, _, default, text in describe(RunConfig)}
    kept = info.kept
    lines = [
        f"# {kept.interactions:,} interactions of {kept.users:,} users with {kept.items:,} items are used. All settings: freqd settings",
        "",
        *(line for name in OFFERED if "." not in name for line in _offer(name, *meaning[name])),
        "",
        "[data]",
    ]
    given = settings.model_dump(exclude_unset=True, mode="json")
    columns = given.pop("columns", {}) | {role: name or "none" for role, name in info.columns.items()}
    for name, value in given.items():
        if value is not None:
            lines += [*_comment(meaning[f"data.{name}"][1]), f"{name} = {_toml(value)}"]
    if core is not None:
        lines += [*_comment(meaning["data.min_user_interactions"][1]), f"min_user_interactions = {core}"]
        lines += [f"min_item_interactions = {core}"]
    if "split" not in given:
        lines += [*_comment(meaning["data.split"][1]), f"split = {_toml(info.split)}"]
    lines += ["", "[data.columns]", "# none: there is no such column, or it is not to be used."]
    lines += [f"{role} = {_toml(name)}" for role, name in columns.items()]
    section = "data"
    for name in OFFERED:
        head, _, tail = name.rpartition(".")
        if head and head != section:
            lines += ["", f"[{head}]"]
            section = head
        lines += _offer(tail, *meaning[name]) if head else []
    return "\n".join(lines) + "\n"


def _offer(name: str, default: object, text: str) -> list[str]:
    return [*_comment(text), f"# {name} = {'...' if default is None else _toml(default)}"]


def _comment(text: str) -> list[str]:
    return textwrap.wrap(text, 100, initial_indent="# ", subsequent_indent="# ", break_on_hyphens=False)


def _toml(value: object) -> str:
    """A value as TOML writes it; strings and lists of them are written as in JSON."""
    return json.dumps(list(value) if isinstance(value, tuple) else value)
