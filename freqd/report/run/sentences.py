"""What the numbers mean, in sentences that claim no more than the numbers do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from freqd import numbers as fmt
from freqd.evaluate.significance import Interval
from freqd.gate import WAITING
from freqd.report.palette import SCRATCH, SVD, TEACHER
from freqd.report.run.savings import SAME, ratio, size_phrase, speed_phrase, speeds_differ, spread_ms
from freqd.report.run.settings import setting_of
from freqd.report.run.standing import (
    baseline_phrase,
    beats_scratch,
    distillation_added,
    metric_of,
    small_models_near,
    standing,
    teacher_adds_nothing,
    teacher_lead_uncertain,
)
from freqd.report.run_result import RunResult
from freqd.report.run_result_parts import ModelFacts

Tone = Literal["good", "mixed", "bad", "neutral"]
NO_GAP_REMEDIES = (
    "Try other teacher sizes and strengths (`teacher.factors`, `teacher.regularization`, `teacher.alpha`): a bigger "
    "teacher is not always a better one.",
    "Try another kind of teacher (`teacher.kind` als, bpr or lightgcn), or external embeddings (`teacher.kind=features`).",
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


def verdict(summary: RunResult) -> Verdict:
    """What the run achieved, what it costs, and what became of the student."""
    title, quality, tone = _quality(summary)
    start = (
        ""
        if distillation_added(summary)
        else " Distillation added nothing to the start: no epoch was better on validation."
    )
    savings = f"It {size_phrase(summary)} and {speed_phrase(summary)}."
    near = small_models_near(summary)
    rivals = f" Of the same size, {' and '.join(near)} alone may be as good on these users." if near else ""
    return Verdict(title, f"{quality}{rivals}{start} {savings} {gate_sentence(summary)}", tone)


def _quality(summary: RunResult) -> tuple[str, str, Tone]:
    student, teacher = (model["ndcg_at_10"] for model in (summary.metrics.student, summary.metrics.teacher))
    scratch, gap = metric_of(summary, SCRATCH), summary.gap_closed.value
    if teacher_adds_nothing(summary):
        found = (
            f"NDCG@10 of the teacher is {fmt.metric(teacher)}, not above the {fmt.metric(scratch)} of the no-distillation baseline; the "
            f"distilled student has {fmt.metric(student)}"
        )
        if beats_scratch(summary):
            return (
                "This teacher is no better than the no-distillation baseline",
                f"{found}, which is significantly above the baseline.",
                "mixed",
            )
        return "There is nothing to distil from this teacher", f"{found}.", "bad"
    if scratch is None:
        said = (
            f"The student has NDCG@10 {fmt.metric(student)}, its teacher {fmt.metric(teacher)}; without the no-distillation baseline "
            "it is not known what distillation added."
        )
        return "A student was distilled", said, "neutral"
    figures = (
        f"NDCG@10 is {fmt.metric(student)}, against {fmt.metric(teacher)} of the teacher and {fmt.metric(scratch)} of "
        f"{baseline_phrase(summary)}"
    )
    if gap is None:
        beats = "; the student itself is significantly above that baseline" if beats_scratch(summary) else ""
        return (
            "The teacher's lead over the no-distillation baseline may be chance",
            f"{figures}{UNCERTAIN}{beats}.",
            "mixed",
        )
    return _closed(summary, gap, figures)


def _closed(summary: RunResult, gap: float, figures: str) -> tuple[str, str, Tone]:
    """The verdict where there is a gap, of which the share ``gap`` was closed."""
    stands = standing(summary, TEACHER)
    if gap >= 1.0:
        title = {
            "better": "The student ranks better than its teacher",
            "as good": "The student ranks as well as its teacher",
        }.get(stands or "", "Student and teacher are not told apart on these users")
        return title, f"{figures}: it has all of the teacher's lead over that baseline{_beyond(gap)}.", "good"
    if gap > 0.0:
        title = f"The student closes {fmt.percent(gap)} of the gap to its teacher"
        doubt = ""
        tone: Tone = "good" if gap >= 0.5 else "mixed"
        if beats_scratch(summary) is False:
            doubt = "; the gain over the baseline may be chance on these users"
            tone = "mixed"
        elif stands != "worse":
            doubt = "; the remaining difference to the teacher may be chance"
        return title, f"{figures}{doubt}.", tone
    return "Distillation did not help on this data", f"{figures}: it is no better than that baseline.", "bad"


UNCERTAIN = (
    "; but the teacher's own lead over the baseline may be chance on these users, so there may be little to distil"
)


def _beyond(gap: float) -> str:
    return f", and {fmt.percent(gap - 1.0)} of that on top" if gap >= 1.005 else ""


def gate_sentence(summary: RunResult) -> str:
    """Whether the student was promoted, and if not, the first reason."""
    gate, model = summary.gate, summary.model
    if gate is None:
        if setting_of(summary.config, "registry.enabled") is False:
            return "It was not registered, as this run asked."
        return "It has not passed through a gate."
    which = f" ({model.name}, version {model.version})" if model else ""
    subject = "It"
    if setting_of(summary.config, "registry.candidate") == "baseline":
        subject = "As this run asked, the no-distillation baseline is the candidate: it"
    if gate.promoted:
        return f"{subject} was promoted to champion{which}."
    if gate.verdict == WAITING:
        return f"{subject} was registered{which} and waits for a person's approval."
    because = f": {_sentence(gate.reasons[0])}" if gate.reasons else "."
    return (
        f"{subject} was registered{which} but not promoted{because}"
        if which
        else f"{subject} was not promoted{because}"
    )


def _sentence(words: str) -> str:
    words = words.strip()
    return words if not words or words.endswith((".", "!", "?")) else f"{words}."


def gap_sentence(summary: RunResult) -> str:
    """The share of the gap that distillation closed, or why there is none."""
    closed = summary.gap_closed
    value, low, high, reason = closed.value, closed.low, closed.high, _sentence(closed.reason)
    if value is None:
        if not reason and teacher_adds_nothing(summary):
            reason = "The teacher does not beat the no-distillation baseline, so there is no gap to close."
        return (
            f"Gap closed is not defined: {reason[0].lower()}{reason[1:]}" if reason else "Gap closed was not measured."
        )
    share = fmt.percent(value)
    if value > 1.0:
        said = (
            f"The student has {share} of the teacher's gain over the no-distillation baseline: all of it and "
            f"{fmt.percent(value - 1.0)} more"
        )
    elif value < 0.0:
        said = f"The student is below the no-distillation baseline: gap closed is {share}"
    else:
        said = f"The student keeps {share} of the teacher's gain over the no-distillation baseline"
    if low is not None and high is not None:
        level = fmt.percent(closed.confidence)
        said += f" ({level} interval {fmt.percent(low)} to {fmt.percent(high)}, resampling the test users)"
        if low <= 0.0 <= high:
            said += "; since the interval contains zero, the gain itself may be chance"
        elif value > 1.0 and low < 1.0:
            said += "; since the interval reaches below 100 %, this does not say that it ranks better than its teacher"
    return f"{said}."


def share_of_gap(closed: Interval) -> str:
    """A gap that was closed, with its interval where there is one, in figures."""
    share = fmt.percent(closed.value)
    if closed.low is None or closed.high is None:
        return share
    return f"{share} ({fmt.percent(closed.low)} to {fmt.percent(closed.high)})"


def own_quality(summary: RunResult) -> str:
    """The student's NDCG@10 with its interval where it was measured, in figures."""
    value, known = fmt.metric(summary.metrics.student["ndcg_at_10"]), summary.evaluated
    own = known.ndcg_at_10 if known else None
    return value if own is None else f"{value} ({fmt.metric(own.low)} to {fmt.metric(own.high)})"


def difference_sentence(summary: RunResult, other: str, phrase: str) -> str:
    """Student minus the model ``other`` on the test users, with its interval and p-value in words; empty if not measured.

    Args:
        summary: the run's result.
        other: the model's name in it.
        phrase: how a sentence calls the model.
    """
    found = summary.intervals.get(f"student_minus_{other}")
    if found is None:
        return ""
    level = fmt.percent(summary.gap_closed.confidence)
    inside = (
        f"{fmt.signed(found.mean)} NDCG@10; {level} interval {fmt.signed(found.low)} to {fmt.signed(found.high)}; "
        f"{fmt.probability(found.p_value)}"
    )
    if found.low <= 0.0 <= found.high:
        return (
            f"There is no significant difference to {phrase}: {inside}. Differences of this size are "
            "expected by chance with these users."
        )
    better = "better" if found.mean > 0.0 else "worse"
    return f"The student is significantly {better} than {phrase} on these users: {inside}."


def differences(summary: RunResult) -> list[str]:
    """All differences that were measured, in words."""
    said = [difference_sentence(summary, role.key, role.phrase) for role in (TEACHER, SCRATCH, SVD)]
    return [line for line in (*said, difference_sentence(summary, "popular", "the list of best-sellers")) if line]


def tiles(summary: RunResult) -> list[Tile]:
    """The key figures on top of the report."""
    student, teacher = (model["ndcg_at_10"] for model in (summary.metrics.student, summary.metrics.teacher))
    share = f"; {fmt.percent(student / teacher)} of the teacher's" if teacher else ""
    return [
        Tile("Ranking quality", fmt.metric(student), f"NDCG@10 on the test split{share}"),
        _gap_tile(summary),
        _size_tile(summary),
        _speed_tile(summary),
        _gate_tile(summary),
    ]


def _gap_tile(summary: RunResult) -> Tile:
    closed = summary.gap_closed
    if closed.value is None:
        nothing, note = teacher_adds_nothing(summary), "not measured"
        if nothing:
            note = "the teacher does not beat the no-distillation baseline"
        elif teacher_lead_uncertain(summary):
            note = "the teacher's lead over the no-distillation baseline may be chance"
        return Tile("Gap closed", fmt.MISSING, note, "bad" if nothing else "neutral")
    note = "of the teacher's gain over the no-distillation baseline"
    if closed.low is not None and closed.high is not None:
        level = fmt.percent(closed.confidence)
        note += f"; {level} interval {fmt.percent(closed.low)} to {fmt.percent(closed.high)}"
    tone: Tone = "good" if closed.value >= 0.5 else "mixed" if closed.value > 0.0 else "bad"
    if closed.low is not None and closed.low <= 0.0 and tone == "good":
        tone = "mixed"
    return Tile("Gap closed", fmt.percent(closed.value), note, tone)


def _size_tile(summary: RunResult) -> Tile:
    factor, (student, teacher) = ratio(summary, lambda model: model.bytes), _both(summary)
    note = f"{fmt.size(student.bytes)}, the teacher {fmt.size(teacher.bytes)}"
    return _ratio_tile("Size", factor, ("the same", "smaller", "larger"), note, abs(factor - 1.0) >= SAME)


def _speed_tile(summary: RunResult) -> Tile:
    factor, (student, teacher) = ratio(summary, lambda model: model.median_ms), _both(summary)
    note = f"{spread_ms(student)}, the teacher {spread_ms(teacher)} a user"
    return _ratio_tile("Speed", factor, ("about the same", "faster", "slower"), note, speeds_differ(summary))


def _both(summary: RunResult) -> tuple[ModelFacts, ModelFacts]:
    return summary.models.student, summary.models.teacher


def _ratio_tile(label: str, factor: float, words: tuple[str, str, str], note: str, differ: bool) -> Tile:
    """``words`` say that the student's size or time is the same, less or more; ``factor`` is how many times it the teacher's is."""
    same, less, more = words
    if not differ:
        return Tile(label, same, note, "mixed")
    if factor > 1.0:
        return Tile(label, f"{fmt.times(factor)} {less}", note, "good")
    return Tile(label, f"{fmt.times(1.0 / factor)} {more}", note, "bad")


def _gate_tile(summary: RunResult) -> Tile:
    gate, model = summary.gate, summary.model
    if gate is None:
        return Tile("Production", "Not registered", "no registration in this run")
    which = f"{model.name} version {model.version}" if model else ""
    if gate.promoted:
        return Tile("Production", "Promoted", which or "the student is the champion", "good")
    stays = f"; the champion stays version {gate.champion}" if gate.champion else ""
    said = "Waiting for approval" if gate.verdict == WAITING else "Not promoted"
    return Tile("Production", said, (which or "registered") + stays, "mixed")


def advice(summary: RunResult) -> list[str]:
    """What to do next: the run's own advice and, where there is nothing to distil, how to get further."""
    said = summary.advice
    if not teacher_adds_nothing(summary):
        return list(said)
    if beats_scratch(summary):
        use = "Meanwhile the distilled student is safe to use: it is significantly better than the no-distillation baseline, though not thanks to a better teacher."
    else:
        use = (
            "If no teacher gets ahead, use the no-distillation baseline: it is as small, and distillation has nothing to add on this data. "
            "The same command with --set registry.candidate=baseline registers it; all else comes from the cache."
        )
    return [*(said or NO_GAP_REMEDIES), use]
