"""Who gains and who loses beyond chance, in tables and sentences; which groups there are is in the tables of the groups themselves."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from freqd import numbers as fmt
from freqd.evaluate.paired_groups import GroupDifferences
from freqd.evaluate.significance import Difference
from freqd.report.palette import SCRATCH, TEACHER, Role
from freqd.report.run_result import RunResult
from freqd.report.table import Table

OPPONENTS = (TEACHER, SCRATCH)
"""Whom the student is compared with in each group."""


@dataclass(frozen=True)
class GroupDifference:
    """The student minus another model in one group; ``found`` is None for a group without targets."""

    group: str
    size: int
    other: Role
    found: Difference | None


def by_activity(summary: RunResult) -> list[GroupDifference]:
    """NDCG@10 by the users' activity; ``size`` counts users."""
    sizes = [(row.group, row.users) for row in summary.groups.student.activity]
    return [
        GroupDifference(*size, other, found)
        for other, differences in _compared(summary)
        for size, found in zip(sizes, differences.activity, strict=False)
    ]


def by_popularity(summary: RunResult) -> list[GroupDifference]:
    """Recall@10 by the items' popularity; ``size`` counts test targets."""
    sizes = [(row.group, row.targets) for row in summary.groups.student.popularity]
    return [
        GroupDifference(*size, other, found)
        for other, differences in _compared(summary)
        for size, found in zip(sizes, differences.popularity, strict=False)
    ]


def _compared(summary: RunResult) -> Iterator[tuple[Role, GroupDifferences]]:
    for other in OPPONENTS:
        if (found := summary.group_intervals.get(f"student_minus_{other.key}")) is not None:
            yield other, found


def tables(summary: RunResult) -> list[Table]:
    """The differences, one row a group and other model."""
    return [
        _table("Differences by the users' activity", "Users", "NDCG@10", by_activity(summary)),
        _table("Differences by the items' popularity", "Test targets", "Recall@10", by_popularity(summary)),
    ]


def _table(caption: str, counted: str, metric: str, rows: list[GroupDifference]) -> Table:
    body = [[row.group, f"Student minus {row.other.label}", fmt.count(row.size), *_cells(row.found)] for row in rows]
    return Table(
        caption, ["Group", "Difference", counted, metric, "Interval", "p-value"], body, frozenset({2, 3, 4, 5})
    )


def _cells(found: Difference | None) -> list[str]:
    if found is None:
        return [fmt.MISSING] * 3
    p_value = fmt.probability(found.p_value).removeprefix("p = ").removeprefix("p ")
    return [fmt.signed(found.mean), f"{fmt.signed(found.low)} to {fmt.signed(found.high)}", p_value]


def sentences(summary: RunResult) -> list[str]:
    """For whom, and for which items, the student is better or worse beyond chance; empty if that was not measured."""
    users, items = by_activity(summary), by_popularity(summary)
    return [
        said
        for other in OPPONENTS
        for said in (
            _sentence(other, users, "users with {}", "group of users by activity"),
            _sentence(other, items, "items of the {}", "group of items by popularity"),
        )
        if said
    ]


def _sentence(other: Role, rows: list[GroupDifference], of_group: str, kind: str) -> str:
    known = [(row.group, row.found) for row in rows if row.other is other and row.found is not None]
    if not known:
        return ""
    better = [of_group.format(group) for group, found in known if found.low > 0.0]
    worse = [of_group.format(group) for group, found in known if found.high < 0.0]
    if not better and not worse:
        return f"Against {other.phrase}, no {kind} is told apart from chance."
    parts = [f"{word} for {_and(names)}" for word, names in (("better", better), ("worse", worse)) if names]
    rest = len(known) - len(better) - len(worse)
    open_ = f"; {rest} of {len(known)} groups {'are' if rest > 1 else 'is'} not told apart" if rest else ""
    return f"Against {other.phrase}, the student is significantly {' and '.join(parts)}{open_}."


def _and(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
