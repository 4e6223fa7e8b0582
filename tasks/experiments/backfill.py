"""What a backfill adds to its runs: which of them are there already, and the table of all."""

from __future__ import annotations

from datetime import date

from prefect import task
from prefect.artifacts import create_markdown_artifact

from freqd import data
from freqd.config import RunConfig
from freqd.data.sources import name_of
from freqd.errors import DamagedArtifactError, InputError
from freqd.report import backfill as shown
from freqd.report.backfill import BackfilledRun, BackfillResult
from freqd.report.run_result import RunResult
from tasks.earlier_run import run_named
from tasks.runtime.resources import free_memory
from tasks.runtime.workspace import Workspace


def finished(workspace: Workspace, run_name: str, config: RunConfig) -> RunResult | None:
    """The result of that run if it finished with these very settings and its models are whole; else None."""
    try:
        before = run_named(workspace, run_name)
        for ref in (before.split, before.teacher, before.student):
            workspace.store.verify(ref)
    except (InputError, DamagedArtifactError):
        return None
    result = RunResult.load(workspace.runs / run_name / "summary.json")
    return result if result.config == config.model_dump(mode="json") else None


def number_ids(workspace: Workspace, run_name: str, config: RunConfig) -> None:
    """Enter the ids of a run that is still to be done, so that they are numbered as if it had been done by now.

    Raises:
        InputError: its data cannot be used.
    """
    if finished(workspace, run_name, config) is None:
        ids = workspace.ids(name_of(config.data))
        data.ingest(config.data, workspace.places, seed=config.seed, registry=ids, memory=free_memory())


def record(result: RunResult, day: date, *, passed_over: bool) -> BackfilledRun:
    """What the table says of one date's run."""
    start, model = result.start, result.model
    return BackfilledRun(
        as_of=str(day),
        run=result.run,
        passed_over=passed_over,
        users=result.data.users,
        items=result.data.items,
        interactions=result.data.interactions,
        ndcg_at_10=result.metrics.student["ndcg_at_10"],
        teacher_ndcg_at_10=result.metrics.teacher["ndcg_at_10"],
        started_from=start and start.run,
        why="" if start is None else start.why,
        seconds=sum(stage.seconds for stage in result.stages),
        model=model and f"{model.name} version {model.version}",
        gate=result.gate and result.gate.verdict,
        mlflow_run_id=result.mlflow.run_id,
    )


@task(name="table")
def present(result: BackfillResult) -> None:
    """Show all dates on the Prefect page."""
    create_markdown_artifact(shown.markdown(result), key="backfill", description=result.name)
