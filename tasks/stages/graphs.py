"""Stage 2: the graphs of users and of items."""

from __future__ import annotations

from typing import Any

from prefect import task
from prefect.client.schemas import State

from freqd.config import GraphConfig
from freqd.data.interactions import Split
from freqd.embeddings import TrainedModel
from freqd.graph import build_graphs
from freqd.storage.store import ArtifactRef
from tasks.run_context import RunContext
from tasks.stage import Result, Tools, is_transient, run_stage


@task(name="graph", retries=2, retry_delay_seconds=5, retry_condition_fn=is_transient)
def graph(
    context: RunContext, split: ArtifactRef, config: GraphConfig, teacher: ArtifactRef | None = None
) -> State[Any]:
    """Build the graphs; those of kind ``features`` need the teacher."""
    store = context.workspace.store

    def compute(tools: Tools) -> Result:
        features = store.open(teacher, TrainedModel).features if teacher is not None else None
        graphs = build_graphs(store.open(split, Split).train, config, features)
        edges = {"user": graphs.user.adjacency.nnz // 2, "item": graphs.item.adjacency.nnz // 2}
        isolated = {
            "user": int((graphs.user.adjacency.indptr[1:] == graphs.user.adjacency.indptr[:-1]).sum()),
            "item": int((graphs.item.adjacency.indptr[1:] == graphs.item.adjacency.indptr[:-1]).sum()),
        }
        headline = (
            f"{config.kind}: {edges['user']:,} user edges ({isolated['user']:,} isolated), "
            f"{edges['item']:,} item edges ({isolated['item']:,} isolated)"
        )
        metrics = {f"{side}_edges": n for side, n in edges.items()} | {
            f"{side}_isolated": n for side, n in isolated.items()
        }
        return Result({"graphs": graphs}, headline, metrics)

    inputs = {"split": split} if teacher is None else {"split": split, "teacher": teacher}
    return run_stage(
        context,
        "graph",
        inputs=inputs,
        settings=config.model_dump(mode="json"),
        code=["freqd.graph", __name__],
        compute=compute,
    )
