"""What a stage shows on its run's Prefect page, as plain data: kept with the result, so that a cached stage shows it too."""

from __future__ import annotations

from collections.abc import Sequence

from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.client.orchestration import get_client
from prefect.context import FlowRunContext
from prefect.utilities.urls import url_for
from pydantic import BaseModel, ConfigDict

from freqd.json_types import JsonObject
from tasks.runtime import embedded


class Shown(BaseModel):
    """A table, or a text in Markdown.

    Attributes:
        key: of the artifact; the page keeps the history of a key. Lower-case letters, digits and hyphens.
        content: rows by column, or Markdown.
        description: its headline.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    key: str
    content: list[JsonObject] | str
    description: str


def show(pages: Sequence[Shown], *, made_by: str | None = None) -> None:
    """Put them on the page of the task run that calls.

    Args:
        pages: what is shown.
        made_by: the run that computed the result, if it was found in the cache.
    """
    origin = "" if made_by is None else f" (from the cache, made by run {made_by})"
    for page in pages:
        description = f"{page.description}{origin}"
        if isinstance(page.content, str):
            create_markdown_artifact(page.content, key=page.key, description=description)
        else:
            create_table_artifact(page.content, key=page.key, description=description)


def tag(*names: str) -> None:
    """Add tags to the flow run that calls, by which its page finds it."""
    found = FlowRunContext.get()
    if found is None or found.flow_run is None:
        return
    with get_client(sync_client=True) as client:
        present = client.read_flow_run(found.flow_run.id).tags
        client.update_flow_run(found.flow_run.id, tags=[*present, *(name for name in names if name not in present)])


def address(flow_run_id: str) -> str:
    """Where a browser finds a flow run; empty where the server lives only as long as this process."""
    if not flow_run_id or embedded.running() is not None:
        return ""
    return url_for("flow-run", obj_id=flow_run_id) or ""
