"""Stage 1: from the user's data to a split over dense ids."""

from __future__ import annotations

from typing import Annotated

from freqd import data
from freqd.config import DataConfig
from freqd.data.quality import taken
from freqd.data.sources import name_of
from freqd.storage.store import ArtifactRef
from tasks.run_context import RunContext, StageOutcome
from tasks.runtime.page import Shown
from tasks.runtime.resources import free_memory
from tasks.stage import Result, Stage, stage
from tasks.stage_entry import Without


class Ingested(StageOutcome):
    """The data, cleaned, numbered and split."""

    @property
    def split(self) -> ArtifactRef:
        """Train, validation and test."""
        return self.refs["split"]


def source(run: RunContext, config: DataConfig) -> dict[str, str]:
    """The content of the files stands for their names."""
    return {"source_digest": data.source_digest(config, run.workspace.places)}


@stage("ingest", Ingested, uses=["seed"], source=source)
def ingest(
    at: Stage, config: Annotated[DataConfig, Without("source", "train", "valid", "test", "items", "memory_gb")]
) -> Result:
    """Read, check, clean and split the interactions."""
    registry = at.run.workspace.ids(name_of(config))
    split = data.ingest(
        config,
        at.run.workspace.places,
        seed=at.run.seed,
        registry=registry,
        memory=free_memory(),
        progress=at.progress,
    )
    info = split.info
    quality = Shown(
        key="data-quality",
        content=[row.model_dump() for row in info.dropped]
        or [{"reason": "nothing was dropped", "rows": 0, "remedy": ""}],
        description=f"{info.name}: {info.rows_read:,} rows read; what was dropped and why",
    )
    headline = (
        f"{info.name}: {split.n_users:,} users, {split.n_items:,} items, "
        f"{' + '.join(f'{rows:,}' for rows in info.parts.values())} interactions ({info.split} split)"
    )
    metrics = {f"rows_{name}": rows for name, rows in info.parts.items()}
    metrics |= {"users": split.n_users, "items": split.n_items, "rows_read": info.rows_read}
    metrics["rows_dropped"] = sum(row.rows for row in info.dropped)
    lines = [f"{label}: {text}" for label, text in taken(info)]
    lines += [f"dropped: {row.rows:,} x {row.reason}" for row in info.dropped]
    lines += [f"warning: {text}" for text in info.warnings]
    return Result({"split": split}, headline, metrics, shown=[quality], lines=lines)
