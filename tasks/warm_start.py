"""Where a run's trainings start: the models of an earlier run, found by its name or by the champion, as artifacts.

They are looked up after ingest and before the first training, so that every later stage's key holds digests and not a
name that may mean another model tomorrow.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict

from freqd.config import RunConfig
from freqd.data.interactions import Split
from freqd.embeddings import TrainedModel
from freqd.errors import InputError
from freqd.report.run_result import RunResult
from freqd.report.run_result_start import StartRecord, StartSeconds, TrainingSeconds
from freqd.storage.store import ArtifactRef, Store
from freqd.teachers.previous_model import incompatibility
from tasks.earlier_run import (
    CHAMPION,
    NONE,
    PARTS,
    TAG,
    Before,
    EarlierModel,
    before_of,
    check_models,
    check_start,
    run_named,
)
from tasks.mlops import registry
from tasks.mlops.family import model_name
from tasks.run_context import RunContext
from tasks.runtime.progress import console
from tasks.runtime.workspace import Workspace


class Start(BaseModel):
    """What was asked for and what came of it; without ``before`` the run starts from scratch, and ``why`` says why."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    asked: str
    before: Before | None = None
    why: str = ""

    def model(self, which: Literal["teacher", "student"]) -> EarlierModel | None:
        """The model that a training goes on from."""
        return None if self.before is None else self.before.model(which)


def find_start(context: RunContext, config: RunConfig, split: ArtifactRef) -> Start | None:
    """The models to start from, for the data ``split``; None if none were asked for.

    A champion that was made of this very data is not an earlier model: what it started from itself is taken, so that a
    run that has made it finds all its results in the cache when it is repeated.

    Raises:
        InputError: the run is not there, its models are gone, they do not go with the settings, or a run that was named
            (not the champion) does not go with the data.
    """
    asked, workspace = config.start.run, context.workspace
    if asked == NONE:
        return None
    check_start(config, workspace, context.run_name)
    if asked == CHAMPION:
        start = _of_champion(workspace, model_name(config), split)
    else:
        start = Start(asked=asked, before=run_named(workspace, asked))
    if start.before is not None:
        check_models(workspace.store, start.before, config)
        start = fitting(workspace.store, start, split, required=asked != CHAMPION and config.start.required)
    _tell(start)
    return start


def _of_champion(workspace: Workspace, model: str, split: ArtifactRef) -> Start:
    champion = registry.champion_of(model)
    if champion is None:
        return Start(asked=CHAMPION, why=f"{model} has no champion yet")
    tags: Mapping[str, str] = champion.tags
    version = str(champion.version)
    if tags.get("freqd.data_digest") != split.digest:
        return Start(asked=CHAMPION, before=_of_tags(workspace.store, model, version, tags, "freqd."))
    if f"{TAG}run" not in tags:
        return Start(
            asked=CHAMPION, why=f"the champion, version {version}, was made of this very data, and started from scratch"
        )
    return Start(
        asked=CHAMPION,
        before=_of_tags(workspace.store, model, tags.get(f"{TAG}version", ""), tags, TAG),
        why=f"the champion, version {version}, was made of this very data, and started there",
    )


def _of_tags(store: Store, model: str, version: str, tags: Mapping[str, str], prefix: str) -> Before:
    digests = {part: tags.get(f"{prefix}{tag}", "") for part, tag in PARTS.items()}
    if not all(digests.values()):
        raise InputError(
            f"version {version} of {model} does not say which data and models it came from",
            "set start.run to the name of a run, or to none",
        )
    return before_of(store, digests, run=tags.get(f"{prefix}run", ""), version=version)


def fitting(store: Store, start: Start, split: ArtifactRef, *, required: bool) -> Start:
    """The start, if its models may go into a model of ``split``; else one from scratch that says why.

    Raises:
        InputError: they may not, and they are required.
    """
    assert start.before is not None
    if start.before.split.digest == split.digest:
        return start
    problem = incompatibility(store.open(start.before.split, Split), store.open(split, Split))
    if not problem:
        return start
    if not required:
        which = "the champion's run" if start.asked == CHAMPION else "run"
        return Start(asked=start.asked, why=f"{which} {start.before.run} cannot be started from: {problem}")
    raise InputError(
        f"run {start.before.run} cannot be started from: {problem}",
        "start from a run on an earlier state of the same data, cut by time, or set start.run=none or start.required=false",
    )


def _tell(start: Start) -> None:
    if start.before is None:
        said = f"from scratch: {start.why}"
    else:
        version = f", version {start.before.version}" if start.before.version else ""
        said = f"from run {start.before.run}{version}" + (f": {start.why}" if start.why else "")
    console.print(f"{'start':<10}{'':>8}  {said}", markup=False, soft_wrap=True)


def start_record(
    workspace: Workspace, start: Start | None, now: TrainingSeconds, models: Mapping[str, TrainedModel]
) -> StartRecord | None:
    """What the result says of the start: how it went, and what the trainings cost against the runs before.

    Args:
        workspace: holds the results of earlier runs.
        start: as ``find_start`` gave it.
        now: seconds of the stages teacher and distill.
        models: teacher and student of this run.

    Returns:
        None if none was asked for.
    """
    if start is None:
        return None
    earlier = start.before
    before, full = (None, None) if earlier is None else _costs(workspace, earlier)
    return StartRecord(
        asked=start.asked,
        run=earlier.run if earlier else None,
        version=earlier.version or None if earlier else None,
        why=start.why,
        teacher=models["teacher"].info.get("start"),
        student=models["student"].info.get("start"),
        seconds=StartSeconds(now=now, before=before, full=full),
    )


def _costs(workspace: Workspace, before: Before) -> tuple[TrainingSeconds | None, TrainingSeconds | None]:
    """What teacher and distillation took in the earlier run, and in the latest one from scratch that it goes back to."""
    try:
        result = RunResult.load(workspace.runs / before.run / "summary.json")
    except InputError:
        return None, None
    if result.artifacts["distill.student"].digest != before.student.digest:  # another run of that name
        return None, None
    seconds = {stage.name: stage.seconds for stage in result.stages}
    own = TrainingSeconds(teacher=seconds["teacher"], distill=seconds["distill"])
    return own, result.start.seconds.full if result.start and result.start.run else own
