"""The result for a terminal and as markdown: the same numbers and sentences as the HTML report."""

from __future__ import annotations

import textwrap

from freqd import numbers as fmt
from freqd.report.markdown import escape
from freqd.report.run import refit_sentences, sentences, start_sentences, tables
from freqd.report.run_result import RunResult
from freqd.report.table import for_terminal

WIDTH = 100
"""Columns at which sentences are wrapped at the latest."""


def result_table(summary: RunResult, width: int | None = None) -> str:
    """The models as a plain-text table, then the gap closed and the verdict. No colour, no markup, no control characters.

    Args:
        summary: the run.
        width: of a terminal; None: tables are as wide as they are.
    """
    room = min(width or WIDTH, WIDTH)
    verdict = sentences.verdict(summary)
    lines = [
        _wrapped("gap closed  ", sentences.gap_sentence(summary), room),
        _wrapped("verdict     ", f"{verdict.title}. {verdict.sentence}", room),
        *([_wrapped("start       ", started, room)] if (started := start_sentences.sentence(summary)) else []),
        *([_wrapped("refit       ", again, room)] if (again := refit_sentences.sentence(summary)) else []),
    ]
    parts = [_heading(summary), tables.models(summary).text(width)]
    if summary.references.models:
        beside = tables.references(summary)
        parts.append(f"{beside.caption}\n{beside.text(width)}")
    parts.append("\n".join(lines))
    if told := sentences.advice(summary):
        parts.append("\n".join(["to do next", *(_wrapped("  - ", line, room) for line in told)]))
    return for_terminal(parts)


def _wrapped(label: str, sentence: str, room: int) -> str:
    wide = " " * len(label)
    return textwrap.fill(
        sentence, room, initial_indent=label, subsequent_indent=wide, break_long_words=False, break_on_hyphens=False
    )


def _heading(summary: RunResult) -> str:
    data = summary.data
    counts = (
        f"{fmt.count(data.users)} users, {fmt.count(data.items)} items, {fmt.count(data.interactions)} interactions"
    )
    return f"{data.name}: {counts}"


def markdown(summary: RunResult) -> str:
    """The result as GitHub-flavoured markdown: verdict, models, differences, filter, gate, start, advice.

    Text from outside is escaped, so that a name cannot become a link, a picture or HTML.
    """
    verdict = sentences.verdict(summary)
    parts = [
        f"# {escape(verdict.title)}",
        escape(verdict.sentence),
        tables.models(summary).markdown(),
        *_references(summary),
        escape(sentences.gap_sentence(summary)),
        _list(sentences.differences(summary)),
    ]
    if reason := summary.spectrum.reason:
        parts += ["## Filter", escape(reason)]
    if summary.gate and summary.gate.reasons:
        parts += ["## Gate", escape(sentences.gate_sentence(summary)), _list(summary.gate.reasons)]
    if started := start_sentences.sentence(summary):
        parts += ["## Start", escape(started)]
    if again := refit_sentences.sentence(summary):
        checks = refit_sentences.checks(summary)
        parts += ["## Refit", escape(again), checks.markdown() if checks.rows else ""]
    if told := sentences.advice(summary):
        parts += ["## What to do next", _list(told)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _references(summary: RunResult) -> list[str]:
    beside = tables.references(summary)
    return [f"**{escape(beside.caption)}**", beside.markdown()] if beside.rows else []


def _list(lines: list[str]) -> str:
    return "\n".join(f"- {escape(line)}" for line in lines)
