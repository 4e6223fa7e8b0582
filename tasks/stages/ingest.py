"""Stage 1: from the user's data to a split over dense ids."""

from __future__ import annotations

from typing import Any

from prefect import task
from prefect.client.schemas import State

from freqd import data
from freqd.config import DataConfig
from freqd.data.quality import taken
from freqd.data.sources import name_of
from tasks.run_context import RunContext
from tasks.runtime.page import Shown
from tasks.stage import Result, Tools, is_transient, run_stage


@task(name="ingest", retries=2, retry_delay_seconds=5, retry_condition_fn=is_transient)
def ingest(context: RunContext, config: DataConfig) -> State[Any]:
    """Read, check, clean and split the interactions."""
    workspace = context.workspace
    places: dict[str, Any] = {"data_dir": workspace.data_dir, "cache_dir": workspace.downloads}

    def compute(tools: Tools) -> Result:
        registry = workspace.ids(name_of(config))
        split = data.ingest(config, seed=context.seed, registry=registry, progress=tools.progress, **places)
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

    return run_stage(
        context,
        "ingest",
        inputs={},
        settings={
            **config.model_dump(
                mode="json", exclude={"source", "train", "valid", "test"}
            ),  # the digest stands for them
            "seed": context.seed,
            "source_digest": data.source_digest(config, **places),
        },
        code=["freqd.data", __name__],
        compute=compute,
    )
