"""What became of the student that was trained again on all interactions, in a sentence and a table."""

from __future__ import annotations

from freqd import numbers as fmt
from freqd.report.run_result import RunResult
from freqd.report.table import Table


def sentence(summary: RunResult) -> str:
    """What is deployed, what it knows and what it cost, or why the judged student is; empty if there was no refit."""
    found = summary.refit
    if found is None:
        return ""
    if not found.accepted:
        return f"The judged student was registered: its refit on all interactions was refused ({'; '.join(found.reasons)})."
    new = f"{fmt.count(found.new_users)} users and {fmt.count(found.new_items)} items"
    return (
        f"What was registered is this student trained again on all {fmt.count(found.interactions)} interactions, so it knows {new} "
        f"more. All numbers of quality are of the judged student, which has not seen the test split{_cost(summary)}."
    )


def _cost(summary: RunResult) -> str:
    seconds = {stage.name: stage.seconds for stage in summary.stages}
    trained = seconds.get("teacher", 0.0) + seconds.get("distill", 0.0)
    if "refit" not in seconds or not trained:
        return ""
    share = fmt.percent(seconds["refit"] / trained)
    return f". The refit took {fmt.duration(seconds['refit'])}, {share} of what teacher and distillation had taken"


def checks(summary: RunResult) -> Table:
    """The refit against its judged twin; no rows if there was none."""
    rows = [
        [check.name, fmt.plain(check.value), check.limit, "yes" if check.passed else "no"]
        for check in (summary.refit.checks if summary.refit else ())
    ]
    return Table("The refit against the judged student", ["Check", "Value", "Required", "Kept"], rows, frozenset({1}))
