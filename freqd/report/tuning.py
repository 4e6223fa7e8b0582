"""A search over settings for readers: the best trials, what mattered, every trial as CSV, and the best so far as a figure."""

from __future__ import annotations

import csv as csv_format
import io
from collections import Counter

from freqd import numbers as fmt
from freqd.report.canvas import legend, new_figure, png, style_axes
from freqd.report.markdown import escape
from freqd.report.palette import SOFT_INK, STUDENT
from freqd.report.table import Table, for_terminal
from freqd.report.tuning_result import FinishedTrial, TuningResult

SHOWN = 8
"""Trials in the table of the best."""
SHOWN_SETTINGS = 4
"""Settings beside each of them, those that matter most."""


def tables(result: TuningResult) -> list[Table]:
    """The best trials, and what was varied."""
    return [_best(result), _varied(result)]


def _best(result: TuningResult) -> Table:
    done = sorted((t for t in result.trials if t.done), key=lambda t: (-_value(t), t.number))
    first = result.trials[0]
    leading = [varied.name for varied in result.by_importance()[:SHOWN_SETTINGS]]
    lines = []
    for trial in done[:SHOWN]:
        gain = None if not first.done or trial is first else _value(trial) - _value(first)
        lines.append(
            [
                f"{trial.number} (as given)" if trial is first else str(trial.number),
                fmt.metric(_value(trial)),
                fmt.signed(gain),
                fmt.count(trial.epochs),
                fmt.duration(trial.seconds),
                *(fmt.plain(trial.settings.get(name)) for name in leading),
            ]
        )
    header = ["trial", "validation NDCG@10", "minus as given", "epochs", "seconds", *leading]
    caption = f"{result.data}, {result.method}, students of dimension {result.dim}"
    return Table(caption, header, lines, frozenset(range(1, len(header))))


def _varied(result: TuningResult) -> Table:
    best = result.best_trial.settings
    lines = [
        [
            varied.name,
            f"{fmt.plain(0.0 if varied.zero_below else varied.low)} to {fmt.plain(varied.high)}",
            fmt.plain(varied.own),
            fmt.plain(best.get(varied.name)),
            fmt.percent(result.importances.get(varied.name)),
        ]
        for varied in result.by_importance()
    ]
    return Table("What was varied", ["setting", "range", "as given", "best", "importance"], lines, frozenset({2, 3, 4}))


def plain(result: TuningResult, width: int | None = None) -> str:
    """Both tables for a terminal of this width, with what the numbers mean below."""
    parts = [f"{table.caption}\n\n{table.text(width)}" for table in tables(result)]
    return for_terminal([*parts, *notes(result)])


def markdown(result: TuningResult) -> str:
    """Both tables as GitHub-flavoured Markdown."""
    parts = [f"# {escape(result.name)}"]
    for table in tables(result):
        parts += [f"## {escape(table.caption)}", table.markdown()]
    return "\n\n".join([*parts, *(escape(note) for note in notes(result))]) + "\n"


def notes(result: TuningResult) -> list[str]:
    """What was used, and what the numbers can bear."""
    counts = ", ".join(f"{count} {end}" for end, count in Counter(trial.end for trial in result.trials).items())
    used = f"{fmt.duration(result.seconds)} of {fmt.duration(result.budget_seconds)}"
    said = [
        f"Used {len(result.trials)} of {result.requested} trials ({counts}) and {used}. Compare methods that had equal budgets.",
        "Settings were chosen on the validation split, and the best of many is partly luck: its validation NDCG@10 promises more "
        "than the test split will show. The search did not use the test split.",
    ]
    if result.importances:
        said.append("Importance: share of what sets the best trials apart from all completed ones (PED-ANOVA).")
    else:
        said.append("Which settings matter is not known: too few trials were completed.")
    return said


def csv(result: TuningResult) -> str:
    """One line a trial, in their order, in full precision."""
    facts = ("number", "end", "value", "best_so_far", "epochs", "seconds", "used", "mlflow_run_id")
    out = io.StringIO()
    writer = csv_format.DictWriter(out, [*facts, *(varied.name for varied in result.space)], lineterminator="\n")
    writer.writeheader()
    for trial in result.trials:
        writer.writerow({**trial.model_dump(include=set(facts)), **trial.settings})
    return out.getvalue()


def figure(result: TuningResult) -> bytes:
    """Validation NDCG@10 of every trial against the time used, and the best so far; PNG bytes."""
    canvas = new_figure(3.3)
    axes = canvas.add_axes((0.14, 0.26, 0.83, 0.65))
    trials = [trial for trial in result.trials if trial.value is not None]
    for done, fill, label in ((True, STUDENT.colour, "completed"), (False, "none", "stopped early, best until then")):
        of_kind = [trial for trial in trials if trial.done is done]
        if of_kind:
            axes.scatter(
                [trial.used for trial in of_kind],
                [_value(trial) for trial in of_kind],
                s=26, facecolors=fill, edgecolors=STUDENT.colour, linewidths=1.0, zorder=3, label=label,
            )  # fmt: skip
    best = [(trial.used, trial.best_so_far) for trial in trials if trial.best_so_far is not None]
    axes.step(
        [used for used, _ in best],
        [value for _, value in best],
        where="post", color=SOFT_INK, linewidth=1.6, zorder=2, label="best so far",
    )  # fmt: skip
    axes.set_xlim(left=0.0)
    title = f"{result.data}, {result.method}"
    style_axes(axes, title=title, x="seconds of trials", y="validation NDCG@10", grid="both")
    legend(axes, loc="upper center", bbox_to_anchor=(0.45, -0.22), ncols=3)
    return png(canvas)


def _value(trial: FinishedTrial) -> float:
    return trial.value or 0.0
