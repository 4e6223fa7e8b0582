"""What the student saves beside its teacher, in words that claim no more than repeated measurements tell apart."""

from __future__ import annotations

from collections.abc import Callable

from freqd import numbers as fmt
from freqd.report.run_result import RunResult
from freqd.report.run_result_parts import ModelFacts

SAME = 0.05
"""Sizes and times that differ by less than this share are called the same."""


def ratio(summary: RunResult, size: Callable[[ModelFacts], float]) -> float:
    """How many times the teacher's ``size`` (parameters, bytes, median_ms) is the student's."""
    return size(summary.models.teacher) / size(summary.models.student)


def size_phrase(summary: RunResult) -> str:
    """That it is so many times smaller, larger, or as large."""
    factor = ratio(summary, lambda model: model.parameters)
    if abs(factor - 1.0) < SAME:
        return "is as large as its teacher"
    sizes = f" ({fmt.size(summary.models.student.bytes)} instead of {fmt.size(summary.models.teacher.bytes)})"
    return f"is {_times(factor)} smaller{sizes}" if factor > 1.0 else f"is {_times(1.0 / factor)} larger{sizes}"


def speed_phrase(summary: RunResult) -> str:
    """That it scores a user so many times faster or slower, where repetitions tell them apart, else about as fast.

    With the range over repetitions: the fastest of the one against the slowest of the other, and the other way round.
    """
    if not speeds_differ(summary):
        return "scores a user about as fast as its teacher"
    word, slow, fast = "faster", summary.models.teacher, summary.models.student
    if slow.median_ms < fast.median_ms:
        word, slow, fast = "slower", fast, slow
    low, high = slow.range_ms[0] / fast.range_ms[1], slow.range_ms[1] / fast.range_ms[0]
    around = f" ({fmt.times(low)[:-1]} to {fmt.times(high)[:-1]})" if low < high else ""
    return f"scores a user {_times(slow.median_ms / fast.median_ms)} {word}{around}"


def speeds_differ(summary: RunResult) -> bool:
    """Whether the ranges of teacher and student over repetitions do not overlap, and the medians differ by ``SAME`` at least."""
    teacher, student = summary.models.teacher.range_ms, summary.models.student.range_ms
    apart = teacher[0] > student[1] or student[0] > teacher[1]
    return apart and abs(ratio(summary, lambda model: model.median_ms) - 1.0) >= SAME


def _times(factor: float) -> str:
    return f"{fmt.times(factor)[:-1]} times"


def spread_ms(model: ModelFacts) -> str:
    """Median milliseconds, and the range over repetitions if there were several."""
    if model.low_ms is None or model.high_ms is None:
        return fmt.milliseconds(model.median_ms)
    low, high = (fmt.milliseconds(value).removesuffix(f"{fmt.NBSP}ms") for value in (model.low_ms, model.high_ms))
    return f"{fmt.milliseconds(model.median_ms)} ({low} to {high})"
