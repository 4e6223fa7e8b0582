"""What a backfill adds to its runs: which of them are there already, and the table of all."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import date
from typing import Any

from prefect import task
from prefect.artifacts import create_markdown_artifact

from freqd.config import RunConfig
from freqd.errors import DamagedArtifact, InputError
from freqd.report import backfill as shown
from tasks.earlier_run import run_named
from tasks.runtime.workspace import Workspace


def finished(workspace: Workspace, run_name: str, config: RunConfig) -> dict[str, Any] | None:
    """The summary of that run if it finished with these very settings and its models are whole; else None."""
    try:
        before = run_named(workspace, run_name)
        for ref in (before.split, before.teacher, before.student):
            workspace.store.verify(ref)
    except (InputError, DamagedArtifact):
        return None
    summary: dict[str, Any] = json.loads((workspace.runs / run_name / "summary.json").read_text())
    return summary if summary.get("config") == config.model_dump(mode="json") else None


def record(summary: Mapping[str, Any], day: date, *, passed_over: bool) -> dict[str, Any]:
    """What the table says of one date's run."""
    start, model = summary["start"], summary["model"]
    return {
        "as_of": str(day),
        "run": summary["run"],
        "passed_over": passed_over,
        **{what: summary["data"][what] for what in ("users", "items", "interactions")},
        "ndcg_at_10": summary["metrics"]["student"]["ndcg_at_10"],
        "teacher_ndcg_at_10": summary["metrics"]["teacher"]["ndcg_at_10"],
        "started_from": start and start["run"],
        "why": "" if start is None else start["why"],
        "seconds": sum(stage["seconds"] for stage in summary["stages"]),
        "model": None if model is None else f"{model['name']} version {model['version']}",
        "gate": summary["gate"] and summary["gate"]["verdict"],
        "mlflow_run_id": summary["mlflow"]["run_id"],
    }


@task(name="table")
def present(result: Mapping[str, Any]) -> None:
    """Show all dates on the Prefect page."""
    create_markdown_artifact(shown.markdown(result), key="backfill", description=str(result["name"]))
