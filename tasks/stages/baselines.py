"""What keeps the distilled student honest: a student trained alone, and the SVD of the teacher."""

from __future__ import annotations

from typing import Any

from prefect import task
from prefect.client.schemas import State

from freqd.config import DistillConfig
from freqd.data.interactions import Split
from freqd.distill import svd_student, train_scratch
from freqd.embeddings import TrainedModel
from freqd.storage.store import ArtifactRef
from tasks.run_context import RunContext
from tasks.stage import Result, Tools, cut, is_transient, run_stage

SCRATCH_SETTINGS = {
    "backbone", "layers", "dim", "init_std", "batch_size", "scratch_learning_rate", "scratch_weight_decay", "scratch_epochs",
    "decay", "eval_every", "patience", "max_seconds",
}  # fmt: skip


@task(name="scratch", retries=2, retry_delay_seconds=5, retry_condition_fn=is_transient)
def scratch(context: RunContext, split: ArtifactRef, config: DistillConfig) -> State[Any]:
    """Train the student's model alone, without a teacher."""

    def compute(tools: Tools) -> Result:
        model = train_scratch(
            context.workspace.store.open(split, Split),
            config,
            seed=context.seed,
            device=context.device,
            checkpoint=tools.scratch,
            progress=tools.progress,
        )
        ndcg = model.info["valid_ndcg_at_10"]
        headline = f"{model.features.dim} numbers, trained alone: validation NDCG@10 {ndcg:.4f}"
        return Result({"scratch": model}, headline, {"valid_ndcg_at_10": ndcg}, model.history, lines=cut(model.info))

    return run_stage(
        context,
        "scratch",
        inputs={"split": split},
        settings={
            **config.model_dump(mode="json", include=SCRATCH_SETTINGS),
            "seed": context.seed,
            "device": context.device,
        },
        code=["freqd.distill.baseline", __name__],
        compute=compute,
    )


@task(name="svd", retries=2, retry_delay_seconds=5, retry_condition_fn=is_transient)
def svd(context: RunContext, teacher: ArtifactRef, dim: int) -> State[Any]:
    """The best approximation of the teacher's scores of the student's size, without training."""

    def compute(tools: Tools) -> Result:
        features = svd_student(context.workspace.store.open(teacher, TrainedModel).features, dim)
        model = TrainedModel(features, info={"method": "svd"})
        return Result({"svd": model}, f"{features.dim} numbers: the teacher's truncated SVD")

    return run_stage(
        context,
        "svd",
        inputs={"teacher": teacher},
        settings={"dim": dim},
        code=["freqd.distill.svd", __name__],
        compute=compute,
    )
