"""What each figure says, for those who read it and for those who cannot see it."""

from __future__ import annotations

from dataclasses import dataclass

from freqd import numbers as fmt
from freqd.report.palette import ROLES, STUDENT, TEACHER
from freqd.report.run import groups
from freqd.report.run.figures_groups import COMPARED, Measure, by_activity, by_popularity
from freqd.report.run.figures_quality import quality_caption
from freqd.report.run.figures_spectrum import spectrum_caption
from freqd.report.run.savings import spread_ms
from freqd.report.run.spectrum_sentences import mastery_falls, side_sentences
from freqd.report.run.standing import metric_of
from freqd.report.run_result import RunResult
from freqd.report.run_result_parts import Side


@dataclass(frozen=True)
class Caption:
    """The line below a figure (may be empty) and its alternative text, which carries the numbers."""

    text: str
    alt: str


def captions(summary: RunResult) -> dict[str, Caption]:
    """Captions and alternative texts by figure name."""
    return {
        "quality_size": Caption(
            f"Up and to the left is better. Models of equal size are drawn side by side. {quality_caption(summary)}",
            _told("Test NDCG@10 against the number of parameters", _sizes(summary)),
        ),
        "quality": Caption(quality_caption(summary), _told("Bars of test NDCG@10 by model", _quality(summary))),
        "spectrum_user": _spectrum(summary, "user"),
        "spectrum_item": _spectrum(summary, "item"),
        "learning": Caption(
            "A marker is the best validation, which was kept. A dashed line is a model that has no epochs.",
            _told("Validation NDCG@10 over training", _validation(summary)),
        ),
        "mastery": Caption(
            " ".join(["Low λ is what similar users or items share, high λ is detail.", *mastery_falls(summary)]),
            "The student's mastery of the teacher by frequency band over epochs; the tables of bands hold the final values.",
        ),
        "gains_users": Caption("", _told("Test NDCG@10 by the users' activity", _groups(by_activity(summary)))),
        "gains_items": Caption(
            "Head, mid and tail are the most, less and least popular items.",
            _told("Test recall@10 by the items' popularity", _groups(by_popularity(summary))),
        ),
        "differences_users": Caption(
            f"A bar that does not touch 0 is more than chance for that group. Each is a {fmt.percent(summary.gap_closed.confidence)} interval "
            "for its group alone; among many, some miss by chance.",
            _told("Student minus others in NDCG@10 by the users' activity", _differences(groups.by_activity(summary))),
        ),
        "differences_items": Caption(
            "Recall of all test targets in the group together, resampled over users.",
            _told(
                "Student minus others in recall@10 by the items' popularity",
                _differences(groups.by_popularity(summary)),
            ),
        ),
        "costs_stages": Caption(
            "Pale bars were taken from an earlier run.", _told("Time by stage of the run", _stages(summary))
        ),
        "costs_models": Caption(
            "One user against all items, one thread; median, and the range over repetitions.",
            _told("Size and time per user, by model", _savings(summary)),
        ),
    }


def _told(what: str, values: list[str]) -> str:
    return f"{what}: {'; '.join(values)}." if values else f"{what}."


def _quality(summary: RunResult) -> list[str]:
    values = [(role, metric_of(summary, role)) for role in ROLES]
    return [f"{role.label} {fmt.metric(value)}" for role, value in values if value is not None]


def _sizes(summary: RunResult) -> list[str]:
    return [
        f"{role.label} {fmt.metric(metric_of(summary, role))} with {fmt.count(model.parameters)}"
        for role in ROLES
        if (model := summary.models.of(role.key))
    ]


def _validation(summary: RunResult) -> list[str]:
    return [
        f"{role.label} ends at {fmt.metric(model.valid_ndcg_at_10)}"
        for role in ROLES
        if (model := summary.models.of(role.key)) and model.valid_ndcg_at_10 is not None
    ]


def _stages(summary: RunResult) -> list[str]:
    return [f"{stage.name} {fmt.duration(stage.seconds)}" for stage in summary.stages]


def _savings(summary: RunResult) -> list[str]:
    compared = ((TEACHER, summary.models.teacher), (STUDENT, summary.models.student))
    return [f"{role.label} {fmt.size(model.bytes)}, {spread_ms(model)}" for role, model in compared]


def _spectrum(summary: RunResult, side: Side) -> Caption:
    said = " ".join(side_sentences(summary, side))
    return Caption(spectrum_caption(summary, side), f"Spectrum of the {side}s' graph by band. {said}")


def _groups(measure: Measure) -> list[str]:
    return [
        f"{name}, " + ", ".join(f"{role.label} {fmt.metric(measure.of(role, name))}" for role in COMPARED)
        for name in measure.values[TEACHER]
    ]


def _differences(rows: list[groups.GroupDifference]) -> list[str]:
    return [
        f"{row.group}, {row.other.label} {fmt.signed(row.found.mean)} ({fmt.signed(row.found.low)} to {fmt.signed(row.found.high)})"
        for row in rows
        if row.found is not None
    ]
