"""A backfill for readers: one line a date."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from freqd.report import numbers as fmt
from freqd.report.access import Summary, dig, number, rows
from freqd.report.access import text as text_of
from freqd.report.markdown import escape
from freqd.report.table import Table, for_terminal


def table(result: Summary) -> Table:
    """Every date with its run: data, quality, where it started, cost, and what the gate said if it was asked."""
    lines = [_cells(row) for row in rows(result, "runs")]
    header = [
        "as of",
        "run",
        "users",
        "items",
        "interactions",
        "NDCG@10",
        "of the teacher",
        "from",
        "seconds",
        "gate",
        "",
    ]
    return Table(f"{text_of(result, 'name')}, date by date", header, lines, frozenset({2, 3, 4, 5, 6, 8}))


def _cells(row: Mapping[str, Any]) -> list[str]:
    return [
        text_of(row, "as_of"),
        text_of(row, "run"),
        *(fmt.count(number(row, what)) for what in ("users", "items", "interactions")),
        fmt.metric(number(row, "ndcg_at_10")),
        fmt.metric(number(row, "teacher_ndcg_at_10")),
        text_of(row, "started_from") or "nothing",
        fmt.duration(number(row, "seconds")),
        text_of(row, "gate") or fmt.MISSING,
        "already done" if dig(row, "passed_over") else "",
    ]


def plain(result: Summary) -> str:
    """The table for a terminal, with why a run did not start from the one before it."""
    return for_terminal([table(result).text(), *notes(result)])


def markdown(result: Summary) -> str:
    """The table as GitHub-flavoured Markdown."""
    shown = table(result)
    notes_of = [escape(note) for note in notes(result)]
    return "\n\n".join([f"# {escape(shown.caption)}", shown.markdown(), *notes_of]) + "\n"


def notes(result: Summary) -> list[str]:
    """What the columns mean, and why runs that were to start from another one did not."""
    said = [
        "NDCG@10 of the students on the test part of their own date: the last interactions up to it. Dates differ in their "
        "test parts, so a lower number need not be a worse model. Seconds are those of all stages when they were computed."
    ]
    reasons = {
        text_of(row, "as_of"): why
        for row in rows(result, "runs")
        if (why := text_of(row, "why")) and not text_of(row, "started_from")
    }
    return [*said, *(f"As of {day} it started from nothing: {why}." for day, why in reasons.items())]
