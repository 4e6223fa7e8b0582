"""Where a run's trainings start: the models of an earlier run, found by its name or by the champion, as artifacts.

They are looked up after ingest and before the first training, so that every later stage's key holds digests and not a
name that may mean another model tomorrow.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict

from freqd.config import RunConfig
from freqd.data.interactions import Split
from freqd.embeddings import TrainedModel
from freqd.errors import InputError
from freqd.storage.store import ArtifactRef, Store
from freqd.teachers.earlier import unfit
from tasks.earlier_run import CHAMPION, NONE, PARTS, TAG, Before, before_of, check_models, check_start, run_named
from tasks.mlops import registry
from tasks.mlops.family import model_name
from tasks.run_context import RunContext
from tasks.runtime.progress import console
from tasks.runtime.workspace import Workspace


class Start(BaseModel):
    """What was asked for and what came of it; without ``before`` the run starts from nothing, and ``why`` says why."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    asked: str
    before: Before | None = None
    why: str = ""


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
            asked=CHAMPION, why=f"the champion, version {version}, was made of this very data, and started from nothing"
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
    """The start, if its models may go into a model of ``split``; else one from nothing that says why.

    Raises:
        InputError: they may not, and they are required.
    """
    assert start.before is not None
    if start.before.split.digest == split.digest:
        return start
    problem = unfit(store.open(start.before.split, Split), store.open(split, Split))
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
        said = f"from nothing: {start.why}"
    else:
        version = f", version {start.before.version}" if start.before.version else ""
        said = f"from run {start.before.run}{version}" + (f": {start.why}" if start.why else "")
    console.print(f"{'start':<10}{'':>8}  {said}", markup=False, soft_wrap=True)


def start_record(
    workspace: Workspace, start: Start | None, now: Mapping[str, float], models: Mapping[str, TrainedModel]
) -> dict[str, Any] | None:
    """What the summary says of the start: how it went, and what the trainings cost against the runs before.

    Args:
        workspace: holds the summaries of earlier runs.
        start: as ``find_start`` gave it.
        now: seconds of the stages teacher and distill.
        models: teacher and student of this run.

    Returns:
        None if none was asked for; else asked, run, version, why, how the models of it went (teacher, student), and
        seconds: ``now``, ``before`` (the earlier run) and ``full`` (the latest one that started from nothing), each
        with teacher and distill, or None where that is no longer known.
    """
    if start is None:
        return None
    record: dict[str, Any] = {"asked": start.asked, "run": None, "version": None, "why": start.why}
    record |= {name: models[name].info.get("start") for name in ("teacher", "student")}
    record["seconds"] = {"now": dict(now), "before": None, "full": None}
    if start.before is not None:
        record |= {"run": start.before.run, "version": start.before.version or None}
        record["seconds"] |= _costs(workspace, start.before)
    return record


def _costs(workspace: Workspace, before: Before) -> dict[str, dict[str, float] | None]:
    """What teacher and distillation took in the earlier run, and in the latest one from nothing that it goes back to."""
    unknown: dict[str, dict[str, float] | None] = {"before": None, "full": None}
    try:
        summary = json.loads((workspace.runs / before.run / "summary.json").read_text())
        if summary["artifacts"]["distill.student"]["digest"] != before.student.digest:  # another run of that name
            return unknown
        seconds = {stage["name"]: float(stage["seconds"]) for stage in summary["stages"]}
        own = {stage: seconds[stage] for stage in ("teacher", "distill")}
        start = summary.get("start")
        return {"before": own, "full": start["seconds"]["full"] if start and start["run"] else own}
    except (OSError, ValueError, KeyError, TypeError):
        return unknown
