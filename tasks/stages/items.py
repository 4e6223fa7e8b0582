"""Titles of the items, for people: matched with the data before anything is trained, used by the report alone."""

from __future__ import annotations

from typing import Annotated

from freqd.config import DataConfig
from freqd.data.interactions import Split
from freqd.data.item_table import align, items_digest, read_items
from freqd.storage.store import ArtifactRef
from tasks.run_context import RunContext, StageOutcome
from tasks.stage import Result, Stage, stage
from tasks.stage_entry import Only


class Titled(StageOutcome):
    """The item table, in the order of the data's items."""

    @property
    def titles(self) -> ArtifactRef:
        """Titles and categories."""
        return self.refs["titles"]


def source(run: RunContext, split: ArtifactRef, config: DataConfig) -> dict[str, str]:
    """The content of the files stands for their names."""
    return {"items_digest": items_digest(config)}


@stage("items", Titled, source=source)
def items(at: Stage, split: ArtifactRef, config: Annotated[DataConfig, Only("columns", "quotes")]) -> Result:
    """Read ``data.items`` and match it with the items of the data."""
    rows, item_ids = read_items(config), at.open(split, Split).item_ids
    table = align(rows, item_ids)
    n = len(item_ids)
    headline = f"{n - table.untitled:,} of {n:,} items have a title"
    lines = [f"warning: {text}" for text in rows.warnings]
    if table.untitled:
        lines.append(f"{table.untitled:,} items have no title in {rows.place}: their ids are shown")
    if table.unused:
        lines.append(f"{table.unused:,} titles in {rows.place} are of no item of the data")
    return Result(
        {"titles": table},
        headline,
        {"items_without_title": table.untitled, "titles_without_item": table.unused},
        lines=lines,
    )
