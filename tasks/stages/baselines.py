"""What keeps the distilled student honest: models of its size that need no teacher."""

from __future__ import annotations

from typing import Annotated

from freqd.config import BaselinesConfig, DistillConfig
from freqd.data.interactions import Split
from freqd.distill.baseline import train_baselines
from freqd.storage.store import ArtifactRef
from tasks.run_context import StageOutcome
from tasks.stage import Result, Stage, cut, stage
from tasks.stage_entry import Only, Without

SCRATCH = "scratch"
"""The no-distillation baseline, among the models of its stage, which stand there by their kinds as well."""


class SmallModels(StageOutcome):
    """Models of the student's size without a teacher."""

    @property
    def scratch(self) -> ArtifactRef:
        """The no-distillation baseline."""
        return self.refs[SCRATCH]

    @property
    def others(self) -> dict[str, ArtifactRef]:
        """The others, by kind."""
        return {kind: ref for kind, ref in self.refs.items() if ref != self.scratch}


STUDENT = Only("backbone", "layers", "dim", "init_std", "batch_size", "decay", "eval_every", "patience")
"""What they share with the distilled student."""


@stage("baselines", SmallModels, uses=["seed", "device"])
def baselines(
    at: Stage,
    split: ArtifactRef,
    student: Annotated[DistillConfig, STUDENT],
    config: Annotated[BaselinesConfig, Without("max_items")],
) -> Result:
    """Train models of the student's size without a teacher; the best is the no-distillation baseline."""
    found = train_baselines(at.open(split, Split), student, config, at.environment())
    best = found.models[found.best]
    ndcg = best.info["valid_ndcg_at_10"]
    among = f", the best of {', '.join(found.models)}" if len(found.models) > 1 else ""
    headline = f"dimension {student.dim}, no distillation: {found.best}{among}; validation NDCG@10 {ndcg:.4f}"
    return Result(
        {**found.models, SCRATCH: best}, headline, {"valid_ndcg_at_10": ndcg}, best.history, lines=cut(best.info)
    )
