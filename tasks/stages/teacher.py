"""Stage 3: the teacher."""

from __future__ import annotations

from typing import Any

from prefect import task
from prefect.client.schemas import State

from freqd.config import StartConfig, TeacherConfig
from freqd.data.interactions import Split
from freqd.embeddings import TrainedModel
from freqd.storage.store import ArtifactRef
from freqd.teachers.earlier import Previous
from freqd.teachers.teacher import START, source_digest, train_teacher
from tasks.earlier_run import Before
from tasks.run_context import RunContext
from tasks.runtime.page import Shown
from tasks.stage import Result, Tools, is_transient, run_stage


@task(name="teacher", retries=2, retry_delay_seconds=5, retry_condition_fn=is_transient)
def teacher(
    context: RunContext,
    split: ArtifactRef,
    config: TeacherConfig,
    before: Before | None = None,
    start: StartConfig = START,
) -> State[Any]:
    """Train the teacher, or bring it in; search its size and regularisation on validation, or carry an earlier one on."""
    store = context.workspace.store
    carried = before if config.kind == "als" else None

    def compute(tools: Tools) -> Result:
        present = store.open(split, Split)
        previous = None
        if carried is not None:
            previous = Previous.of(store.open(carried.teacher, TrainedModel), store.open(carried.split, Split), present)
        model = train_teacher(
            present,
            config,
            seed=context.seed,
            device=context.device,
            threads=context.threads,
            checkpoint=tools.scratch,
            previous=previous,
            start=start,
            progress=tools.progress,
        )
        trials = model.info.get("trials") or []
        search = Shown(key="teacher-search", content=trials, description="Teachers tried, judged on validation")
        ndcg = model.info["valid_ndcg_at_10"]
        headline = f"{config.kind} with {model.features.dim} numbers: validation NDCG@10 {ndcg:.4f}"
        if carried is not None:
            headline += f" ({model.info['start']['way']} from run {carried.run})"
        elif len(trials) > 1:
            headline += f" (best of {len(trials)})"
        metrics = {"valid_ndcg_at_10": ndcg, "dim": model.features.dim, "parameters": model.features.n_parameters}
        lines = [f"warning: {text}" for text in model.info.get("warnings", [])]
        for side, found in (model.info.get("brought") or {}).items():
            lines.append(
                f"{side}: {found['matched']:,} with features, {found['missing']:,} without, which score 0 everywhere"
            )
        return Result({"teacher": model}, headline, metrics, model.history, [search] if trials else [], lines)

    return run_stage(
        context,
        "teacher",
        inputs={
            "split": split,
            **({} if carried is None else {"before": carried.teacher, "before_split": carried.split}),
        },
        settings={
            **config.model_dump(mode="json", exclude={"features"}),  # its digest stands for it
            "seed": context.seed,
            "device": context.device,
            "source_digest": source_digest(config),
            **({} if carried is None else {"start": start.model_dump(mode="json", include={"sweeps", "tolerance"})}),
        },
        code=["freqd.teachers.teacher", __name__],
        compute=compute,
    )
