"""A search over settings on disk: what it may use, its study, and the next trial.

The study is a SQLite file; whatever is killed goes on from it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from statistics import median

import optuna
from filelock import FileLock, Timeout
from numpy.random import SeedSequence
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState
from pydantic import BaseModel, ConfigDict, Field

from freqd import provenance
from freqd.config import DistillConfig, RunConfig, SearchPlan
from freqd.errors import InputError
from freqd.storage.files import storage_error, text_digest
from freqd.tuning import Dimension, search_space
from tasks import plugins
from tasks.run_context import RunContext
from tasks.stages.distill import distill
from tasks.stages.inputs import DistillInputs

FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)
UNPRUNED_TRIALS = 5
"""So many trials are trained to their end before any is compared with their median."""
UNPRUNED_VALIDATIONS = 2
"""A trial is not stopped before it has had more validations than these, beside that of its start."""


class Search(BaseModel):
    """A search: where its study lies, what it starts from, and what it may use.

    ``study`` names everything that shapes a trial, so trials of other data, settings or code never count as this one's.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    folder: Path
    study: str
    method: str
    config: DistillConfig = Field(description="The settings of the first trial; ranges lie around them.")
    seed: int
    trials: int
    budget: float = Field(description="Seconds of all trials together, those of earlier, killed parts included.")

    @property
    def space(self) -> tuple[Dimension, ...]:
        """What is varied."""
        return search_space(self.config)

    def settings(self, drawn: Mapping[str, float]) -> dict[str, float]:
        """The values of the settings that were drawn, by name."""
        return {dimension.name: dimension.setting(drawn[dimension.name]) for dimension in self.space}


def new_search(context: RunContext, inputs: DistillInputs, config: RunConfig, plan: SearchPlan) -> Search:
    """The search of these settings on these data; its folder is ``tuned/NAME`` of the working directory."""
    shape = {
        "inputs": {name: ref.digest for name, ref in inputs},
        "distill": config.distill.model_dump(mode="json"),
        "space": [str(dimension) for dimension in search_space(config.distill)],
        "code": provenance.code_digest([distill.module]),
        **plugins.sources(plugins.of_distill(config.distill)),
        "seed": context.seed,
        "device": context.device,
    }
    return Search(
        folder=context.workspace.root / "tuned" / context.run_name,
        study=text_digest(json.dumps(shape, sort_keys=True))[:16],
        method=plan.method,
        config=config.distill,
        seed=context.seed,
        trials=plan.trials,
        budget=plan.budget_seconds,
    )


@contextmanager
def hold(search: Search) -> Iterator[None]:
    """Keep the search's folder for this process.

    Raises:
        InputError: another process is at work on it, or it cannot be written.
    """
    lock = FileLock(search.folder / ".lock")
    try:
        search.folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout:
        raise InputError(
            f"another search is at work in {search.folder}", "wait for it, or give this one another --name"
        ) from None
    except OSError as error:
        raise storage_error(error, search.folder) from error
    try:
        yield
    finally:
        lock.release()


@cache
def _storage(file: Path) -> optuna.storages.RDBStorage:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna.storages.RDBStorage(f"sqlite:///{file}")


class Before(BaseModel):
    """What a trial is held against: the trials that had ended when it began.

    Attributes:
        curves: validations by epoch of those that were completed.
        seconds: what all of them took.
    """

    model_config = ConfigDict(frozen=True)

    curves: tuple[dict[int, float], ...]
    seconds: float

    def ahead(self, values: Mapping[int, float], epoch: int, eval_every: int) -> bool:
        """Whether the median of the others at this epoch is above all that a trial has reached; not among the first few."""
        if len(self.curves) < UNPRUNED_TRIALS or epoch <= UNPRUNED_VALIDATIONS * eval_every:
            return False
        others = [curve[epoch] for curve in self.curves if epoch in curve]
        return bool(others) and max(values.values()) < median(others)


def before(study: Study) -> Before:
    """What the next trials are held against."""
    completed = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    return Before(curves=tuple(trial.intermediate_values for trial in completed), seconds=spent(study))


def open_study(search: Search) -> Study:
    """The study on disk; a new one begins with the settings as they are.

    The sampler's seed depends on how many trials there are, so a search that was killed draws what it would have drawn.
    """
    storage = _storage(search.folder / "study.db")
    study = optuna.create_study(
        storage=storage,
        study_name=search.study,
        direction="maximize",
        load_if_exists=True,
    )
    seed = SeedSequence([search.seed, len(finished(study))]).generate_state(1)[0]
    study.sampler = optuna.samplers.TPESampler(seed=int(seed), constant_liar=True)
    return study


def finished(study: Study) -> list[FrozenTrial]:
    """All trials that have ended, in their order; one that was killed is not among them."""
    return study.get_trials(deepcopy=False, states=FINISHED)


def spent(study: Study) -> float:
    """Seconds that the trials took."""
    return float(sum(trial.user_attrs.get("seconds", 0.0) for trial in finished(study)))


def goes_on(search: Search) -> bool:
    """Whether there are trials and time left."""
    study = open_study(search)
    return len(finished(study)) < search.trials and spent(study) < search.budget


def ask(study: Study, search: Search, count: int = 1) -> list[Trial]:
    """The next trials, ``count`` or as many as are left: those that were killed, then the settings as they are, then what the sampler draws.

    They are drawn together, so what they are depends on how many are done at a time, and not on which of them is done first.
    """
    space = search.space
    for killed in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        study.tell(killed.number, state=TrialState.FAIL)
        if len(killed.params) == len(space):
            study.enqueue_trial(killed.params)
    if not finished(study) and not study.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
        study.enqueue_trial({dimension.name: dimension.own for dimension in space})
    drawn = {dimension.name: _distribution(dimension) for dimension in space}
    return [study.ask(drawn) for _ in range(min(count, search.trials - len(finished(study))))]


def _distribution(dimension: Dimension) -> optuna.distributions.BaseDistribution:
    if dimension.integer:
        return optuna.distributions.IntDistribution(int(dimension.low), int(dimension.high), log=dimension.log)
    return optuna.distributions.FloatDistribution(dimension.low, dimension.high, log=dimension.log)
