"""`freqd tune`: a method's settings searched on validation, within a number of trials and a time."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from flows.cli.methods import resolve
from flows.cli.options import DONE, NO_SETTINGS, DataOptions, SettingsFrom, Workdir, check_name, start
from flows.cli.output import AsJson, say, say_json, say_places, width
from freqd.errors import InputError

if TYPE_CHECKING:
    from freqd.config import ObjectiveConfig, RunConfig, SearchPlan

SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0}
"""Of a unit of ``--budget``."""


@Parameter(name="*")
@dataclass(frozen=True)
class Searched:
    """What is searched, and for how long."""

    method: Annotated[
        str | None, Parameter(help="An objective or a sum such as freqd+rce [the settings' own objectives].")
    ] = None
    trials: Annotated[int, Parameter(help="Settings that are tried, the present ones among them.")] = 30
    budget: Annotated[str, Parameter(help="Time of all trials together, such as 90s, 20m or 2h.")] = "20m"

    def plan(self, settings: RunConfig) -> SearchPlan:
        """The search that is asked for.

        Raises:
            InputError: there is nothing to tune, or no time or trial to do it.
        """
        from freqd.config import SearchPlan

        if self.trials < 1:
            raise InputError(f"--trials must be at least 1, got {self.trials}", "20 or more are worth the time")
        seconds = parse_budget(self.budget)
        method, objectives = _one_method(settings, self.method)
        return SearchPlan(method=method, objectives=objectives, trials=self.trials, budget_seconds=seconds)


SEARCHED = Searched()


def tune(
    *,
    data: Annotated[
        list[str] | None, Parameter(consume_multiple=True, help="A named data set, or files [data.source].")
    ] = None,
    searched: Searched = SEARCHED,
    given: SettingsFrom = NO_SETTINGS,
    workdir: Workdir = None,
    name: Annotated[str | None, Parameter(help="Name of the search [data set and method].")] = None,
    as_json: AsJson = False,
) -> int:
    """Search the settings of a method on the validation split; the result is a file for `freqd run --config`.

    The first trial has the present settings. A search that was stopped resumes when the same command is given again,
    also with more --trials or --budget.
    """
    settings = given.read(DataOptions(data))
    check_name(name)
    result = start(settings, workdir, "tune:tuning", plan=searched.plan(settings), name=name)
    from freqd.report.tuning import plain
    from freqd.report.tuning_result import TuningResult

    tuning = TuningResult.model_validate(result)
    found = Path(tuning.folder) / "tuned.toml"
    if as_json:
        say_json(result)
        return DONE
    say()
    say(plain(tuning, width()))
    use = f"freqd run --config {shlex.quote(str(found))}"
    say_places([("settings", found), ("MLflow run", tuning.mlflow.run_id), ("use it", use)])
    return DONE


def parse_budget(text: str) -> float:
    """Seconds of ``90s``, ``20m`` or ``2h``.

    Raises:
        InputError: it is something else, or nothing.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smh])", text.strip())
    seconds = float(found[1]) * SECONDS[found[2]] if found else 0.0
    if seconds <= 0.0:
        raise InputError(f"--budget {text!r} is not a time", "give it as 90s, 20m or 2h")
    return seconds


def _one_method(settings: RunConfig, method: str | None) -> tuple[str, tuple[ObjectiveConfig, ...]]:
    """The method's name and objectives.

    Raises:
        InputError: there is none to tune.
    """
    from freqd.distill import check_objectives

    found = next(iter(resolve(settings, None if method is None else [method]).items()), None)
    if found is None:
        raise InputError(
            f"--method {method!r} has no objective to tune" if method else "the settings have no objective to tune",
            "name one, for example --method freqd+rce",
        )
    check_objectives(found[1], settings.teacher)
    return found
