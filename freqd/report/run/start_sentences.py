"""Where a run's trainings started, and what that saved, in sentences."""

from __future__ import annotations

from freqd.report import numbers as fmt
from freqd.report.access import Summary, dig, number, text


def sentence(summary: Summary) -> str:
    """What the run started from, how it went and what it cost; empty if nothing of the kind was asked for."""
    if dig(summary, "start") is None:
        return ""
    why, run = text(summary, "start", "why"), text(summary, "start", "run")
    if not run:
        return f"The trainings started from nothing: {why}."
    version = text(summary, "start", "version")
    origin = f"Started from run {run}{f', version {version}' if version else ''}"
    parts = [f"{origin} ({why})" if why else origin, _teacher(summary), _student(summary), _costs(summary)]
    return "".join(f"{part}. " for part in parts if part).rstrip()


def _teacher(summary: Summary) -> str:
    way = text(summary, "start", "teacher", "way")
    if not way:
        return "The teacher was made as in a run from nothing"
    value, before = (
        fmt.metric(number(summary, "start", "teacher", name))
        for name in ("valid_ndcg_at_10", "valid_ndcg_at_10_before")
    )
    sweeps = fmt.count(number(summary, "start", "teacher", "sweeps"))
    carried = f"The teacher was carried on by {sweeps} sweeps: validation NDCG@10 {value}, in its own run {before}"
    return carried if way == "continued" else f"{carried}, so it was searched for anew, and {_won(way)}"


def _won(way: str) -> str:
    return "the winner of the search was taken" if way == "searched" else "the search found nothing better"


def _student(summary: Summary) -> str:
    way = text(summary, "start", "student", "way")
    if not way:
        return ""
    names = {"previous": "the earlier student", "svd": "the SVD of the teacher"}
    values = dig(summary, "start", "student", "valid_ndcg_at_10")
    others = [
        f"{names[name]} {fmt.metric(number(values, name))}"
        for name in names
        if name != way and number(values, name) is not None
    ]
    own = f"{names.get(way, way)} (validation NDCG@10 {fmt.metric(number(values, way))}"
    return f"The student started at {own}{'; ' if others else ''}{', '.join(others)})"


def _costs(summary: Summary) -> str:
    now, before, full = (_sum(summary, when) for when in ("now", "before", "full"))
    if now is None:
        return ""
    parts = [f"Teacher and distillation took {fmt.duration(now)}"]
    if before is not None:
        parts.append(f"{fmt.duration(before)} in the earlier run")
    if full:
        parts.append(f"{fmt.duration(full)} in the latest run from nothing ({fmt.percent(now / full)} of it)")
    return ", ".join(parts)


def _sum(summary: Summary, when: str) -> float | None:
    teacher, distill = (number(summary, "start", "seconds", when, stage) for stage in ("teacher", "distill"))
    return None if teacher is None or distill is None else teacher + distill
