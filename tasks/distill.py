"""Stage 5: the student learns from the teacher."""

from __future__ import annotations

from typing import Any

from prefect import task
from prefect.client.schemas import State

from freqd import distill as library
from freqd.config import DistillConfig, SpectralConfig
from freqd.data.types import Split
from freqd.features import FeatureTable, TrainedModel
from freqd.graph import Graphs
from freqd.spectral import Mastery, Spectrum
from freqd.store import ArtifactRef
from tasks.context import RunContext
from tasks.stage import Result, Tools, is_transient, run_stage


@task(name="distill", retries=2, retry_delay_seconds=5, retry_condition_fn=is_transient)
def distill(
    context: RunContext,
    split: ArtifactRef,
    teacher: ArtifactRef,
    graphs: ArtifactRef,
    spectrum: ArtifactRef,
    config: DistillConfig,
    spectral: SpectralConfig,
) -> State[Any]:
    """Distil the teacher into the student with the objectives of the settings."""
    store = context.workspace.store

    def compute(tools: Tools) -> Result:
        learnt_from = store.open(teacher, TrainedModel)
        both, found = store.open(graphs, Graphs), store.open(spectrum, Spectrum)
        users = Mastery(learnt_from.features.users, both.user, found.edges, spectral)
        items = Mastery(learnt_from.features.items, both.item, found.edges, spectral)

        def probe(epoch: int, student: FeatureTable) -> dict[str, list[float]]:
            return {"mastery_user": users(student.users).tolist(), "mastery_item": items(student.items).tolist()}

        model = library.distill(
            store.open(split, Split),
            learnt_from,
            both,
            found,
            config,
            seed=context.seed,
            device=context.device,
            checkpoint=tools.scratch,
            probe=probe,
            progress=tools.progress,
        )
        ndcg = model.info["valid_ndcg_at_10"]
        names = " + ".join(o.name for o in config.objectives) or "no objective"
        headline = f"{model.features.dim} numbers, {names}: validation NDCG@10 {ndcg:.4f}"
        return Result({"student": model}, headline, {"valid_ndcg_at_10": ndcg}, model.history)

    return run_stage(
        context,
        "distill",
        inputs={"split": split, "teacher": teacher, "graphs": graphs, "spectrum": spectrum},
        settings={
            **config.model_dump(
                mode="json", exclude={"baselines", "scratch_learning_rate", "scratch_weight_decay", "scratch_epochs"}
            ),
            "spectral": spectral.model_dump(mode="json", include={"method", "exact_below", "degree"}),
            "seed": context.seed,
            "device": context.device,
        },
        code=["freqd.distill.*"],
        compute=compute,
    )
