"""The result for a terminal and as markdown: the same numbers and sentences as the HTML report."""

from __future__ import annotations

import textwrap

from freqd.report import numbers as fmt
from freqd.report.access import Summary, dig, text
from freqd.report.markdown import escape
from freqd.report.run import sentences, start_sentences, tables
from freqd.report.run.tables import Table

WIDTH = 100
"""Columns at which sentences are wrapped; tables are as wide as they are."""


def result_table(summary: Summary) -> str:
    """The models as a plain-text table, then the gap closed and the verdict. No colour, no markup, no control characters."""
    verdict = sentences.verdict(summary)
    parts = [_heading(summary)]
    table = tables.models(summary)
    if table.rows:
        parts.append(plain(table))
    parts.append(
        "\n".join(
            [
                _wrapped("gap closed  ", sentences.gap_sentence(summary)),
                _wrapped("verdict     ", f"{verdict.title}. {verdict.sentence}"),
                *([_wrapped("start       ", started)] if (started := start_sentences.sentence(summary)) else []),
            ]
        )
    )
    if told := sentences.advice(summary):
        parts.append("\n".join(["to do next", *(_wrapped("  - ", line) for line in told)]))
    whole = "\n\n".join(part for part in parts if part).replace(fmt.NBSP, " ")
    return "".join(c for c in whole if c == "\n" or c.isprintable())


def _wrapped(label: str, sentence: str) -> str:
    wide = " " * len(label)
    return textwrap.fill(
        sentence, WIDTH, initial_indent=label, subsequent_indent=wide, break_long_words=False, break_on_hyphens=False
    )


def _heading(summary: Summary) -> str:
    named = text(summary, "data", "name")
    if not named:
        return ""
    counts = ", ".join(
        f"{fmt.count(value)} {what}"
        for what in ("users", "items", "interactions")
        if (value := dig(summary, "data", what)) is not None
    )
    return f"{named}: {counts}" if counts else named


def plain(table: Table) -> str:
    """A table with columns padded by spaces and a rule below the header."""
    lines = [table.header, *table.rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(table.header))]

    def row(cells: list[str]) -> str:
        padded = (
            cell.rjust(width) if column in table.numeric else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
        )
        return "  ".join(padded).rstrip()

    rule = "  ".join("-" * width for width in widths)
    return "\n".join([row(table.header), rule, *(row(cells) for cells in table.rows)])


def markdown(summary: Summary) -> str:
    """The result as GitHub-flavoured markdown: verdict, models, differences, filter, gate, start, advice.

    Text from outside is escaped, so that a name cannot become a link, a picture or HTML.
    """
    verdict = sentences.verdict(summary)
    parts = [f"# {escape(verdict.title)}", escape(verdict.sentence)]
    table = tables.models(summary)
    if table.rows:
        parts.append(pipes(table))
    parts.append(escape(sentences.gap_sentence(summary)))
    parts.append(_list(sentences.differences(summary)))
    if reason := text(summary, "spectrum", "reason"):
        parts += ["## Filter", escape(reason)]
    if reasons := dig(summary, "gate", "reasons"):
        parts += ["## Gate", escape(sentences.gate_sentence(summary)), _list([str(reason) for reason in reasons])]
    if started := start_sentences.sentence(summary):
        parts += ["## Start", escape(started)]
    if told := sentences.advice(summary):
        parts += ["## What to do next", _list(told)]
    return "\n\n".join(part for part in parts if part) + "\n"


def pipes(table: Table) -> str:
    """A table in markdown; the strong row is bold."""
    rule = ["---:" if column in table.numeric else "---" for column in range(len(table.header))]
    body = [
        [f"**{escape(cell)}**" if index == table.strong else escape(cell) for cell in cells]
        for index, cells in enumerate(table.rows)
    ]
    lines = [[escape(name) for name in table.header], rule, *body]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def _list(lines: list[str]) -> str:
    return "\n".join(f"- {escape(line)}" for line in lines)
