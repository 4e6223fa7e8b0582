"""What `freqd cadence --refit` adds: refitted students on the next window, against judged ones and a plain ALS."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Annotated, Literal

import numpy as np
import polars as pl
from pydantic import BaseModel, ConfigDict

from freqd.cadence import Sample, aging
from freqd.config import DistillConfig, RunConfig, TeacherConfig
from freqd.data.interactions import Split
from freqd.data.realign import Rows
from freqd.distill.baseline import ALS_ALPHA, ALS_REGULARIZATION
from freqd.evaluate import Evaluation
from freqd.report.cadence_result import AgainstFresh, RefitReplay
from freqd.storage.store import ArtifactRef, Store
from freqd.teachers.training import refit_teacher, train_teacher
from tasks.run_context import StageOutcome
from tasks.stage import Result, Stage, stage
from tasks.stage_entry import Only
from tasks.stages.evaluate import METRIC

Arm = Literal["refit", "judged", "als"]
ARMS: tuple[Arm, ...] = ("refit", "judged", "als")


class Plain(StageOutcome):
    """ALS of the student's size."""

    @property
    def model(self) -> ArtifactRef:
        """Of all interactions."""
        return self.refs["model"]


@stage("plain", Plain, uses=["seed"])
def plain(at: Stage, split: ArtifactRef, whole: ArtifactRef, config: Annotated[DistillConfig, Only("dim")]) -> Result:
    """The strength of ALS of the student's size by the validation part of ``split``; then all of ``whole``."""
    dim = max(config.dim, 2)  # ALS has no single factor
    settings = TeacherConfig(factors=(dim,), regularization=ALS_REGULARIZATION, alpha=ALS_ALPHA)
    here = at.environment()
    chosen = train_teacher(at.open(split, Split), settings, here.piece(0, 2, "chosen: "))
    where = replace(here.piece(1, 2, "all: "), checkpoint=at.scratch / "all")
    model = refit_teacher(at.open(whole, Split), settings, chosen, where)
    headline = f"ALS of dimension {dim}: validation NDCG@10 {chosen.info['valid_ndcg_at_10']:.4f}, fitted to all"
    return Result({"model": model}, headline)


class Replay(BaseModel):
    """One window's refit.

    Attributes:
        whole: all interactions before the window; None where the refit was refused.
        outcomes: of each arm on the window.
        seconds: of the refit.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    whole: ArtifactRef | None
    outcomes: dict[Arm, StageOutcome]
    seconds: float


def replayed(store: Store, config: RunConfig, user_ids: pl.Series, replays: Sequence[Replay]) -> RefitReplay | None:
    """All windows together, every user once; None if no refit was asked for.

    Args:
        store: holds the reports.
        config: level and resamples of the intervals, and the seed.
        user_ids: of the timeline, by which users of different windows are told to be the same.
        replays: one a window.
    """
    if not replays:
        return None

    def against(other: Arm) -> AgainstFresh | None:
        samples = [_sample(store, user_ids, replay, other) for replay in replays if "report" in _refs(replay)]
        rng = np.random.default_rng([config.seed, ARMS.index(other)])
        found = aging(samples, config.evaluate, rng)
        return None if found is None else AgainstFresh(**asdict(found))

    return RefitReplay(
        judged=against("judged"),
        als=against("als"),
        refused=sum(replay.whole is None for replay in replays),
        seconds=float(np.mean([replay.seconds for replay in replays])),
    )


def _refs(replay: Replay) -> dict[str, ArtifactRef]:
    """What is known of the refit on its window; all arms are asked the same, so one has a report if another has."""
    return replay.outcomes["refit"].refs if "refit" in replay.outcomes else {}


def _sample(store: Store, user_ids: pl.Series, replay: Replay, other: Arm) -> Sample:
    assert replay.whole is not None  # it has a report
    rows = Rows.of(user_ids, store.open(replay.whole, Split).user_ids).source
    values = []
    for arm in ("refit", other):
        report = store.open(replay.outcomes[arm].refs["report"], Evaluation)
        users = rows[report.users]
        order = np.argsort(users)
        values.append((users[order], report.per_user[METRIC][order]))
    return Sample.of(*values)
