"""What `freqd cadence` adds to the stages of a run: the timeline, a model on a later window, the tables."""

from __future__ import annotations

import json
from datetime import date
from typing import Annotated

from prefect import task
from prefect.artifacts import create_image_artifact, create_markdown_artifact
from pydantic import BaseModel, ConfigDict

from freqd import data
from freqd.cadence import Question, Timeline, Window, judge_window, plan
from freqd.config import CadenceConfig, DataConfig, EvaluateConfig, RunConfig
from freqd.data.interactions import Split
from freqd.embeddings import TrainedModel
from freqd.report import cadence as shown
from freqd.report.cadence_result import CadenceResult
from freqd.report.run import html
from freqd.serve.recommender import Recommender
from freqd.storage.store import ArtifactRef, Facts
from tasks.experiments.cadence_numbers import Measured, conclude
from tasks.experiments.results import books, replace_folder
from tasks.mlops import tracking
from tasks.run_context import RunContext, StageOutcome
from tasks.stage import Result, Stage, stage
from tasks.stage_entry import Without
from tasks.stages.evaluate import METRIC
from tasks.stages.inputs import JUDGING


class CutWindows(BaseModel):
    """The windows that were cut, earliest first."""

    model_config = ConfigDict(frozen=True)

    windows: tuple[Window, ...]


class Cut(StageOutcome):
    """All interactions in time, and the windows."""

    @property
    def timeline(self) -> ArtifactRef:
        """The interactions."""
        return self.refs["timeline"]

    @property
    def windows(self) -> ArtifactRef:
        """First and last day of each."""
        return self.refs["windows"]


def source(run: RunContext, config: DataConfig, cadence: CadenceConfig) -> dict[str, str]:
    """The content of the files stands for their names."""
    return {"source_digest": data.source_digest(config, run.workspace.places)}


@stage("timeline", Cut, source=source)
def timeline(
    at: Stage,
    config: Annotated[
        DataConfig, Without("source", "train", "valid", "test", "items", "valid_fraction", "test_fraction")
    ],
    cadence: CadenceConfig,
) -> Result:
    """Read all interactions, with their times, and cut the windows."""
    found = Timeline.of(data.observe(config, at.run.workspace.places, progress=at.progress))
    windows = plan(found, cadence)
    length = (windows[0].last - windows[0].first).days + 1
    stretch = f"{windows[0].first} to {windows[-1].last}"
    headline = f"{found.name}: {len(windows)} windows of {length} days, {stretch}"
    kept = CutWindows(windows=windows)
    return Result(
        {"timeline": found, "windows": Facts(kept.model_dump(mode="json"))}, headline, {"period_days": length}
    )


def windows_of(context: RunContext, ref: ArtifactRef) -> tuple[Window, ...]:
    """The windows that the stage ``timeline`` cut."""
    return CutWindows.model_validate(context.workspace.store.open(ref, Facts).values).windows


class WindowInputs(BaseModel):
    """A student, of the data ``split``, and what it is judged on: the timeline, and the newest model's split."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    timeline: ArtifactRef
    newest: ArtifactRef
    split: ArtifactRef
    student: ArtifactRef


@stage("window", StageOutcome)
def judge(
    at: Stage,
    inputs: WindowInputs,
    first: date,
    last: date,
    config: Annotated[EvaluateConfig, JUDGING],
) -> Result:
    """Judge a student on the window from ``first`` to ``last``, which came after its data."""
    question = Question(at.open(inputs.timeline, Timeline), Window(first, last), at.open(inputs.newest, Split))
    features = at.open(inputs.student, TrainedModel).features
    recommender = Recommender.of(features, at.open(inputs.split, Split))
    found = judge_window(question, recommender, config, progress=at.progress)
    facts, counts = Facts.of(found.counts), dict(found.counts)
    where = f"{first} to {last}, {found.counts.judged_users:,} users"
    if found.report is None:
        return Result({"facts": facts}, f"{where}: nothing to judge", counts)
    ndcg = found.report.metrics[METRIC]
    metrics = {**found.report.metrics, **counts}
    return Result({"report": found.report, "facts": facts}, f"{where}: NDCG@10 {ndcg:.4f}", metrics)


@task(name="tabulate")
def tabulate(context: RunContext, config: RunConfig, measured: Measured) -> CadenceResult:
    """How models age, what each kind of retraining costs, and what follows; tables, figure and page of it."""
    folder = context.workspace.root / "cadences" / context.run_name
    result = conclude(context.workspace.store, config, measured, books(context, config, folder))
    image = shown.figure(result)
    files: dict[str, str | bytes] = {
        "cadence.json": json.dumps(result.as_json(), indent=1, allow_nan=False),
        "cadence.csv": shown.csv(result),
        "cadence.md": shown.markdown(result),
        "cadence.html": html.cadence_page(result, image),
        "cadence.png": image,
    }
    replace_folder(folder, files)
    metrics: dict[str, float | None] = {
        **{f"{kind}_seconds".replace("-", "_"): spent for kind, spent in result.seconds.items()},
        "recommended_days": result.advice.every_days,
    }
    metrics |= {f"loss_after_{row.days}_days": row.loss.mean for row in result.ages if row.loss}
    advice = " ".join(shown.advice(result))
    tracking.log(context.mlflow_run_id, metrics=metrics, tags={"freqd.advice": advice, "mlflow.note.content": advice})
    for name in files:
        tracking.log_file(context.mlflow_run_id, folder / name, "figures" if name.endswith(".png") else None)
    create_markdown_artifact(shown.markdown(result, images=False), key="cadence", description=context.run_name)
    create_image_artifact(html.data_uri(image), key="cadence-figure", description=context.run_name)
    return result
