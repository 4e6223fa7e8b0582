"""What keeps the distilled student honest: the no-distillation baseline."""

from __future__ import annotations

from typing import Annotated

from freqd.config import DistillConfig
from freqd.data.interactions import Split
from freqd.distill.baseline import train_baseline
from freqd.storage.store import ArtifactRef
from tasks.run_context import StageOutcome
from tasks.stage import Only, Result, Stage, cut, stage


class Alone(StageOutcome):
    """The no-distillation baseline."""

    @property
    def scratch(self) -> ArtifactRef:
        """Its model."""
        return self.refs["scratch"]


SCRATCH = Only(
    *("backbone", "layers", "dim", "init_std", "batch_size", "scratch_learning_rate", "scratch_weight_decay"),
    *("scratch_epochs", "decay", "eval_every", "patience", "max_seconds", "baseline_models"),
)


@stage("scratch", Alone, uses=["seed", "device"])
def scratch(at: Stage, split: ArtifactRef, config: Annotated[DistillConfig, SCRATCH]) -> Result:
    """Train models of the student's size without a teacher, and keep the best."""
    model = train_baseline(at.open(split, Split), config, at.environment())
    ndcg = model.info["valid_ndcg_at_10"]
    among = f", the best of {', '.join(config.baseline_models)}" if len(config.baseline_models) > 1 else ""
    headline = (
        f"dimension {model.features.dim}, no distillation: {model.info['kind']}{among}; validation NDCG@10 {ndcg:.4f}"
    )
    return Result({"scratch": model}, headline, {"valid_ndcg_at_10": ndcg}, model.history, lines=cut(model.info))
