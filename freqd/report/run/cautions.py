"""What a reader should know before believing a run's numbers: on top of the report, and in its model card."""

from __future__ import annotations

from freqd import numbers as fmt
from freqd.report.palette import ROLES, STUDENT
from freqd.report.run.standing import metric_of
from freqd.report.run_result import RunResult

WIDE = 0.1
"""Half an interval of the student's NDCG@10, as a share of it, from which on the test is called small."""
COLD = 0.2
"""Share of test interactions with unknown items from which on it is worth a warning."""
NARROW = 0.8
"""Share of recommendations on the most popular items from which on it is worth a warning."""
CUT = {"teacher": "the teacher", "scratch": "the no-distillation baseline", "student": "the distillation"}


def cautions(summary: RunResult) -> list[str]:
    """Sentences, the gravest first; empty if there is nothing to mind."""
    said = [_small(summary), _cold(summary), _cut(summary), _narrow(summary)]
    return [*(line for line in said if line), *summary.data.warnings]


def _small(summary: RunResult) -> str:
    known = summary.evaluated
    own = known.ndcg_at_10 if known else None
    if known is None or own is None or not own.value or own.low is None or own.high is None:
        return ""
    half = (own.high - own.low) / 2
    if half < WIDE * own.value:
        return ""
    return (
        f"The test is small: with {fmt.count(known.users)} users NDCG@10 is known to {fmt.percent(half / own.value)} either way "
        f"({fmt.metric(own.low)} to {fmt.metric(own.high)}), so that only large differences can be told apart."
    )


def _cold(summary: RunResult) -> str:
    if summary.data.cold_test_items < COLD:
        return ""
    return (
        f"The data move: {fmt.percent(summary.data.cold_test_items)} of the test interactions are with items that training never saw and "
        "no model here can recommend. A shorter time between two trainings may help more than a better model (`freqd cadence`)."
    )


def _cut(summary: RunResult) -> str:
    names = [CUT[name] for name in CUT if name in summary.budget.cut]
    if not names:
        return ""
    return (
        f"A time budget cut {' and '.join(names)} short, which may still have improved; that flatters what was not cut."
    )


def _narrow(summary: RunResult) -> str:
    share = metric_of(summary, STUDENT, "top_share_at_10")
    return "" if share is None or share < NARROW else spread(summary)


def spread(summary: RunResult) -> str:
    """How much of what the models recommend are the most popular items; empty in results of an earlier freqd."""
    student = metric_of(summary, STUDENT, "top_share_at_10")
    shown = metric_of(summary, STUDENT, "coverage_at_10")
    if student is None or shown is None:
        return ""
    others = [
        f"{fmt.percent(share)} of {role.phrase}"
        for role in ROLES
        if role is not STUDENT and (share := metric_of(summary, role, "top_share_at_10")) is not None
    ]
    beside = f" (against {', '.join(others)})" if others else ""
    return (
        f"{fmt.percent(student)} of what the student recommends{beside} are the 1{fmt.NBSP}% most popular items; its lists together show "
        f"{fmt.percent(shown, 1)} of the catalogue."
    )
