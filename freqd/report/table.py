"""A table and its three forms: text for a terminal, Markdown, and (in ``templates/parts.html.j2``) HTML."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from itertools import zip_longest

from freqd.numbers import NBSP
from freqd.report.markdown import escape

GAP = "  "
"""Between columns."""


@dataclass(frozen=True)
class Table:
    """A caption, a header, and rows of text; the first column names the row.

    Attributes:
        numeric: indices of the columns that are set flush right.
        code: indices of the columns that are set in a fixed-width face.
        strong: index of the row that is set bold, if any.
        keys: of the models that the rows are about, for their colours.
        optional: indices of columns that a narrow terminal goes without, the first one first.
    """

    caption: str
    header: list[str]
    rows: list[list[str]]
    numeric: frozenset[int] = frozenset()
    code: frozenset[int] = frozenset()
    strong: int | None = None
    keys: list[str] = field(default_factory=list)
    optional: tuple[int, ...] = ()

    def text(self, width: int | None = None, *, ruled: bool = True) -> str:
        """Columns padded by spaces and a rule below the header, without the caption; a line a row.

        Args:
            width: of a terminal. A wider table goes without its ``optional`` columns as far as needed, then its cells are wrapped between
                words, and where not even the longest words fit beside each other a row becomes some lines, one a column.
            ruled: whether there is a rule.
        """
        if width is not None and self.optional and self._wanted() > width:
            return self._without(self.optional[0]).text(width, ruled=ruled)
        widths = self._widths(width)
        if widths is None:
            return "\n\n".join(labelled(zip(self.header, row, strict=True), width) for row in self.rows)

        def row(cells: list[str]) -> str:
            wrapped = [_wrap(cell, room) for cell, room in zip(cells, widths, strict=True)]
            return "\n".join(self._line(list(line), widths) for line in zip_longest(*wrapped, fillvalue=""))

        rule = [GAP.join("-" * room for room in widths)] if ruled else []
        return "\n".join([row(self.header), *rule, *(row(cells) for cells in self.rows)])

    def _line(self, cells: list[str], widths: list[int]) -> str:
        padded = (
            cell.rjust(room) if column in self.numeric else cell.ljust(room)
            for column, (cell, room) in enumerate(zip(cells, widths, strict=True))
        )
        return GAP.join(padded).rstrip()

    def _columns(self) -> list[tuple[str, ...]]:
        return list(zip(*[self.header, *self.rows], strict=True))

    def _wanted(self) -> int:
        """Characters of the widest line."""
        return sum(max(map(len, cells)) + len(GAP) for cells in self._columns()) - len(GAP)

    def _widths(self, width: int | None) -> list[int] | None:
        """Of each column, so that words stay whole; None where they do not fit beside each other."""
        widths = [max(map(len, cells)) for cells in self._columns()]
        if width is None:
            return widths
        least = [max((len(word) for cell in cells for word in cell.split(" ")), default=0) for cells in self._columns()]
        room = width - len(GAP) * (len(widths) - 1)
        if sum(least) > room:
            return None
        while sum(widths) > room:
            widest = max(range(len(widths)), key=lambda column: (widths[column] > least[column], widths[column]))
            widths[widest] -= 1
        return widths

    def _without(self, column: int) -> Table:
        """The same without an optional column."""

        def less(cells: list[str]) -> list[str]:
            return [cell for place, cell in enumerate(cells) if place != column]

        def moved(columns: Iterable[int]) -> list[int]:
            return [place - (place > column) for place in columns if place != column]

        return replace(
            self,
            header=less(self.header),
            rows=[less(row) for row in self.rows],
            numeric=frozenset(moved(self.numeric)),
            code=frozenset(moved(self.code)),
            optional=tuple(moved(self.optional)),
        )

    def markdown(self) -> str:
        """Pipes, without the caption; the strong row is bold, and text is escaped."""
        rule = ["---:" if column in self.numeric else "---" for column in range(len(self.header))]
        body = [
            [f"**{escape(cell)}**" if index == self.strong else escape(cell) for cell in cells]
            for index, cells in enumerate(self.rows)
        ]
        lines = [[escape(name) for name in self.header], rule, *body]
        return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def labelled(facts: Iterable[tuple[str, str]], width: int | None = None) -> str:
    """A line for each label with its value; on a terminal of this width values are wrapped between words."""
    found = list(facts)
    label = max((len(name) for name, _ in found), default=0) + len(GAP)
    lines = []
    for name, value in found:
        parts = value.splitlines() or [""]
        if width is not None:
            parts = [line for part in parts for line in _wrap(part, max(width - label, 20))]
        lines += [f"{name.ljust(label)}{parts[0]}".rstrip(), *(" " * label + line for line in parts[1:])]
    return "\n".join(lines)


def _wrap(cell: str, width: int) -> list[str]:
    """Lines of a cell, broken between words only; blanks within a line stay."""
    if len(cell) <= width:
        return [cell]
    return textwrap.wrap(cell, width, break_long_words=False, break_on_hyphens=False) or [""]


def for_terminal(parts: Iterable[str]) -> str:
    """The parts that are not empty, a line between them, with plain spaces and without control characters."""
    whole = "\n\n".join(part for part in parts if part).replace(NBSP, " ")
    return "".join(c for c in whole if c == "\n" or c.isprintable())
