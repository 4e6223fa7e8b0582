"""What every comparison should show beside the student: best-sellers, item-kNN and EASE on the test split."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict

from freqd.config import EvaluateConfig
from freqd.config.models import Reference
from freqd.data.interactions import Split
from freqd.evaluate import Evaluation
from freqd.evaluate import evaluate as judge
from freqd.storage.store import ArtifactRef, Facts, Store
from freqd.teachers.references import find_reference
from tasks.run_context import StageOutcome
from tasks.runtime.page import Shown
from tasks.stage import Result, Stage, stage
from tasks.stages.inputs import JUDGING


class ReferenceSize(BaseModel):
    """Numbers that a reference keeps, and its NDCG@10 on validation."""

    model_config = ConfigDict(frozen=True)

    parameters: int
    valid_ndcg_at_10: float


class ReferenceFacts(BaseModel):
    """Of all references, by name."""

    model_config = ConfigDict(frozen=True)

    sizes: dict[str, ReferenceSize]

    @classmethod
    def open(cls, store: Store, ref: ArtifactRef) -> Self:
        """Read them."""
        return cls.model_validate(store.open(ref, Facts).values)


class Referred(StageOutcome):
    """References of any size on the test split."""

    @property
    def facts(self) -> ArtifactRef:
        """Their sizes."""
        return self.refs["facts"]

    @property
    def reports(self) -> dict[str, ArtifactRef]:
        """How well each ranks, by name."""
        return {name: ref for name, ref in self.refs.items() if name != "facts"}


@stage("references", Referred, uses=["seed"])
def references(
    at: Stage,
    split: ArtifactRef,
    names: tuple[Reference, ...],
    max_items: int,
    config: Annotated[EvaluateConfig, JUDGING],
) -> Result:
    """Fit each reference, its settings by validation, and judge it on the test split; the models are not kept."""
    parts = at.open(split, Split)
    left_out = [name for name in names if name == "ease" and parts.n_items > max_items]
    fitted = [name for name in names if name not in left_out]
    reports: dict[str, Evaluation] = {}
    sizes: dict[str, ReferenceSize] = {}
    trials = []
    for number, name in enumerate(fitted):
        own = replace(at.environment().piece(number, len(fitted), f"{name}: "), checkpoint=None)
        found = find_reference(name, parts, own, max_items=max_items)
        reports[name] = judge(found.scorer, parts, config)
        sizes[name] = ReferenceSize(parameters=found.parameters, valid_ndcg_at_10=found.info["valid_ndcg_at_10"])
        trials += [{"model": name, **trial} for trial in found.info["trials"]]
    numbers = {name: report.metrics["ndcg_at_10"] for name, report in reports.items()}
    lines = [
        f"ease is left out: {parts.n_items:,} items are more than baselines.max_items = {max_items:,}" for _ in left_out
    ]
    return Result(
        {**reports, "facts": Facts.of(ReferenceFacts(sizes=sizes))},
        "test NDCG@10: " + ", ".join(f"{name} {value:.4f}" for name, value in numbers.items()),
        {f"{name}_ndcg_at_10": value for name, value in numbers.items()},
        shown=[Shown(key="references", content=trials, description="References tried, judged on validation")]
        if trials
        else [],
        lines=lines,
    )
