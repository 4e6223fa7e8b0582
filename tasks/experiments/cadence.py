"""What `freqd cadence` adds to the stages of a run: the timeline, a model on a later window, the tables."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, date, datetime
from typing import Annotated, Any

import numpy as np
from prefect import task
from prefect.artifacts import create_image_artifact, create_markdown_artifact
from pydantic import BaseModel, ConfigDict

from freqd import data
from freqd.cadence import Aging, Sample, Timeline, Window, aging, judge_window, plan, recommend
from freqd.cadence.recommend import FULL, REDISTILLED, Kind
from freqd.config import CadenceConfig, DataConfig, EvaluateConfig, RunConfig
from freqd.data.interactions import Split
from freqd.data.realign import Rows
from freqd.embeddings import TrainedModel
from freqd.evaluate import Evaluation
from freqd.report import cadence as shown
from freqd.report.cadence_result import CadenceResult
from freqd.report.run import html
from freqd.storage.store import ArtifactRef, Facts, Store
from tasks.experiments.results import books, replace_folder
from tasks.mlops import tracking
from tasks.run_context import RunContext, StageOutcome
from tasks.stage import Only, Result, Stage, Without, stage
from tasks.stages.evaluate import METRIC
from tasks.stages.ingest import places_of

DAYS_A_YEAR = 365.25


class Model(BaseModel):
    """A student made for a window, in one of both ways.

    Attributes:
        window: for which it was made, counted from 0.
        as_of: the last day that it has seen.
        kind: full or re-distilled.
        split, teacher, student: its artifacts.
        seconds: what each of its stages took, data to distillation.
        why: why a re-distillation started from scratch; empty otherwise.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    window: int
    as_of: date
    kind: Kind
    split: ArtifactRef
    teacher: ArtifactRef
    student: ArtifactRef
    seconds: dict[str, float]
    why: str = ""


class Verdict(BaseModel):
    """A model on a window, as the stage judged it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: Model
    window: int
    outcome: StageOutcome


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
    return {"source_digest": data.source_digest(config, **places_of(run))}


@stage("timeline", Cut, source=source)
def timeline(
    at: Stage,
    config: Annotated[DataConfig, Without("source", "train", "valid", "test", "valid_fraction", "test_fraction")],
    cadence: CadenceConfig,
) -> Result:
    """Read all interactions, with their times, and cut the windows."""
    found = Timeline.of(data.observe(config, progress=at.progress, **places_of(at.run)))
    windows = plan(found, cadence)
    length = (windows[0].last - windows[0].first).days + 1
    stretch = f"{windows[0].first} to {windows[-1].last}"
    headline = f"{found.name}: {len(windows)} windows of {length} days, {stretch}"
    kept = [{"first": str(window.first), "last": str(window.last)} for window in windows]
    return Result({"timeline": found, "windows": Facts({"windows": kept})}, headline, {"period_days": length})


def windows_of(context: RunContext, ref: ArtifactRef) -> tuple[Window, ...]:
    """The windows that the stage ``timeline`` cut."""
    found = context.workspace.store.open(ref, Facts).values["windows"]
    return tuple(Window(*(datetime.fromisoformat(window[end]).date() for end in ("first", "last"))) for window in found)


@stage("window", StageOutcome)
def judge(
    at: Stage,
    timeline: ArtifactRef,
    first: date,
    last: date,
    newest: ArtifactRef,
    split: ArtifactRef,
    student: ArtifactRef,
    config: Annotated[EvaluateConfig, Only("ks")],
) -> Result:
    """Judge a student, of the data ``split``, on the window from ``first`` to ``last``, which came after it."""
    found = judge_window(
        at.open(timeline, Timeline),
        Window(first, last),
        at.open(newest, Split),
        at.open(split, Split),
        at.open(student, TrainedModel).features,
        config,
        progress=at.progress,
    )
    facts = Facts(found.counts)
    where = f"{first} to {last}, {found.counts['judged_users']:,} users"
    if found.report is None:
        return Result({"facts": facts}, f"{where}: nothing to judge", found.counts)
    ndcg = found.report.metrics[METRIC]
    metrics = {**found.report.metrics, **found.counts}
    return Result({"report": found.report, "facts": facts}, f"{where}: NDCG@10 {ndcg:.4f}", metrics)


@task(name="tabulate")
def tabulate(
    context: RunContext,
    config: RunConfig,
    times: ArtifactRef,
    windows: tuple[Window, ...],
    verdicts: tuple[Verdict, ...],
    stages: tuple[dict[str, Any], ...],
) -> CadenceResult:
    """How models age, what each kind of retraining costs, and what follows; tables, figure and page of it."""
    folder = context.workspace.root / "cadences" / context.run_name
    found = conclude(context.workspace.store, config, times, windows, verdicts)
    result = CadenceResult.model_validate({**books(context, config, folder), **found, "stages": stages})
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


def conclude(
    store: Store, config: RunConfig, times: ArtifactRef, windows: Sequence[Window], verdicts: Sequence[Verdict]
) -> dict[str, Any]:
    """The numbers: every model on every window, losses by age, costs, advice."""
    found = store.open(times, Timeline)
    period = (windows[0].last - windows[0].first).days + 1
    values = _values(store, found, verdicts)
    ages = range(1, len(windows))
    known = _known(store, found, values, verdicts)
    losses = {age: _losses(values, len(windows), age, config) for age in ages}
    of_known = {age: _losses(known, len(windows), age, config) for age in ages}
    pairs = [(values.get((w, FULL, w)), values.get((w, REDISTILLED, w))) for w in range(1, len(windows))]
    again = _pooled(pairs, config, seed=len(windows))
    models = list({(v.model.window, v.model.kind): v.model for v in verdicts}.values())
    seconds = {kind: _mean_seconds(models, kind) for kind in (FULL, REDISTILLED)}
    advice = recommend(losses, again, seconds, config.registry.margin)
    return {
        "data": {
            "name": found.name,
            "users": len(found.user_ids),
            "items": len(found.item_ids),
            "interactions": len(found.time),
            "first": f"{datetime.fromtimestamp(int(found.time.min()), UTC):%Y-%m-%d}",
            "last": f"{datetime.fromtimestamp(int(found.time.max()), UTC):%Y-%m-%d}",
        },
        "period_days": period,
        "margin": config.registry.margin,
        "confidence": config.evaluate.confidence,
        "bootstrap_samples": config.evaluate.bootstrap_samples,
        "windows": [
            {"first": str(window.first), "last": str(window.last), "as_of": str(window.as_of)} for window in windows
        ],
        "models": [_described(store, model) for model in models],
        "judged": [_judged(store, verdict, windows) for verdict in verdicts],
        "ages": _ages(store, losses, of_known, verdicts, period, seconds, config.registry.margin),
        "redistilled": None if again is None else asdict(again),
        "seconds": seconds,
        "advice": {**asdict(advice), "every_days": None if advice.every is None else advice.every * period},
    }


Values = Mapping[tuple[int, Kind, int], tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]]


def _values(store: Store, found: Timeline, verdicts: Sequence[Verdict]) -> Values:
    """NDCG@10 by (window of the model, kind, window judged on): users as rows of the timeline, ascending, and values."""
    newest = {v.window: v.model.split for v in verdicts if v.window == v.model.window}
    rows = {window: Rows.of(found.user_ids, store.open(ref, Split).user_ids).source for window, ref in newest.items()}
    values = {}
    for verdict in verdicts:
        if "report" in verdict.outcome.refs:
            report = store.open(verdict.outcome.refs["report"], Evaluation)
            users = rows[verdict.window][report.users]
            order = np.argsort(users)
            key = (verdict.model.window, verdict.model.kind, verdict.window)
            values[key] = (users[order], report.per_user[METRIC][order])
    return values


def _known(store: Store, found: Timeline, values: Values, verdicts: Sequence[Verdict]) -> Values:
    """The same of the users alone that the model itself knows."""
    own = {
        (v.model.window, v.model.kind, v.window): Rows.of(
            store.open(v.model.split, Split).user_ids, found.user_ids
        ).known
        for v in verdicts
    }
    return {key: (users[own[key][users]], of[own[key][users]]) for key, (users, of) in values.items()}


def _losses(values: Values, windows: int, age: int, config: RunConfig) -> Aging | None:
    """Models of this age, in windows, against fresh ones."""
    pairs = [(values.get((w, FULL, w)), values.get((w - age, FULL, w))) for w in range(age, windows)]
    return _pooled(pairs, config, seed=age)


def _pooled(pairs: Sequence[tuple[Any, Any]], config: RunConfig, *, seed: int) -> Aging | None:
    samples = [Sample.of(fresh, other) for fresh, other in pairs if fresh is not None and other is not None]
    return aging(samples, config.evaluate, np.random.default_rng([config.seed, seed]))


def _mean_seconds(models: Sequence[Model], kind: Kind) -> float | None:
    """Of one retraining, over those that could be the one or the other: the first model cannot be re-distilled."""
    spent = [
        sum(model.seconds.values()) for model in models if model.kind == kind and model.window > 0 and not model.why
    ]
    return float(np.mean(spent)) if spent else None


def _described(store: Store, model: Model) -> dict[str, Any]:
    split, student = store.open(model.split, Split), store.open(model.student, TrainedModel)
    teacher = store.open(model.teacher, TrainedModel)
    return {
        "as_of": str(model.as_of),
        "kind": model.kind,
        "users": split.n_users,
        "items": split.n_items,
        # an equal model of the other kind shares the artifact, and with it the record of how it was made
        "teacher_start": None if model.kind == FULL else (teacher.info.get("start") or {}).get("way"),
        "student_start": None if model.kind == FULL else (student.info.get("start") or {}).get("way"),
        "why": model.why,
        "seconds": {**model.seconds, "all": sum(model.seconds.values())},
        "valid_ndcg_at_10": student.info.get("valid_ndcg_at_10"),
    }


def _judged(store: Store, verdict: Verdict, windows: Sequence[Window]) -> dict[str, Any]:
    refs = verdict.outcome.refs
    metrics = store.open(refs["report"], Evaluation).metrics if "report" in refs else {}
    return {
        "as_of": str(verdict.model.as_of),
        "kind": verdict.model.kind,
        "first": str(windows[verdict.window].first),
        "last": str(windows[verdict.window].last),
        "age": verdict.window - verdict.model.window,
        **{name: metrics.get(name) for name in (METRIC, "recall_at_10")},
        **store.open(refs["facts"], Facts).values,
    }


def _ages(
    store: Store,
    losses: Mapping[int, Aging | None],
    of_known: Mapping[int, Aging | None],
    verdicts: Sequence[Verdict],
    period: int,
    seconds: Mapping[Kind, float | None],
    margin: float,
) -> list[dict[str, Any]]:
    """One row an age in windows, from 0: loss, what is unknown to models of that age, and what retraining that often costs.

    ``mean_loss`` is that over the life of a model which is replaced when it has reached the next age.
    """
    rows: list[dict[str, Any]] = []
    so_far = [0.0]
    for age in range(len(losses) + 1):
        loss = losses.get(age)
        counts = [
            store.open(v.outcome.refs["facts"], Facts).values
            for v in verdicts
            if v.model.kind == FULL and v.window - v.model.window == age
        ]
        total = {name: sum(entry[name] for entry in counts) for name in counts[0]}
        if age and so_far:
            so_far = [*so_far, loss.loss.mean] if loss is not None else []
        yearly = DAYS_A_YEAR / (period * (age + 1))
        rows.append(
            {
                "age": age,
                "days": age * period,
                "windows": len(counts),
                "users": None if loss is None else loss.users,
                "fresh": None if loss is None else loss.fresh,
                "aged": None if loss is None else loss.other,
                "loss": None if loss is None else asdict(loss.loss),
                "of_known": None if (known := of_known.get(age)) is None else asdict(known),
                "decayed": loss is not None and loss.loss.low > margin,
                "judged_users": total["judged_users"],
                "judged_known_users": total["judged_known_users"],
                "unknown_users": _share(total, "unknown_users", "users"),
                "unknown_items": _share(total, "unknown_items", "items"),
                "unknown_user_pairs": _share(total, "unknown_user_pairs", "pairs"),
                "unknown_item_pairs": _share(total, "unknown_item_pairs", "pairs"),
                "every_days": (age + 1) * period,
                "mean_loss": float(np.mean(so_far)) if so_far else None,
                "seconds_a_year": {kind: None if s is None else s * yearly for kind, s in seconds.items()},
            }
        )
    return rows


def _share(total: Mapping[str, int], part: str, whole: str) -> float | None:
    return total[part] / total[whole] if total[whole] else None
