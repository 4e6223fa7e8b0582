"""Stage 2: the graphs of users and of items."""

from __future__ import annotations

from freqd.config import GraphConfig
from freqd.data.interactions import Split
from freqd.embeddings import TrainedModel
from freqd.graph import build_graphs
from freqd.storage.store import ArtifactRef
from tasks.run_context import StageOutcome
from tasks.stage import Result, Stage, stage


class Built(StageOutcome):
    """The graphs."""

    @property
    def graphs(self) -> ArtifactRef:
        """Of users and of items."""
        return self.refs["graphs"]


@stage("graph", Built)
def graph(at: Stage, split: ArtifactRef, config: GraphConfig, teacher: ArtifactRef | None = None) -> Result:
    """Build the graphs; those of kind ``features`` need the teacher."""
    features = at.open(teacher, TrainedModel).features if teacher is not None else None
    graphs = build_graphs(at.open(split, Split).train, config, features, engine=at.engine)
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
