"""What the numbers mean, in sentences that claim no more than the numbers do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from freqd.gate import WAITING
from freqd.report import numbers as fmt
from freqd.report.access import Summary, dig, number, text, texts
from freqd.report.palette import SCRATCH, STUDENT, SVD, TEACHER, Role

Tone = Literal["good", "mixed", "bad", "neutral"]
SAME = 0.05
"""Sizes and times that differ by less than this share are called the same."""

NO_GAP_REMEDIES = (
    "Try other teacher sizes and strengths (`teacher.factors`, `teacher.regularization`, `teacher.alpha`): a bigger "
    "teacher is not always a better one.",
    "Try another kind of teacher (`teacher.kind` als, bpr or lightgcn), or bring your own features.",
    "Let the search try more (`teacher.factors`, `teacher.regularization`, `teacher.alpha`), or give the data more history.",
)


@dataclass(frozen=True)
class Verdict:
    """The run in two breaths.

    Attributes:
        title: the finding in a few words.
        sentence: the same with quality, size, speed and promotion.
        tone: good, mixed, bad or neutral; decides the colour only.
    """

    title: str
    sentence: str
    tone: Tone


@dataclass(frozen=True)
class Tile:
    """A key figure: what it is, its value, and what to compare it with."""

    label: str
    value: str
    note: str
    tone: Tone = "neutral"


def metric_of(summary: Summary, role: Role, name: str = "ndcg_at_10") -> float | None:
    """A test metric of one of the models."""
    return number(summary, "metrics", role.key, name)


def confidence(summary: Summary) -> float:
    """The level of the intervals; 0.95 if the summary does not say."""
    return number(summary, "gap_closed", "confidence") or number(summary, "config", "evaluate", "confidence") or 0.95


def teacher_adds_nothing(summary: Summary) -> bool:
    """Whether both were measured and the teacher does not beat a student trained alone."""
    teacher, scratch = metric_of(summary, TEACHER), metric_of(summary, SCRATCH)
    return teacher is not None and scratch is not None and teacher <= scratch


def teacher_lead_uncertain(summary: Summary) -> bool:
    """Whether the teacher's lead over a student trained alone may be chance."""
    low = number(summary, "intervals", "teacher_minus_scratch", "low")
    return low is not None and low <= 0.0


def beats_scratch(summary: Summary) -> bool | None:
    """Whether the student is better than one trained alone beyond chance; None if that was not measured."""
    low = number(summary, "intervals", "student_minus_scratch", "low")
    return None if low is None else low > 0.0


def ratio(summary: Summary, field: str) -> float | None:
    """How many times the teacher's ``field`` (parameters, bytes, median_ms) is the student's."""
    teacher, student = number(summary, "models", "teacher", field), number(summary, "models", "student", field)
    return None if not teacher or not student else teacher / student


def verdict(summary: Summary) -> Verdict:
    """What the run achieved, what it costs, and what became of the student."""
    title, quality, tone = _quality(summary)
    parts = [quality]
    savings = " and ".join(phrase for phrase in (_size_phrase(summary), _speed_phrase(summary)) if phrase)
    if savings:
        parts.append(f"It {savings}.")
    parts.append(gate_sentence(summary))
    return Verdict(title, " ".join(parts), tone)


def _quality(summary: Summary) -> tuple[str, str, Tone]:
    student, teacher, scratch = (metric_of(summary, role) for role in (STUDENT, TEACHER, SCRATCH))
    gap = number(summary, "gap_closed", "value")
    if student is None:
        return "The student was not evaluated", "There is no test result of the student in this run.", "bad"
    if teacher_adds_nothing(summary):
        found = (
            f"NDCG@10 of the teacher is {fmt.metric(teacher)}, not above the {fmt.metric(scratch)} of a student trained alone; the "
            f"distilled student has {fmt.metric(student)}"
        )
        if beats_scratch(summary):
            return (
                "This teacher is no better than training alone",
                f"{found}, which is above training alone beyond chance.",
                "mixed",
            )
        return "There is nothing to distil from this teacher", f"{found}.", "bad"
    if gap is None or teacher is None or scratch is None:
        against = "" if teacher is None else f", its teacher {fmt.metric(teacher)}"
        without = (
            "; without a student trained alone to compare with, what distillation added cannot be told"
            if scratch is None
            else ""
        )
        return "A student was distilled", f"The student has NDCG@10 {fmt.metric(student)}{against}{without}.", "neutral"
    low = number(summary, "intervals", "student_minus_teacher", "low")
    high = number(summary, "intervals", "student_minus_teacher", "high")
    told_apart = low is not None and high is not None and not low <= 0.0 <= high
    figures = (
        f"NDCG@10 is {fmt.metric(student)}, against {fmt.metric(teacher)} of the teacher and {fmt.metric(scratch)} of "
        "a student of the same size trained alone"
    )
    if gap >= 1.0:
        title = (
            "The student ranks better than its teacher" if told_apart else "The student ranks as well as its teacher"
        )
        if teacher_lead_uncertain(summary):
            return title, f"{figures}{UNCERTAIN}.", "mixed"
        return title, f"{figures}: it gained all that the teacher has over one trained alone{_beyond(gap)}.", "good"
    if gap > 0.0:
        title = f"The student closes {fmt.percent(gap)} of the gap to its teacher"
        doubt = ""
        tone: Tone = "good" if gap >= 0.5 else "mixed"
        if teacher_lead_uncertain(summary):
            title, doubt, tone = "The teacher's lead over training alone is not certain", UNCERTAIN, "mixed"
        elif beats_scratch(summary) is False:
            doubt = ", a gain over training alone that may be chance on these users"
            tone = "mixed"
        elif low is not None and high is not None and not told_apart:
            doubt = "; the remaining difference to the teacher may be chance"
        return title, f"{figures}{doubt}.", tone
    return "Distillation did not help on this data", f"{figures}: it is no better than training alone.", "bad"


UNCERTAIN = (
    "; but the teacher's own lead over training alone may be chance on these users, so there may be little to distil"
)


def _beyond(gap: float) -> str:
    return f", and {fmt.percent(gap - 1.0)} of that on top" if gap >= 1.005 else ""


def _size_phrase(summary: Summary) -> str:
    factor = ratio(summary, "parameters") or ratio(summary, "bytes")
    if factor is None:
        return ""
    if abs(factor - 1.0) < SAME:
        return "is as large as its teacher"
    teacher, student = (number(summary, "models", role, "bytes") for role in ("teacher", "student"))
    sizes = "" if teacher is None or student is None else f" ({fmt.size(student)} instead of {fmt.size(teacher)})"
    return f"is {_times(factor)} smaller{sizes}" if factor > 1.0 else f"is {_times(1.0 / factor)} larger{sizes}"


def _speed_phrase(summary: Summary) -> str:
    factor = ratio(summary, "median_ms")
    if factor is None:
        return ""
    if abs(factor - 1.0) < SAME:
        return "scores a user as fast as its teacher"
    if factor > 1.0:
        return f"scores a user {_times(factor)} faster"
    return f"scores a user {_times(1.0 / factor)} slower"


def _times(factor: float) -> str:
    return f"{fmt.times(factor)[:-1]} times"


def gate_sentence(summary: Summary) -> str:
    """Whether the student was promoted, and if not, the first reason."""
    promoted = dig(summary, "gate", "promoted")
    name, version = text(summary, "model", "name"), text(summary, "model", "version")
    which = f" ({name}, version {version})" if name and version else ""
    if promoted is True:
        return f"It was promoted to champion{which}."
    if text(summary, "gate", "verdict") == WAITING:
        return f"It was registered{which} and waits for a person's approval."
    if promoted is False:
        reasons = texts(summary, "gate", "reasons")
        because = f": {_sentence(reasons[0])}" if reasons else "."
        return f"It was registered{which} but not promoted{because}" if which else f"It was not promoted{because}"
    if dig(summary, "config", "registry", "enabled") is False:
        return "It was not registered, as this run asked."
    return "No gate has judged it."


def _sentence(words: str) -> str:
    words = words.strip()
    return words if not words or words.endswith((".", "!", "?")) else f"{words}."


def gap_sentence(summary: Summary) -> str:
    """The share of the gap that distillation closed, or why there is none."""
    value = number(summary, "gap_closed", "value")
    reason = _sentence(text(summary, "gap_closed", "reason"))
    if value is None:
        if not reason and teacher_adds_nothing(summary):
            reason = "The teacher does not beat a student trained alone, so there is no gap to close."
        return (
            f"Gap closed is not defined: {reason[0].lower()}{reason[1:]}" if reason else "Gap closed was not measured."
        )
    share = fmt.percent(value)
    if value > 1.0:
        said = (
            f"The student has {share} of the teacher's gain over a student trained alone: all of it and "
            f"{fmt.percent(value - 1.0)} more. Above 100 % the student ranks better than its teacher"
        )
    elif value < 0.0:
        said = f"The student is below a student trained alone: gap closed is {share}"
    else:
        said = f"Of what the teacher gains over a student trained alone, the student keeps {share}"
    low, high = number(summary, "gap_closed", "low"), number(summary, "gap_closed", "high")
    if low is not None and high is not None:
        level = fmt.percent(confidence(summary))
        said += f" ({level} interval {fmt.percent(low)} to {fmt.percent(high)}, resampling the test users)"
        if low <= 0.0 <= high:
            said += "; since the interval contains zero, the gain itself may be chance"
        elif value > 1.0 and low < 1.0:
            said += "; since the interval reaches below 100 %, take it as 'as good as', not as 'better'"
    elif reason:
        return f"{said}. It has no interval: {reason[0].lower()}{reason[1:]}"
    return f"{said}."


def difference_sentence(summary: Summary, other: Role) -> str:
    """Student minus ``other`` on the test users, with its interval and p-value in words; empty if not measured."""
    key = f"student_minus_{other.key}"
    mean, low, high = (number(summary, "intervals", key, field) for field in ("mean", "low", "high"))
    if mean is None:
        return ""
    p_value = number(summary, "intervals", key, "p_value")
    detail = [f"{fmt.signed(mean)} NDCG@10"]
    if low is not None and high is not None:
        detail.append(f"{fmt.percent(confidence(summary))} interval {fmt.signed(low)} to {fmt.signed(high)}")
    if p_value is not None:
        detail.append(fmt.probability(p_value))
    inside = "; ".join(detail)
    if low is None or high is None:
        return f"Against {other.phrase}: {inside}."
    if low <= 0.0 <= high:
        return (
            f"Against {other.phrase} no difference can be told: {inside}. Differences of this size are to be "
            "expected by chance among these users."
        )
    better = "better" if mean > 0.0 else "worse"
    return f"The student is {better} than {other.phrase}, beyond chance among these users: {inside}."


def differences(summary: Summary) -> list[str]:
    """All differences that were measured, in words."""
    return [said for role in (TEACHER, SCRATCH, SVD) if (said := difference_sentence(summary, role))]


def tiles(summary: Summary) -> list[Tile]:
    """The key figures on top of the report."""
    student, teacher = metric_of(summary, STUDENT), metric_of(summary, TEACHER)
    share = None if not teacher or student is None else student / teacher
    out = [
        Tile(
            "Ranking quality",
            fmt.metric(student),
            "NDCG@10 on the test part" + (f"; {fmt.percent(share)} of the teacher's" if share is not None else ""),
        ),
        _gap_tile(summary),
        _ratio_tile(summary, "Size", "bytes", "smaller", "larger", fmt.size),
        _ratio_tile(summary, "Speed", "median_ms", "faster", "slower", fmt.milliseconds),
        _gate_tile(summary),
    ]
    return out


def _gap_tile(summary: Summary) -> Tile:
    value = number(summary, "gap_closed", "value")
    if value is None:
        note = "the teacher does not beat training alone" if teacher_adds_nothing(summary) else "not measured"
        return Tile("Gap closed", fmt.MISSING, note, "bad" if teacher_adds_nothing(summary) else "neutral")
    low, high = number(summary, "gap_closed", "low"), number(summary, "gap_closed", "high")
    note = "of the teacher's gain over training alone"
    if low is not None and high is not None:
        note += f"; {fmt.percent(confidence(summary))} interval {fmt.percent(low)} to {fmt.percent(high)}"
    tone: Tone = "good" if value >= 0.5 else "mixed" if value > 0.0 else "bad"
    if low is not None and low <= 0.0 and tone == "good":
        tone = "mixed"
    return Tile("Gap closed", fmt.percent(value), note, tone)


def _ratio_tile(
    summary: Summary, label: str, field: str, less: str, more: str, show: Callable[[float | None], str]
) -> Tile:
    factor = ratio(summary, field)
    teacher, student = (number(summary, "models", role, field) for role in ("teacher", "student"))
    if factor is None:
        return Tile(label, fmt.MISSING if student is None else show(student), "no teacher to compare with")
    note = f"{show(student)}, the teacher {show(teacher)}" + (" a user" if field == "median_ms" else "")
    if abs(factor - 1.0) < SAME:
        return Tile(label, "the same", note, "mixed")
    if factor > 1.0:
        return Tile(label, f"{fmt.times(factor)} {less}", note, "good")
    return Tile(label, f"{fmt.times(1.0 / factor)} {more}", note, "bad")


def _gate_tile(summary: Summary) -> Tile:
    promoted = dig(summary, "gate", "promoted")
    name, version = text(summary, "model", "name"), text(summary, "model", "version")
    which = f"{name} version {version}" if name and version else ""
    if promoted is True:
        return Tile("Production", "Promoted", which or "the student is the champion", "good")
    if promoted is False:
        champion = text(summary, "gate", "champion")
        stays = f"; the champion stays version {champion}" if champion else ""
        waits = text(summary, "gate", "verdict") == WAITING
        said = "Waiting for approval" if waits else "Not promoted"
        return Tile("Production", said, (which or "registered") + stays, "mixed")
    return Tile("Production", "Not judged", "no registration in this run")


def advice(summary: Summary) -> list[str]:
    """What to do next: the run's own advice and, where there is nothing to distil, how to get further."""
    said = texts(summary, "advice")
    if not teacher_adds_nothing(summary):
        return said
    if beats_scratch(summary):
        use = "Meanwhile the distilled student is safe to use: it is better than one trained alone beyond chance, though not thanks to a better teacher."
    else:
        use = "If no teacher gets ahead, use the student trained alone: it is as small, and distillation has nothing to add on this data."
    return [*(said or NO_GAP_REMEDIES), use]
