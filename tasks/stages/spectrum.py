"""Stage 4: which graph frequencies carry the teacher's ranking, and the filter that follows."""

from __future__ import annotations

from typing import Any

import numpy as np
from prefect import task
from prefect.client.schemas import State

from freqd.config import SpectralConfig
from freqd.data.interactions import Split
from freqd.embeddings import TrainedModel
from freqd.evaluate.validation import Validation
from freqd.graph import Graphs
from freqd.spectral import analyse
from freqd.storage.store import ArtifactRef
from tasks.run_context import RunContext
from tasks.runtime.page import Shown
from tasks.stage import Result, Tools, is_transient, run_stage

VALIDATION_USERS = 4000
"""The analysis asks for dozens of rankings: no more users than this are ranked for each, always the same ones."""


@task(name="spectrum", retries=2, retry_delay_seconds=5, retry_condition_fn=is_transient)
def spectrum(
    context: RunContext, split: ArtifactRef, graphs: ArtifactRef, teacher: ArtifactRef, config: SpectralConfig
) -> State[Any]:
    """Analyse the teacher by bands and choose the filters, on the validation part alone."""
    store = context.workspace.store

    def compute(tools: Tools) -> Result:
        validate = Validation.of(store.open(split, Split), limit=VALIDATION_USERS, seed=context.seed)
        found = analyse(
            store.open(graphs, Graphs),
            store.open(teacher, TrainedModel).features,
            validate.per_user,
            config,
            rng=np.random.default_rng(context.seed),
            validation=validate,
            progress=tools.progress,
        )
        chosen = found.ranking_filters
        headline = f"ranking filter: users {chosen.user.label()}, items {chosen.item.label()}"
        metrics: dict[str, float | int | None] = {"base_valid_ndcg_at_10": found.base_ndcg}
        for name, side in (("user", found.user), ("item", found.item)):
            for quantity in ("energies", "density", "importance_only", "importance_without"):
                for band, value in enumerate(getattr(side, quantity)):
                    metrics[f"{name}_{quantity}_band_{band}"] = float(value)
        reason = Shown(key="spectrum", content=found.reason, description=headline)
        return Result({"spectrum": found}, headline, metrics, shown=[reason])

    return run_stage(
        context,
        "spectrum",
        inputs={"split": split, "graphs": graphs, "teacher": teacher},
        settings={**config.model_dump(mode="json"), "seed": context.seed},
        code=["freqd.spectral", "freqd.evaluate", __name__],
        compute=compute,
    )
