"""A search over settings for readers: the best trials, what mattered, every trial as CSV, and the best so far as a figure."""

from __future__ import annotations

import csv as csv_format
import io
from collections.abc import Mapping
from typing import Any

from freqd.report import numbers as fmt
from freqd.report.access import Summary, dig, number, rows
from freqd.report.access import text as text_of
from freqd.report.canvas import dress, legend, png, sheet
from freqd.report.markdown import escape
from freqd.report.palette import SOFT_INK, STUDENT
from freqd.report.table import Table, for_terminal

DONE = "done"
SHOWN = 8
"""Trials in the table of the best."""
SHOWN_SETTINGS = 4
"""Settings beside each of them, those that matter most."""


def tables(result: Summary) -> list[Table]:
    """The best trials, and what was varied."""
    return [_best(result), _varied(result)]


def _best(result: Summary) -> Table:
    trials = rows(result, "trials")
    done = sorted(
        (t for t in trials if text_of(t, "end") == DONE), key=lambda t: (-_value(t), number(t, "number") or 0.0)
    )
    given = next((t for t in trials if number(t, "number") == 1 and text_of(t, "end") == DONE), None)
    leading = _by_importance(result)[:SHOWN_SETTINGS]
    lines = []
    for trial in done[:SHOWN]:
        gain = None if given is None or trial is given else _value(trial) - _value(given)
        lines.append(
            [
                f"{text_of(trial, 'number')} (as given)" if trial is given else text_of(trial, "number"),
                fmt.metric(_value(trial)),
                fmt.signed(gain),
                fmt.count(number(trial, "epochs")),
                fmt.duration(number(trial, "seconds")),
                *(_setting(dig(trial, "settings"), name) for name in leading),
            ]
        )
    header = ["trial", "validation NDCG@10", "minus as given", "epochs", "seconds", *leading]
    caption = f"{text_of(result, 'data')}, {text_of(result, 'method')}, students of {text_of(result, 'dim')} numbers"
    return Table(caption, header, lines, frozenset(range(1, len(header))))


def _varied(result: Summary) -> Table:
    importances = dig(result, "importances") or {}
    best = _best_trial(result)
    space = {text_of(dimension, "name"): dimension for dimension in rows(result, "space")}
    lines = []
    for name in _by_importance(result):
        dimension = space[name]
        low = 0.0 if number(dimension, "zero_below") else number(dimension, "low")
        lines.append(
            [
                name,
                f"{fmt.plain(low)} to {fmt.plain(number(dimension, 'high'))}",
                fmt.plain(number(dimension, "own")),
                _setting(dig(best, "settings"), name),
                fmt.percent(importances.get(name)),
            ]
        )
    return Table("What was varied", ["setting", "range", "as given", "best", "importance"], lines, frozenset({2, 3, 4}))


def plain(result: Summary) -> str:
    """Both tables for a terminal, with what the numbers mean below."""
    parts = [f"{table.caption}\n\n{table.text()}" for table in tables(result)]
    return for_terminal([*parts, *notes(result)])


def markdown(result: Summary) -> str:
    """Both tables as GitHub-flavoured Markdown."""
    parts = [f"# {escape(text_of(result, 'name'))}"]
    for table in tables(result):
        parts += [f"## {escape(table.caption)}", table.markdown()]
    return "\n\n".join([*parts, *(escape(note) for note in notes(result))]) + "\n"


def notes(result: Summary) -> list[str]:
    """What was used, and what the numbers can bear."""
    trials = rows(result, "trials")
    ends: dict[str, int] = {}
    for trial in trials:
        ends[text_of(trial, "end")] = ends.get(text_of(trial, "end"), 0) + 1
    counts = ", ".join(f"{count} {end}" for end, count in ends.items())
    used = f"{fmt.duration(number(result, 'seconds'))} of {fmt.duration(number(result, 'budget_seconds'))}"
    said = [
        f"Used {len(trials)} of {text_of(result, 'requested')} trials ({counts}) and {used}. Compare methods that had equal budgets.",
        "Settings were chosen by the validation part, and the best of many is partly luck: its validation NDCG@10 promises more "
        "than the test part will show. The search did not look at the test part.",
    ]
    if dig(result, "importances"):
        said.append("Importance: share of what sets the best trials apart from all completed ones (PED-ANOVA).")
    else:
        said.append("Which settings matter is not known: too few trials were completed.")
    return said


def csv(result: Summary) -> str:
    """One line a trial, in their order, in full precision."""
    names = [text_of(dimension, "name") for dimension in rows(result, "space")]
    facts = ("number", "end", "value", "best_so_far", "epochs", "seconds", "used", "mlflow_run_id")
    out = io.StringIO()
    writer = csv_format.DictWriter(out, [*facts, *names], lineterminator="\n")
    writer.writeheader()
    for trial in rows(result, "trials"):
        writer.writerow({**{name: dig(trial, name) for name in facts}, **(dig(trial, "settings") or {})})
    return out.getvalue()


def figure(result: Summary) -> bytes:
    """Validation NDCG@10 of every trial against the time used, and the best so far; PNG bytes."""
    canvas = sheet(3.3)
    axes = canvas.add_axes((0.14, 0.26, 0.83, 0.65))
    trials = [trial for trial in rows(result, "trials") if number(trial, "value") is not None]
    for done, fill, label in ((True, STUDENT.colour, "completed"), (False, "none", "stopped early, best until then")):
        of_kind = [trial for trial in trials if (text_of(trial, "end") == DONE) is done]
        if of_kind:
            axes.scatter(
                [number(trial, "used") or 0.0 for trial in of_kind],
                [_value(trial) for trial in of_kind],
                s=26, facecolors=fill, edgecolors=STUDENT.colour, linewidths=1.0, zorder=3, label=label,
            )  # fmt: skip
    known = [trial for trial in trials if number(trial, "best_so_far") is not None]
    axes.step(
        [number(trial, "used") or 0.0 for trial in known],
        [number(trial, "best_so_far") or 0.0 for trial in known],
        where="post", color=SOFT_INK, linewidth=1.6, zorder=2, label="best so far",
    )  # fmt: skip
    axes.set_xlim(left=0.0)
    title = f"{text_of(result, 'data')}, {text_of(result, 'method')}"
    dress(axes, title=title, x="seconds of trials", y="validation NDCG@10", grid="both")
    legend(axes, loc="upper center", bbox_to_anchor=(0.45, -0.22), ncols=3)
    return png(canvas)


def _best_trial(result: Summary) -> Mapping[str, Any]:
    return next(trial for trial in rows(result, "trials") if number(trial, "number") == number(result, "best"))


def _by_importance(result: Summary) -> list[str]:
    """Names of what was varied, the most important first, else in their order."""
    importances = dig(result, "importances") or {}
    names = [text_of(dimension, "name") for dimension in rows(result, "space")]
    return sorted(names, key=lambda name: -importances.get(name, 0.0))


def _value(trial: Mapping[str, Any]) -> float:
    return number(trial, "value") or 0.0


def _setting(settings: object, name: str) -> str:
    """A setting's value; its name has a dot in it."""
    return fmt.plain(settings.get(name) if isinstance(settings, dict) else None)
