"""What a search over settings found, in types: what ``freqd tune`` shows and writes."""

from __future__ import annotations

from freqd.report.run_result_parts import Dumped, ResultPart

Number = int | float
"""A setting's value: a whole one stays whole, in tables and files too."""
DONE = "done"


class FinishedTrial(ResultPart):
    """One trial.

    Attributes:
        number: from 1; the first has the settings as they were given.
        end: ``done``, or how it ended before.
        value: validation NDCG@10; of one that was stopped, the best until then; None if it had none.
        best_so_far: of the trials that were done by then.
        used: seconds of all trials up to its end.
        settings: values by name of what was varied.
    """

    number: int
    end: str
    value: float | None
    best_so_far: float | None
    epochs: int
    seconds: float
    used: float
    settings: dict[str, Number]
    mlflow_run_id: str

    @property
    def done(self) -> bool:
        """Whether it came to its end."""
        return self.end == DONE


class SearchDimension(ResultPart):
    """A setting that was varied, as ``freqd.tuning.Dimension`` says; ``own`` is the value that was given."""

    name: str
    own: Number
    low: Number
    high: Number
    log: bool
    integer: bool
    zero_below: Number


class SearchInMlflow(ResultPart):
    """Where MLflow has the search."""

    run_id: str
    experiment_id: str


class TuningResult(ResultPart):
    """The result of a search.

    Attributes:
        data: name of the data set.
        requested: trials that were asked for.
        budget_seconds: seconds of trials that were allowed.
        seconds: those that were used.
        trials: in their order.
        best: number of the best one.
        importances: by setting, share of what sets the best trials apart; empty if too few were done.
        config: the settings with the best values, as JSON.
    """

    freqd: str
    name: str
    folder: str
    data: str
    method: str
    dim: int
    requested: int
    budget_seconds: float
    seconds: float
    trials: tuple[FinishedTrial, ...]
    best: int
    space: tuple[SearchDimension, ...]
    importances: dict[str, float]
    config: Dumped
    mlflow: SearchInMlflow

    @property
    def best_trial(self) -> FinishedTrial:
        """The best one."""
        return self.trials[self.best - 1]

    def by_importance(self) -> list[SearchDimension]:
        """What was varied, the most important first, else in its order."""
        return sorted(self.space, key=lambda varied: -self.importances.get(varied.name, 0.0))
