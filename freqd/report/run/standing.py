"""How the models of a run stand to each other, as far as the numbers tell them apart."""

from __future__ import annotations

from typing import Literal

from freqd.report.palette import SCRATCH, Role
from freqd.report.run_result import RunResult

Standing = Literal["better", "worse", "as good", "not told apart"]

AS_GOOD = 0.02
"""Share of the other model's NDCG@10 that the interval of a student which is called as good may leave open."""

BASELINES = {"bpr": "BPR", "als": "ALS", "softmax": "softmax"}
"""Models of the student's size without a teacher, for a reader."""

REFERENCES = {
    "popular": "Best-sellers",
    "item-knn": "Item kNN",
    "ease": "EASE",
    **{kind: f"{name} of the student's size" for kind, name in BASELINES.items()},
    "filtered_svd": "SVD of the filtered teacher",
    "scratch": "No-distillation baseline",
    "svd": "SVD of the teacher",
}
"""All models that may be judged beside those of a run, for a reader."""


def metric_of(summary: RunResult, role: Role, name: str = "ndcg_at_10") -> float | None:
    """A test metric of one of the models; None if the run did not have the model."""
    return (summary.metrics.of(role.key) or {}).get(name)


def teacher_adds_nothing(summary: RunResult) -> bool:
    """Whether both were measured and the teacher does not beat the no-distillation baseline."""
    scratch = metric_of(summary, SCRATCH)
    return scratch is not None and summary.metrics.teacher["ndcg_at_10"] <= scratch


def teacher_lead_uncertain(summary: RunResult) -> bool:
    """Whether the teacher's lead over the no-distillation baseline may be chance."""
    lead = summary.intervals.get("teacher_minus_scratch")
    return lead is not None and lead.low <= 0.0


def references_ahead(summary: RunResult) -> list[str]:
    """Models that rank better than the teacher beyond chance, best first."""
    ahead = [
        model
        for model in summary.references.models
        if (lead := summary.intervals.get(f"teacher_minus_{model.name}")) is not None and lead.high < 0.0
    ]
    return [model.name for model in sorted(ahead, key=lambda model: -model.metrics["ndcg_at_10"])]


def small_models_near(summary: RunResult) -> list[str]:
    """Models of the student's size without a teacher, the no-distillation baseline apart, that the student does not beat beyond chance."""
    return [
        BASELINES[model.name]
        for model in summary.references.models
        if model.name in BASELINES and model.student_minus is not None and model.student_minus.low <= 0.0
    ]


def standing(summary: RunResult, other: Role) -> Standing | None:
    """How the student stands to another model on these users; None if that was not measured.

    It says no more than the paired interval: better or worse where the interval is on one side of 0, as good where it leaves
    room for a loss of at most ``AS_GOOD`` of the other's NDCG@10, and not told apart where it leaves room for more.
    """
    found, theirs = summary.intervals.get(f"student_minus_{other.key}"), metric_of(summary, other)
    if found is None or theirs is None:
        return None
    if found.low > 0.0:
        return "better"
    if found.high < 0.0:
        return "worse"
    return "as good" if found.low >= -AS_GOOD * theirs else "not told apart"


def baseline_phrase(summary: RunResult) -> str:
    """What the no-distillation baseline is: the best of the kinds that the run trained, or the only one."""
    trained = summary.training.scratch
    tried = {trial.kind for trial in trained.info.trials} if trained is not None else set()
    if trained is None or trained.info.kind is None or len(tried) < 2:
        return "the no-distillation baseline of the same size"
    name = BASELINES.get(trained.info.kind, trained.info.kind)
    return f"the best model of the same size without a teacher, chosen on validation ({name})"


def beats_scratch(summary: RunResult) -> bool | None:
    """Whether the student is significantly better than the no-distillation baseline; None if that was not measured."""
    gain = summary.intervals.get("student_minus_scratch")
    return None if gain is None else gain.low > 0.0


def distillation_added(summary: RunResult) -> bool:
    """Whether an epoch of the distillation was better on validation than its start; unknown counts as yes."""
    return summary.training.student.info.best_epoch != 0
