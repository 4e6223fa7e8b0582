"""Validation search over the sizes and strengths of ALS, within a time budget if there is one.

Coarse to fine, so that the time goes where it pays:

1. *Screening.* Every (regularization, alpha) gets ``SCREENING_SWEEPS`` sweeps at the smallest number of factors, which
   is the cheapest. At each larger number only the better half of the pairs, as ranked so far, is tried. What is good
   for a small model is near what is good for a big one, but not the same: hence half, and not one.
2. *Finish.* The ``FINALISTS`` best of all are continued, best first, until ``patience`` validations bring nothing
   better or all sweeps are done. The best validation NDCG@10 wins; at equal values the one that was tried first.

The budget is looked at before anything is started: a setting is tried only if its cost, as measured on this data, still
fits together with finishing the best one. One setting is always completed. Every trial is a file of its own below
the folder, so that a killed search goes on with the trial that it was at, and takes the same decisions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from statistics import median
from time import perf_counter

from freqd.embeddings import Embeddings, Trial
from freqd.errors import InputError
from freqd.teachers.als import AlsHyperparameters, AlsTrial, sweep_cost
from freqd.training.environment import TrainingEnvironment
from freqd.training.interfaces import TrainingData

SCREENING_SWEEPS = 4
EVAL_EVERY = 2
FINALISTS = 2

Pair = tuple[float, float]


@dataclass(frozen=True)
class SearchResult:
    """What the search found.

    Attributes:
        features: the best tables.
        best: the trial that they come from, without tables.
        trials: one row a setting that was started, in that order: factors, regularization, alpha,
            valid_ndcg_at_10, seconds, sweeps, best_sweep, finished, failed.
        not_tried: settings that would have been tried with more time.
        seconds: time of all trials, earlier runs of a resumed search included.
        budget_hit: the budget kept the search from trying or finishing something.
    """

    features: Embeddings
    best: AlsTrial
    trials: list[Trial]
    not_tried: int
    seconds: float
    budget_hit: bool


@dataclass(frozen=True)
class AlsGrid:
    """What to search.

    Attributes:
        factors, regularization, alpha: the values; the first pair of the last two is tried first.
        iterations: sweeps at the most.
        patience: validations without a better value before a trial stops.
        budget_seconds: time for all trials together; None: as long as they take.
    """

    factors: Sequence[int]
    regularization: Sequence[float]
    alpha: Sequence[float]
    iterations: int = 12
    patience: int = 5
    budget_seconds: float | None = None


def search_als(data: TrainingData, grid: AlsGrid, environment: TrainingEnvironment) -> SearchResult:
    """The best ALS of a grid by validation NDCG@10; see the module for how.

    Args:
        data: what to learn from and to be judged by.
        grid: the values, and how long to try.
        environment: its ``checkpoint`` is the folder where the trials are kept, to be found again after a kill; made if missing.

    Raises:
        InputError: no setting gave finite numbers, or the folder cannot be written.
    """
    search = _Search(data, grid, environment)
    pairs = list(product(dict.fromkeys(grid.regularization), dict.fromkeys(grid.alpha)))
    sizes = sorted(set(grid.factors))
    if len(pairs) * len(sizes) == 1:
        search.work = grid.iterations * search.cost(sizes[0])
        search.run(search.open(AlsHyperparameters(sizes[0], *pairs[0])), grid.iterations)
    else:
        search.screen(sizes, pairs)
        search.finish()
    return search.result()


class _Search:
    """The state of one search: its trials and what they cost."""

    def __init__(self, data: TrainingData, grid: AlsGrid, environment: TrainingEnvironment) -> None:
        if environment.checkpoint is None:
            raise ValueError("the search keeps its trials in environment.checkpoint, and there is none")
        self.data, self.environment, self.folder = data, environment, environment.checkpoint
        self.iterations, self.patience = grid.iterations, grid.patience
        self.budget_seconds = math.inf if grid.budget_seconds is None else grid.budget_seconds
        self.trials: list[AlsTrial] = []
        self.screening = min(SCREENING_SWEEPS, grid.iterations)
        self.planned = 1
        self.work = grid.iterations * self.cost(1)
        self.budget_hit = False
        self.not_tried = 0
        self._with_tables: set[AlsHyperparameters] = set()

    # -- trials -----------------------------------------------------------------------------------

    def path(self, point: AlsHyperparameters) -> Path:
        return self.folder / f"als-{point.factors}-{point.regularization!r}-{point.alpha!r}.safetensors"

    def open(self, point: AlsHyperparameters) -> AlsTrial:
        """The trial of a setting, taken up where an earlier run left it."""
        seed = self.environment.seed
        found = AlsTrial.load(self.path(point))
        trial = found if found is not None and found.point == point and found.seed == seed else None
        trial = trial or AlsTrial(point, seed)
        if trial.tables is not None:
            self._with_tables.add(point)
        self.trials.append(trial)
        return trial

    def run(self, trial: AlsTrial, until: int) -> None:
        """Train a trial further, save it, and drop the tables of those that can no longer become finalists."""
        if trial.sweeps < until and not trial.exhausted(self.patience):
            self._load_tables(trial)
            how = {"eval_every": EVAL_EVERY, "patience": self.patience}
            trial.advance(self.data, until, **how, progress=self._show, engine=self.environment.engine)
            start = perf_counter()
            trial.save(self.path(trial.point))
            trial.seconds += perf_counter() - start  # big tables take their time, and it is the user's time too
            self._with_tables.add(trial.point)
        trial.release()
        for other in self.ranked(self.screening)[FINALISTS:]:
            if other.point in self._with_tables:
                other.save(self.path(other.point))
                self._with_tables.discard(other.point)

    def _load_tables(self, trial: AlsTrial) -> None:
        """Bring back the tables that go with the trial's numbers; without them it starts again."""
        if trial.sweeps == 0 or trial.tables is not None:
            return
        found = AlsTrial.load(self.path(trial.point))
        if found is not None and found.tables is not None and found.sweeps == trial.sweeps:
            trial.tables, trial.best = found.tables, found.best
        else:
            trial.sweeps, trial.history = 0, []

    def _show(self, done: float, text: str) -> None:
        if self.planned > 1:
            text = f"{text} (setting {len(self.trials)} of {self.planned})"
        spent = sum(trial.sweeps * self.cost(trial.point.factors) for trial in self.trials)
        self.environment.progress(min(1.0, max(spent / self.work, self.elapsed / self.budget_seconds)), text)

    # -- cost -------------------------------------------------------------------------------------

    @property
    def elapsed(self) -> float:
        """Seconds of all trials, those of earlier runs included."""
        return sum(trial.seconds for trial in self.trials)

    def estimate(self, factors: int, sweeps: int) -> float:
        """Seconds that ``sweeps`` will take, from the nearest size that was measured; 0 if none was."""
        measured = [trial for trial in self.trials if trial.sweeps > 0]
        if not measured:
            return 0.0
        nearest = min((t.point.factors for t in measured), key=lambda size: abs(math.log(size / factors)))
        # the median, since the very first trial also pays for what is compiled or read once
        per_sweep = median(t.seconds / t.sweeps for t in measured if t.point.factors == nearest)
        return sweeps * per_sweep * self.cost(factors) / self.cost(nearest)

    def cost(self, factors: int) -> float:
        """Relative cost of a sweep."""
        n_users, n_items = self.data.train.shape
        return sweep_cost(factors, n_users=n_users, n_items=n_items, n_interactions=self.data.train.nnz)

    def finishing(self, trial: AlsTrial) -> float:
        """Seconds that the rest of a trial may take."""
        if trial.exhausted(self.patience):
            return 0.0
        return self.estimate(trial.point.factors, self.iterations - trial.sweeps)

    # -- stages -----------------------------------------------------------------------------------

    def ranked(self, until: int) -> list[AlsTrial]:
        """Trials by their best value within ``until`` sweeps, best first; the earlier one first at equal values."""
        usable = [trial for trial in self.trials if trial.history]
        return sorted(usable, key=lambda trial: -trial.best_ndcg(until))

    def screen(self, sizes: Sequence[int], pairs: Sequence[Pair]) -> None:
        """A few sweeps for all pairs at the smallest size, then for the better half at each larger one."""
        half = math.ceil(len(pairs) / 2)
        self.planned = len(pairs) + half * (len(sizes) - 1)
        counts = [len(pairs), *[half] * (len(sizes) - 1)]
        self.work = sum(count * self.screening * self.cost(size) for count, size in zip(counts, sizes, strict=True))
        self.work += FINALISTS * (self.iterations - self.screening) * self.cost(sizes[-1])
        candidates = list(pairs)
        for size in sizes:
            for regularization, alpha in candidates:
                trial = self.open(AlsHyperparameters(size, regularization, alpha))
                if not self._affordable(trial):
                    self.trials.remove(trial)
                    self.budget_hit = True
                    self.not_tried = self.planned - len(self.trials)
                    return
                self.run(trial, self.screening)
            ranked = dict.fromkeys((t.point.regularization, t.point.alpha) for t in self.ranked(self.screening))
            candidates = list(ranked)[:half]

    def _affordable(self, trial: AlsTrial) -> bool:
        """Whether there is time to screen a trial and still to finish the best; always true while there is none."""
        rest = self.screening - trial.sweeps
        best = self.ranked(self.screening)[:1]
        if rest <= 0 or not best:
            return True
        # it may become the best, and then it is the one to finish
        size = trial.point.factors
        reserve = max(self.finishing(best[0]), self.estimate(size, self.iterations - self.screening))
        return self.elapsed + self.estimate(size, rest) + reserve <= self.budget_seconds

    def finish(self) -> None:
        """Carry the best trials on; the first in any case, the others while the budget lasts."""
        for number, trial in enumerate(self.ranked(self.screening)[:FINALISTS]):
            if number > 0 and self.elapsed + self.finishing(trial) > self.budget_seconds:
                self.budget_hit = True
                return
            self.run(trial, self.iterations)

    def result(self) -> SearchResult:
        """The winner and the table of trials."""
        ranked = self.ranked(self.iterations)
        if not ranked:
            raise InputError(
                "the ALS teacher gave numbers that are not finite for every setting of the search",
                "raise teacher.regularization (for example to 10) or lower teacher.alpha",
            )
        best = ranked[0]
        self._load_tables(best)
        if best.best is None:  # its file was damaged after it had been trained
            self.run(best, self.iterations)
            self._load_tables(best)
        assert best.best is not None
        features = best.best
        best.release()
        return SearchResult(
            features=features,
            best=best,
            trials=[self._row(trial) for trial in self.trials],
            not_tried=self.not_tried,
            seconds=self.elapsed,
            budget_hit=self.budget_hit,
        )

    def _row(self, trial: AlsTrial) -> Trial:
        return trial.row(finished=trial.sweeps >= self.iterations or trial.exhausted(self.patience))
