"""What commands print: tables that fit the terminal, a record a line in a pipe, JSON where it is asked for."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterable, Sequence
from typing import Annotated

from cyclopts import Parameter
from rich.console import Console

console = Console(highlight=False)
AsJson = Annotated[bool, Parameter(name="--json", negative="", help="As JSON.")]


def say(text: str = "", on: Console = console) -> None:
    """Print text; a terminal gets long lines broken between words, so that paths and commands can still be copied."""
    room = width(on)
    if room is not None:
        text = "\n".join(_broken(line, room) for line in text.split("\n"))
    on.print(text, markup=False, soft_wrap=True)


def _broken(line: str, room: int) -> str:
    if len(line) <= room:
        return line
    indent = " " * (len(line) - len(line.lstrip(" ")))
    return textwrap.fill(line, room, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def say_places(places: Iterable[tuple[str, object]]) -> None:
    """Print where things are, each behind its label."""
    say()
    for label, value in places:
        say(f"{label:<11} {value}")


def say_json(value: object) -> None:
    """Print a value as JSON."""
    print(json.dumps(value, indent=1))


def say_records(header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print rows as JSON, an object each."""
    say_json([dict(zip(header, row, strict=True)) for row in rows])


def width(on: Console = console) -> int | None:
    """Columns of the terminal; None in a pipe or a file, where a record is a line however long."""
    return on.width if on.is_terminal else None


def say_table(header: Sequence[str], rows: Iterable[Sequence[object]], optional: tuple[int, ...] = ()) -> None:
    """Print a table, in a pipe a header and a line a row; whole numbers get separators, and a column of numbers is set flush right.

    Args:
        header: of the columns.
        rows: numbers, texts, or None for nothing.
        optional: indices of columns that a narrow terminal goes without, the first one first.
    """
    from freqd.report.table import Table

    found = [list(row) for row in rows]
    numeric = {
        column
        for column in range(len(header))
        if any(isinstance(row[column], int) for row in found)
        and all(row[column] is None or isinstance(row[column], int) for row in found)
    }
    cells = [[_text(value) for value in row] for row in found]
    table = Table("", list(header), cells, frozenset(numeric), optional=optional)
    say(table.text(width(), ruled=width() is not None))


def say_facts(facts: Iterable[tuple[str, object]]) -> None:
    """Print labels with their values, which are wrapped between words on a terminal."""
    from freqd.report.table import labelled

    say(labelled([(label, _text(value)) for label, value in facts], width()))


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "" if value is None else f"{value:,}" if isinstance(value, int) else str(value)
