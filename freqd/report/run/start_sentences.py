"""Where a run's trainings started, and what that saved, in sentences."""

from __future__ import annotations

from freqd import numbers as fmt
from freqd.report.run_result import RunResult
from freqd.report.run_result_start import StartRecord, StartSeconds, StudentStart, TeacherStart


def sentence(summary: RunResult) -> str:
    """What the run started from, how it went and what it cost; empty if nothing of the kind was asked for."""
    return "" if summary.start is None else _told(summary.start)


def _told(start: StartRecord) -> str:
    if start.run is None:
        return f"Training started from scratch: {start.why}."
    origin = f"Started from run {start.run}{f', version {start.version}' if start.version else ''}"
    parts = [f"{origin} ({start.why})" if start.why else origin, _teacher(start.teacher), _costs(start.seconds)]
    if start.student is not None:
        parts.insert(2, _student(start.student))
    return " ".join(f"{part}." for part in parts)


def _teacher(start: TeacherStart | None) -> str:
    if start is None:
        return "The teacher was trained from scratch"
    value, before = fmt.metric(start.valid_ndcg_at_10), fmt.metric(start.valid_ndcg_at_10_before)
    warm_start_info = (
        f"The teacher took {fmt.count(start.sweeps)} more sweeps: validation NDCG@10 {value}, in its own run {before}"
    )
    return (
        warm_start_info
        if start.way == "continued"
        else f"{warm_start_info}, so the search was run again, and {_won(start.way)}"
    )


def _won(way: str) -> str:
    return "its winner was taken" if way == "searched" else "it found nothing better"


def _student(start: StudentStart) -> str:
    names = {"previous": "the earlier student", "svd": "the SVD of the teacher"}
    way, values = start.way, start.valid_ndcg_at_10
    others = [f"{names[name]} {fmt.metric(values[name])}" for name in names if name != way and name in values]
    own = f"{names.get(way, way)} (validation NDCG@10 {fmt.metric(values.get(way))}"
    return f"The student started from {own}{'; ' if others else ''}{', '.join(others)})"


def _costs(seconds: StartSeconds) -> str:
    parts = [f"Teacher and distillation took {fmt.duration(seconds.now.both)}"]
    if seconds.before is not None:
        parts.append(f"{fmt.duration(seconds.before.both)} in the earlier run")
    if seconds.full is not None and seconds.full.both:
        share = fmt.percent(seconds.now.both / seconds.full.both)
        parts.append(f"{fmt.duration(seconds.full.both)} in the latest run from scratch ({share} of it)")
    return ", ".join(parts)
