"""Stage 3: the teacher."""

from __future__ import annotations

from typing import Any

from prefect import task
from prefect.artifacts import create_table_artifact
from prefect.client.schemas import State

from freqd.config import TeacherConfig
from freqd.data.types import Split
from freqd.models.teacher import source_digest, train_teacher
from freqd.store import ArtifactRef
from tasks.context import RunContext
from tasks.stage import Result, Tools, is_transient, run_stage


@task(name="teacher", retries=2, retry_delay_seconds=5, retry_condition_fn=is_transient)
def teacher(context: RunContext, split: ArtifactRef, config: TeacherConfig) -> State[Any]:
    """Train the teacher, or bring it in; search its size and regularisation on validation."""

    def compute(tools: Tools) -> Result:
        model = train_teacher(
            context.workspace.store.open(split, Split),
            config,
            seed=context.seed,
            device=context.device,
            threads=context.threads,
            checkpoint=tools.scratch,
            progress=tools.progress,
        )
        trials = model.info.get("trials") or []
        if trials:
            create_table_artifact(trials, key="teacher-search", description="Teachers tried, judged on validation")
        ndcg = model.info["valid_ndcg_at_10"]
        headline = f"{config.kind} with {model.features.dim} numbers: validation NDCG@10 {ndcg:.4f}"
        if len(trials) > 1:
            headline += f" (best of {len(trials)})"
        metrics = {"valid_ndcg_at_10": ndcg, "dim": model.features.dim, "parameters": model.features.n_parameters}
        return Result({"teacher": model}, headline, metrics, model.history)

    return run_stage(
        context,
        "teacher",
        inputs={"split": split},
        settings={
            **config.model_dump(mode="json"),
            "seed": context.seed,
            "device": context.device,
            "source_digest": source_digest(config),
        },
        code=["freqd.models.teacher"],
        compute=compute,
    )
