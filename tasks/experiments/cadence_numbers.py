"""The numbers of a cadence: every model on every window, losses by age, costs, advice."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from functools import cached_property

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

from freqd.cadence import Sample, StalenessEffect, Timeline, Window, WindowCounts, aging, recommend
from freqd.cadence.recommend import FULL, REDISTILLED, Kind
from freqd.config import RunConfig
from freqd.data.interactions import Split
from freqd.data.realign import Rows
from freqd.embeddings import TrainedModel
from freqd.evaluate import Evaluation
from freqd.report.cadence_result import (
    AgainstFresh,
    Age,
    AgedModel,
    CadenceResult,
    JudgedOnWindow,
    Recommendation,
    StageOfCadence,
    TimelineFacts,
    WindowFacts,
)
from freqd.report.comparison_result import ExperimentMetadata
from freqd.storage.store import ArtifactRef, Facts, Store
from tasks.experiments.cadence_refit import Replay, replayed
from tasks.run_context import StageOutcome
from tasks.stages.evaluate import METRIC

DAYS_A_YEAR = 365.25


class Model(BaseModel):
    """A student made for a window, in one of both ways.

    Attributes:
        window: for which it was made, counted from 0.
        as_of: the last day that it has seen.
        kind: full or re-distilled.
        split, teacher, spectrum, student: its artifacts.
        seconds: what each of its stages took, data to distillation.
        why: why a re-distillation started from nothing; empty otherwise.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    window: int
    as_of: date
    kind: Kind
    split: ArtifactRef
    teacher: ArtifactRef
    spectrum: ArtifactRef
    student: ArtifactRef
    seconds: dict[str, float]
    why: str = ""


class Verdict(BaseModel):
    """A model on a window, as the stage judged it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: Model
    window: int
    outcome: StageOutcome

    @property
    def age(self) -> int:
        """Of the model, in windows."""
        return self.window - self.model.window

    def counts(self, store: Store) -> WindowCounts:
        """What is in the window, and what of it the model knows."""
        return WindowCounts.model_validate(store.open(self.outcome.refs["facts"], Facts).values)


class Measured(BaseModel):
    """All models of a cadence on all their windows, and what every stage cost."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    timeline: ArtifactRef
    windows: tuple[Window, ...]
    verdicts: tuple[Verdict, ...]
    stages: tuple[StageOfCadence, ...]
    replays: tuple[Replay, ...] = ()

    @property
    def period(self) -> int:
        """Days of a window."""
        return (self.windows[0].last - self.windows[0].first).days + 1


Users = tuple[npt.NDArray[np.integer], npt.NDArray[np.floating]]
"""Users as rows of the timeline, ascending, and a value of each."""
Values = Mapping[tuple[int, Kind, int], Users]
"""NDCG@10 by (window of the model, kind, window judged on)."""


def conclude(store: Store, config: RunConfig, measured: Measured, books: ExperimentMetadata) -> CadenceResult:
    """The result: every model on every window, losses by age, costs, advice."""
    found = store.open(measured.timeline, Timeline)
    numbers = _Numbers(store, config, measured, found)
    losses, again, seconds = numbers.losses(numbers.values), numbers.redistilled(), numbers.seconds
    advice = recommend(losses, again, seconds, config.registry.margin)
    every_days = None if advice.every is None else advice.every * measured.period
    return CadenceResult(
        **dict(books),
        data=TimelineFacts(
            name=found.name,
            users=len(found.user_ids),
            items=len(found.item_ids),
            interactions=len(found.time),
            first=f"{datetime.fromtimestamp(int(found.time.min()), UTC):%Y-%m-%d}",
            last=f"{datetime.fromtimestamp(int(found.time.max()), UTC):%Y-%m-%d}",
        ),
        period_days=measured.period,
        margin=config.registry.margin,
        confidence=config.evaluate.confidence,
        bootstrap_samples=config.evaluate.bootstrap_samples,
        windows=tuple(
            WindowFacts(first=str(window.first), last=str(window.last), as_of=str(window.as_of))
            for window in measured.windows
        ),
        models=tuple(_described(store, model) for model in numbers.models),
        judged=tuple(_judged(store, verdict, measured.windows) for verdict in measured.verdicts),
        ages=numbers.ages(losses),
        redistilled=_against_fresh(again),
        seconds=seconds,
        advice=Recommendation(**asdict(advice), every_days=every_days),
        stages=measured.stages,
        refit=replayed(store, config, found.user_ids, measured.replays),
    )


@dataclass(frozen=True)
class _Numbers:
    """What is computed of all verdicts together."""

    store: Store
    config: RunConfig
    measured: Measured
    timeline: Timeline

    @cached_property
    def values(self) -> Values:
        """Of every user that was judged."""
        verdicts, ids = self.measured.verdicts, self.timeline.user_ids
        newest = {v.window: v.model.split for v in verdicts if v.window == v.model.window}
        rows = {window: Rows.of(ids, self.store.open(ref, Split).user_ids).source for window, ref in newest.items()}
        values = {}
        for verdict in verdicts:
            if "report" in verdict.outcome.refs:
                report = self.store.open(verdict.outcome.refs["report"], Evaluation)
                users = rows[verdict.window][report.users]
                order = np.argsort(users)
                values[_key(verdict)] = (users[order], report.per_user[METRIC][order])
        return values

    @cached_property
    def known(self) -> Values:
        """The same of the users alone that the model itself knows."""
        ids = self.timeline.user_ids
        own = {
            _key(v): Rows.of(self.store.open(v.model.split, Split).user_ids, ids).known for v in self.measured.verdicts
        }
        return {key: (users[own[key][users]], of[own[key][users]]) for key, (users, of) in self.values.items()}

    def losses(self, values: Values) -> dict[int, StalenessEffect | None]:
        """By age in windows, from 1: models of this age against fresh ones."""
        windows = len(self.measured.windows)
        return {
            age: self._pooled(
                ((values.get((w, FULL, w)), values.get((w - age, FULL, w))) for w in range(age, windows)), seed=age
            )
            for age in range(1, windows)
        }

    def redistilled(self) -> StalenessEffect | None:
        """Re-distilled models against full ones, right after both."""
        values, windows = self.values, len(self.measured.windows)
        pairs = ((values.get((w, FULL, w)), values.get((w, REDISTILLED, w))) for w in range(1, windows))
        return self._pooled(pairs, seed=windows)

    def _pooled(self, pairs: Iterable[tuple[Users | None, Users | None]], *, seed: int) -> StalenessEffect | None:
        samples = [Sample.of(fresh, other) for fresh, other in pairs if fresh is not None and other is not None]
        return aging(samples, self.config.evaluate, np.random.default_rng([self.config.seed, seed]))

    @cached_property
    def models(self) -> list[Model]:
        """Each once."""
        return list({(v.model.window, v.model.kind): v.model for v in self.measured.verdicts}.values())

    @cached_property
    def seconds(self) -> dict[Kind, float | None]:
        """Of one retraining, over those that could be the one or the other: the first model cannot be re-distilled."""

        def mean(kind: Kind) -> float | None:
            spent = [sum(m.seconds.values()) for m in self.models if m.kind == kind and m.window > 0 and not m.why]
            return float(np.mean(spent)) if spent else None

        return {kind: mean(kind) for kind in (FULL, REDISTILLED)}

    def ages(self, losses: Mapping[int, StalenessEffect | None]) -> tuple[Age, ...]:
        """One row an age in windows, from 0: loss, what is unknown to models of that age, and what retraining that often costs.

        ``mean_loss`` is that over the life of a model which is replaced when it has reached the next age.
        """
        rows: list[Age] = []
        of_known, so_far = self.losses(self.known), [0.0]
        for age in range(len(losses) + 1):
            loss = losses.get(age)
            if age and so_far:
                so_far = [*so_far, loss.loss.mean] if loss is not None else []
            rows.append(self._age(age, loss, of_known.get(age), float(np.mean(so_far)) if so_far else None))
        return tuple(rows)

    def _age(
        self, age: int, loss: StalenessEffect | None, of_known: StalenessEffect | None, mean_loss: float | None
    ) -> Age:
        full = [v for v in self.measured.verdicts if v.model.kind == FULL and v.age == age]
        counts, period = [verdict.counts(self.store) for verdict in full], self.measured.period
        users, items, pairs = (sum(c.users for c in counts), sum(c.items for c in counts), sum(c.pairs for c in counts))
        yearly = DAYS_A_YEAR / (period * (age + 1))
        return Age(
            age=age,
            days=age * period,
            windows=len(counts),
            users=None if loss is None else loss.users,
            fresh=None if loss is None else loss.fresh,
            aged=None if loss is None else loss.other,
            loss=None if loss is None else loss.loss,
            of_known=_against_fresh(of_known),
            decayed=loss is not None and loss.loss.low > self.config.registry.margin,
            judged_users=sum(c.judged_users for c in counts),
            judged_known_users=sum(c.judged_known_users for c in counts),
            unknown_users=_share(sum(c.unknown_users for c in counts), users),
            unknown_items=_share(sum(c.unknown_items for c in counts), items),
            unknown_user_pairs=_share(sum(c.unknown_user_pairs for c in counts), pairs),
            unknown_item_pairs=_share(sum(c.unknown_item_pairs for c in counts), pairs),
            every_days=(age + 1) * period,
            mean_loss=mean_loss,
            seconds_a_year={kind: None if s is None else s * yearly for kind, s in self.seconds.items()},
        )


def _key(verdict: Verdict) -> tuple[int, Kind, int]:
    return verdict.model.window, verdict.model.kind, verdict.window


def _against_fresh(found: StalenessEffect | None) -> AgainstFresh | None:
    return None if found is None else AgainstFresh(**asdict(found))


def _described(store: Store, model: Model) -> AgedModel:
    split, student = store.open(model.split, Split), store.open(model.student, TrainedModel)
    teacher = store.open(model.teacher, TrainedModel)
    return AgedModel(
        as_of=str(model.as_of),
        kind=model.kind,
        users=split.n_users,
        items=split.n_items,
        # an equal model of the other kind shares the artifact, and with it the record of how it was made
        teacher_start=None if model.kind == FULL else (teacher.info.get("start") or {}).get("way"),
        student_start=None if model.kind == FULL else (student.info.get("start") or {}).get("way"),
        why=model.why,
        seconds={**model.seconds, "all": sum(model.seconds.values())},
        valid_ndcg_at_10=student.info.get("valid_ndcg_at_10"),
    )


def _judged(store: Store, verdict: Verdict, windows: Sequence[Window]) -> JudgedOnWindow:
    refs, window = verdict.outcome.refs, windows[verdict.window]
    metrics = store.open(refs["report"], Evaluation).metrics if "report" in refs else {}
    return JudgedOnWindow(
        as_of=str(verdict.model.as_of),
        kind=verdict.model.kind,
        first=str(window.first),
        last=str(window.last),
        age=verdict.age,
        ndcg_at_10=metrics.get(METRIC),
        recall_at_10=metrics.get("recall_at_10"),
        **dict(verdict.counts(store)),
    )


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
