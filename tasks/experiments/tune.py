"""What a search over settings adds to the stages of a run: one trial, and the result.

A trial is a distillation whose settings Optuna drew, judged on the validation split alone. It is the stage ``distill`` of
a run, so a run with the settings found has its student already. A trial that was killed goes on from the training's own
checkpoint.
"""

from __future__ import annotations

import math
import time
import warnings
from contextlib import suppress
from dataclasses import asdict
from functools import partial
from pathlib import Path

import optuna
import tomli_w
from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID
from optuna.study import Study
from optuna.trial import Trial, TrialState
from prefect import task
from prefect.artifacts import create_image_artifact, create_markdown_artifact
from prefect.client.schemas import State
from prefect.states import Completed
from pydantic import BaseModel, ConfigDict

import freqd
from freqd import numbers as fmt
from freqd.config import DistillConfig, RunConfig, SpectralConfig
from freqd.data.sources import name_of
from freqd.distill import check_objectives
from freqd.embeddings import TrainedModel
from freqd.errors import DivergedError, InputError
from freqd.report import tuning as shown
from freqd.report.run import html
from freqd.report.run.settings import as_toml
from freqd.report.tuning_result import DONE, FinishedTrial, SearchDimension, SearchInMlflow, TuningResult
from freqd.storage.files import storage_error, write_atomic
from freqd.tuning import LEARNING_RATE, WEIGHT_DECAY, with_values
from tasks import plugins
from tasks.earlier_run import EarlierModel
from tasks.experiments.search import Before, Search, ask, before, finished, open_study, spent
from tasks.mlops import tracking
from tasks.run_context import RunContext, StageOutcome
from tasks.runtime.engine import at_a_time, call, side_by_side
from tasks.runtime.progress import console
from tasks.stage import Result, Stage, is_transient
from tasks.stages.distill import Course, distill, teach
from tasks.stages.inputs import DistillInputs

METRIC = "valid_ndcg_at_10"
ENOUGH_FOR_IMPORTANCE = 10
"""Completed trials that are needed to say which settings matter."""
PRUNED, DIVERGED, REFUSED, CUT = "pruned", "diverged", "not allowed", "out of time"
"""How a trial ends."""


class OutOfTimeError(Exception):
    """The search's budget ends in the middle of a trial."""


class Ended(BaseModel):
    """How a trial ended.

    Attributes:
        end: completed, or why not.
        epochs: how many it had, or its last validated one.
        value: NDCG@10 on validation, if it was completed.
        seconds: what it took, parts before a kill included.
        curve: its validations by epoch.
        mlflow_run_id: of its run.
    """

    model_config = ConfigDict(frozen=True)

    end: str
    epochs: int
    value: float | None
    seconds: float
    curve: dict[int, float]
    mlflow_run_id: str


def round_of(run: RunContext, search: Search, inputs: DistillInputs, spectral: SpectralConfig) -> None:
    """Draw the settings of as many trials as the engine does at a time, or take those of trials that were killed, and do them."""
    study = open_study(search)
    drawn = ask(study, search, at_a_time())
    others = before(study)
    jobs = [partial(call, trial, run, search, dict(each.params), others, inputs, spectral) for each in drawn]
    for each, ended in zip(drawn, side_by_side(jobs), strict=True):
        _close(run, search, study, each, Ended.model_validate(ended))


@task(name="trial", retries=2, retry_delay_seconds=5, retry_condition_fn=is_transient)
def trial(
    run: RunContext,
    search: Search,
    drawn: dict[str, float],
    others: Before,
    inputs: DistillInputs,
    spectral: SpectralConfig,
) -> State[Ended]:
    """Distil with the settings that were drawn."""
    config = with_values(search.config, search.space, drawn)
    watcher = Watcher(search, others)

    def watched(
        at: Stage,
        inputs: DistillInputs,
        config: DistillConfig,
        spectral: SpectralConfig,
        earlier: EarlierModel | None = None,
    ) -> Result:
        watcher.begin(at.scratch)
        try:
            check_objectives(config.objectives)
        except InputError as error:  # values that an objective does not take together
            watcher.end = REFUSED
            return Result({}, error.problem, kept=False)
        try:
            return teach(at, inputs, config, spectral, Course(earlier, watcher))
        except (optuna.TrialPruned, OutOfTimeError, DivergedError) as error:
            watcher.end = {optuna.TrialPruned: PRUNED, OutOfTimeError: CUT, DivergedError: DIVERGED}[type(error)]
            return Result({}, f"{watcher.end} after epoch {watcher.epoch}", {}, watcher.curve(), kept=False)

    outcome = distill.within(run, watched, inputs, config, spectral)
    ended = watcher.ended(run, outcome)
    return Completed(name="Cached" if outcome.cached else None, message=outcome.headline, data=ended)


class Watcher:
    """Keeps each validation, and ends a trial that is behind the others or has no time left."""

    def __init__(self, search: Search, others: Before) -> None:
        self.search, self.others = search, others
        self.end = DONE
        self._values: dict[int, float] = {}
        self._started = time.perf_counter()
        self._earlier = 0.0
        self._spent: Path | None = None

    def begin(self, scratch: Path) -> None:
        """Find how long the trial had taken when it was killed; what it takes from now on is kept in the same folder."""
        self._spent = scratch / "seconds"
        with suppress(OSError, ValueError):
            self._earlier = float(self._spent.read_text())

    @property
    def epoch(self) -> int:
        """The latest validated epoch."""
        return max(self._values, default=0)

    @property
    def seconds(self) -> float:
        """What the trial has taken, parts before a kill included."""
        return self._earlier + time.perf_counter() - self._started

    def curve(self) -> list[dict[str, float]]:
        """The learning curve so far."""
        return [{"epoch": epoch, METRIC: value} for epoch, value in sorted(self._values.items())]

    def __call__(self, epoch: int, score: float) -> None:
        """For ``fit``; the first trials that are to be completed go to their end, so that there is a result."""
        self._values[epoch] = score
        if self._spent is not None:
            write_atomic(self._spent, str(self.seconds))
        if not self.others.curves:
            return
        if self.others.seconds + self.seconds >= self.search.budget:
            raise OutOfTimeError
        if self.others.ahead(self._values, epoch, self.search.config.eval_every):
            raise optuna.TrialPruned

    def ended(self, run: RunContext, outcome: StageOutcome) -> Ended:
        """How the trial ended."""
        epochs, value, curve = self.epoch, None, dict(self._values)
        if outcome.refs:
            model = run.workspace.store.open(outcome.refs["student"], TrainedModel)
            epochs, value = model.info["epochs"], model.info["valid_ndcg_at_10"]
            # also the validations before a kill, or of a student that was cached
            curve = {entry["epoch"]: entry["valid_ndcg_at_10"] for entry in model.history}
        return Ended(
            end=self.end,
            epochs=epochs,
            value=value,
            seconds=outcome.seconds if outcome.cached else self.seconds,
            curve=curve,
            mlflow_run_id=outcome.mlflow_run_id,
        )


def _close(context: RunContext, search: Search, study: Study, drawn: Trial, ended: Ended) -> None:
    """Report to the study how the trial ended, name its run in MLflow, and show where the search stands."""
    number = len(finished(study)) + 1
    for epoch, score in sorted(ended.curve.items()):
        drawn.report(score, epoch)
    for name, fact in ended.model_dump(include={"end", "epochs", "seconds", "mlflow_run_id"}).items():
        drawn.set_user_attr(name, fact)
    study.tell(drawn, ended.value, state=TrialState.PRUNED if ended.value is None else TrialState.COMPLETE)

    tracking.client().update_run(ended.mlflow_run_id, name=f"trial {number}")
    tracking.log(
        ended.mlflow_run_id,
        metrics={f"best_{METRIC}": ended.value},
        params=search.settings(drawn.params),
        tags={"method": search.method, "trial": str(number), "study": search.study, "freqd.trial_end": ended.end},
    )
    used = f"{fmt.duration(spent(study))} of {fmt.duration(search.budget)}".replace(fmt.NBSP, " ")
    best = next(
        (f"best {study.best_value:.4f}" for t in finished(study) if t.state == TrialState.COMPLETE), "none done"
    )
    console.print(f"trial {number} of {search.trials}: {best}, {used}", markup=False, soft_wrap=True)


def adopt(context: RunContext, search: Search) -> None:
    """Hang the MLflow runs of trials that an earlier, killed part of the search made below this one's run."""
    for earlier in finished(open_study(search)):
        # The study may be older than the tracking server: a trial without a run there still counts.
        with suppress(MlflowException):
            tracking.client().set_tag(earlier.user_attrs["mlflow_run_id"], MLFLOW_PARENT_RUN_ID, context.mlflow_run_id)


@task(name="conclude")
def conclude(context: RunContext, search: Search, config: RunConfig) -> TuningResult:
    """Write the best settings, the trials and the figure, and hand them to MLflow and Prefect.

    Raises:
        InputError: not one trial was completed.
    """
    study = open_study(search)
    trials = _trials(search, study)
    done = [entry for entry in trials if entry.done]
    if not done:
        raise InputError(
            f"none of {len(trials)} trials was completed: {', '.join(sorted({entry.end for entry in trials}))}",
            f"lower distill.learning_rate (now {search.config.learning_rate:g}), or allow more --trials",
        )
    best = max(done, key=lambda entry: entry.value or 0.0)
    frozen = finished(study)[best.number - 1]
    tuned = config.model_copy(update={"distill": with_values(search.config, search.space, frozen.params)})
    result = TuningResult(
        freqd=freqd.__version__,
        name=context.run_name,
        folder=str(search.folder),
        data=name_of(config.data),
        method=search.method,
        dim=search.config.dim,
        requested=search.trials,
        budget_seconds=search.budget,
        seconds=spent(study),
        trials=trials,
        best=best.number,
        space=tuple(SearchDimension(**{**asdict(dim), "own": dim.setting(dim.own)}) for dim in search.space),
        importances=_importances(study, len(done)),
        config=tuned.model_dump(mode="json"),
        mlflow=SearchInMlflow(run_id=context.mlflow_run_id, experiment_id=context.mlflow_experiment_id),
    )
    image = shown.figure(result)
    files: dict[str, str | bytes] = {
        "tuned.toml": _toml(result, tuned),
        "trials.csv": shown.csv(result),
        "best-so-far.png": image,
    }
    try:
        for name, content in files.items():
            write_atomic(search.folder / name, content)
    except OSError as error:
        raise storage_error(error, search.folder) from error
    tracking.log(
        context.mlflow_run_id,
        metrics={f"best_{METRIC}": best.value, "trials": len(trials), "trial_seconds": result.seconds},
        params={f"best.{name}": value for name, value in best.settings.items()},
        series=[{"epoch": e.number, "best_so_far": e.best_so_far} for e in trials if e.best_so_far is not None],
    )
    for name in files:
        tracking.log_file(context.mlflow_run_id, search.folder / name, "figures" if name.endswith(".png") else None)
    create_markdown_artifact(shown.markdown(result), key="tuning", description=context.run_name)
    create_image_artifact(html.data_uri(image), key="best-so-far", description=context.run_name)
    return result


def _trials(search: Search, study: Study) -> tuple[FinishedTrial, ...]:
    """All trials in their order, with the best so far and the seconds used up to the end of each."""
    rows: list[FinishedTrial] = []
    used, best = 0.0, None
    for number, ended in enumerate(finished(study), start=1):
        facts = ended.user_attrs
        used += facts["seconds"]
        seen = max(ended.intermediate_values.values(), default=None)
        if facts["end"] == DONE:
            best = max(best if best is not None else -math.inf, ended.value or 0.0)
        rows.append(
            FinishedTrial(
                number=number,
                end=facts["end"],
                value=ended.value if facts["end"] == DONE else seen,
                best_so_far=best,
                epochs=facts["epochs"],
                seconds=facts["seconds"],
                used=used,
                settings=search.settings(ended.params),
                mlflow_run_id=facts["mlflow_run_id"],
            )
        )
    return tuple(rows)


def _importances(study: Study, n_done: int) -> dict[str, float]:
    """Share of the variation among the best trials that each setting explains (PED-ANOVA); empty with too few trials."""
    if n_done < ENOUGH_FOR_IMPORTANCE:
        return {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # constant values and the like; the result is then even shares
        return dict(optuna.importance.get_param_importances(study))


def _toml(result: TuningResult, tuned: RunConfig) -> str:
    """The best settings as a file for ``freqd run --config``; paths stay as they were given."""
    always = {"distill.dim", "distill.objectives", LEARNING_RATE, WEIGHT_DECAY}
    if tuned.data.train is None and tuned.data.sql is None:
        always.add("data.source")
    best = result.best_trial
    said = (
        f"# freqd tune, {result.data}, {result.method}: trial {best.number} of {len(result.trials)}, "
        f"validation NDCG@10 {best.value:.4f}, {result.seconds:.0f} s of trials; freqd {result.freqd}.",
        "# Paths are relative to the folder in which it was started.",
    )
    files = plugins.files(tuned)
    named = tomli_w.dumps({"plugins": files}) + "\n" if files else ""
    return "\n".join(said) + "\n\n" + named + as_toml(result.config, always=always)
