"""What is said of groups is what their intervals say."""

from __future__ import annotations

from typing import Any

from freqd import numbers as fmt
from freqd.report.run import groups
from freqd.report.run_result import RunResult


def of(summary: dict[str, Any]) -> RunResult:
    return RunResult.model_validate(summary)


def test_who_gains_and_who_loses_in_words(full: dict[str, Any]) -> None:
    assert groups.sentences(of(full)) == [
        "Against the teacher, the student is significantly worse for users with 5–12 train interactions; 3 of 4 groups are not told "
        "apart.",
        "Against the teacher, no group of items by popularity is told apart from chance.",
        "Against the no-distillation baseline, the student is significantly better for users with 13–25 train interactions, users "
        "with 26–61 train interactions and users with 62–388 train interactions; 1 of 4 groups is not told apart.",
        "Against the no-distillation baseline, the student is significantly better for items of the head and items of the mid and "
        "worse for items of the tail.",
    ]


def test_a_summary_of_before_says_nothing_of_them(full: dict[str, Any]) -> None:
    del full["group_intervals"]
    assert groups.sentences(of(full)) == []
    assert [table.rows for table in groups.tables(of(full))] == [[], []]


def test_the_tables_hold_the_intervals(full: dict[str, Any]) -> None:
    users, items = groups.tables(of(full))
    assert [row[0] for row in users.rows[:4]] == [row["group"] for row in full["groups"]["student"]["activity"]]
    assert users.rows[0][1:] == ["Student minus Teacher", "498", "−0.0031", "−0.0051 to −0.0011", "0.030"]
    assert items.rows[2][1:] == ["Student minus Teacher", "2,206", *[fmt.MISSING] * 3], (
        "nothing of the tail was asked for"
    )
    assert items.rows[5][3] == "−0.0022"
