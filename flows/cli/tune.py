"""`freqd tune`: a method's settings searched on validation, within a number of trials and a time."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from flows.cli.methods import resolve
from flows.cli.options import DONE, Config, Set, Workdir, check_name, console, read_settings, start
from freqd.errors import InputError

SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0}
"""Of a unit of ``--budget``."""


def tune(
    *,
    data: Annotated[
        list[str] | None, Parameter(consume_multiple=True, help="A named data set, or files [data.source].")
    ] = None,
    method: Annotated[
        str | None, Parameter(help="An objective or a sum such as freqd+rce [the settings' own objectives].")
    ] = None,
    trials: Annotated[int, Parameter(help="Number of settings to try, the present ones included.")] = 30,
    budget: Annotated[str, Parameter(help="Time of all trials together, such as 90s, 20m or 2h.")] = "20m",
    config: Config = None,
    preset: Annotated[str | None, Parameter(help="Settings that come with freqd: quick, paper.")] = None,
    set_: Set = None,
    workdir: Workdir = None,
    name: Annotated[str | None, Parameter(help="Name of the search [data set and method].")] = None,
) -> int:
    """Search the settings of a method on the validation split; the result is a file for `freqd run --config`.

    The first trial has the present settings. A search that was stopped resumes when the same command is given again,
    also with more --trials or --budget.
    """
    settings = read_settings(config, preset, data, (None, None, None), set_)
    if trials < 1:
        raise InputError(f"--trials must be at least 1, got {trials}", "20 or more are worth the time")
    seconds = parse_budget(budget)
    check_name(name)
    ((label, objectives),) = _one_method(settings, method)
    result = start(
        settings,
        workdir,
        "tune:tuning",
        method=label,
        objectives=objectives,
        trials=trials,
        budget_seconds=seconds,
        name=name,
    )
    from freqd.report.tuning import plain
    from freqd.report.tuning_result import TuningResult

    found = Path(result["folder"]) / "tuned.toml"
    console.print()
    console.print(plain(TuningResult.model_validate(result)), markup=False, soft_wrap=True)
    console.print()
    for title, value in (("settings", found), ("MLflow run", result["mlflow"]["run_id"])):
        console.print(f"{title:<11} {value}", markup=False, soft_wrap=True)
    console.print(f"{'use it':<11} freqd run --config {shlex.quote(str(found))}", markup=False, soft_wrap=True)
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


def _one_method(settings: Any, method: str | None) -> list[tuple[str, Any]]:
    """The method's name and objectives.

    Raises:
        InputError: there is none to tune.
    """
    from freqd.distill import check_objectives

    found = list(resolve(settings, None if method is None else [method]).items())
    if not found:
        raise InputError(
            f"--method {method!r} has no objective to tune" if method else "the settings have no objective to tune",
            "name one, for example --method freqd+rce",
        )
    for _, objectives in found:
        check_objectives(objectives, settings.teacher)
    return found
