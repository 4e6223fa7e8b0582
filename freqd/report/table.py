"""A table and its three forms: text for a terminal, Markdown, and (in ``templates/parts.html.j2``) HTML."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from freqd.report.markdown import escape
from freqd.report.numbers import NBSP


@dataclass(frozen=True)
class Table:
    """A caption, a header, and rows of text; the first column names the row.

    Attributes:
        numeric: indices of the columns that are set flush right.
        code: indices of the columns that are set in a fixed-width face.
        strong: index of the row that is set bold, if any.
        keys: of the models that the rows are about, for their colours.
    """

    caption: str
    header: list[str]
    rows: list[list[str]]
    numeric: frozenset[int] = frozenset()
    code: frozenset[int] = frozenset()
    strong: int | None = None
    keys: list[str] = field(default_factory=list)

    def text(self) -> str:
        """Columns padded by spaces and a rule below the header, without the caption."""
        lines = [self.header, *self.rows]
        widths = [max(len(line[column]) for line in lines) for column in range(len(self.header))]

        def row(cells: list[str]) -> str:
            padded = (
                cell.rjust(width) if column in self.numeric else cell.ljust(width)
                for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
            )
            return "  ".join(padded).rstrip()

        rule = "  ".join("-" * width for width in widths)
        return "\n".join([row(self.header), rule, *(row(cells) for cells in self.rows)])

    def markdown(self) -> str:
        """Pipes, without the caption; the strong row is bold, and text is escaped."""
        rule = ["---:" if column in self.numeric else "---" for column in range(len(self.header))]
        body = [
            [f"**{escape(cell)}**" if index == self.strong else escape(cell) for cell in cells]
            for index, cells in enumerate(self.rows)
        ]
        lines = [[escape(name) for name in self.header], rule, *body]
        return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def for_terminal(parts: Iterable[str]) -> str:
    """The parts that are not empty, a line between them, with plain spaces and without control characters."""
    whole = "\n\n".join(part for part in parts if part).replace(NBSP, " ")
    return "".join(c for c in whole if c == "\n" or c.isprintable())
