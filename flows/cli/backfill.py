"""`freqd backfill`: the main job as of each date of a range."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Annotated

from cyclopts import Parameter

from flows.cli.options import (
    DONE,
    NO_SETTINGS,
    DataOptions,
    SettingsFrom,
    Workdir,
    check_name,
    registering,
    start,
)
from flows.cli.output import AsJson, say, say_json, width
from freqd.errors import InputError

DAYS = {"d": 1, "w": 7}
"""Of a unit of ``--every``."""


@Parameter(name="*")
@dataclass(frozen=True)
class Runs:
    """The runs of a backfill."""

    every: Annotated[str, Parameter(help="From one date to the next: 7d or 1w, for example.")] = "7d"
    register: Annotated[bool, Parameter(negative="", help="Register the students, and put each through the gate.")] = (
        False
    )
    workdir: Workdir = None
    name: Annotated[str | None, Parameter(help="Runs are called NAME-DATE [the data set].")] = None
    start_from: Annotated[
        str | None,
        Parameter(help="champion or a run: the first date starts there, each other one from the date before it."),
    ] = None


RUNS = Runs()


def backfill(
    first: Annotated[date, Parameter(name="FROM", help="The first date, as 2026-03-31.")],
    last: Annotated[date, Parameter(name="TO", help="No date is later than this one.")],
    *,
    data: Annotated[
        list[str] | None, Parameter(consume_multiple=True, help="A named data set, or files [data.source].")
    ] = None,
    given: SettingsFrom = NO_SETTINGS,
    runs: Runs = RUNS,
    as_json: AsJson = False,
) -> int:
    """Run the main job as of each date of a range, in chronological order; no run sees what is later than its date.

    A date whose run has finished with the same settings is skipped, and a range that was stopped resumes when the
    same command is given again.
    """
    from freqd.config import BackfillPlan

    settings = given.read(DataOptions(data), start_from=runs.start_from)
    days = parse_days("--every", runs.every)
    today = datetime.now(UTC).date()
    if last < first:
        raise InputError(f"{last} is before {first}", "name the earlier date first")
    if last > today:
        raise InputError(f"{last} has not come yet", f"name dates up to {today}")
    if settings.data.as_of is not None:
        raise InputError(
            f"data.as_of is set to {settings.data.as_of}, and a backfill sets it to each of its dates", "leave it out"
        )
    check_name(runs.name)
    plan = BackfillPlan(first=first, last=last, every_days=days, registered=runs.register)
    # so that the first date's data are looked at before anything is started
    settings = settings.model_copy(update={"data": settings.data.model_copy(update={"as_of": first})})
    settings = registering(settings, runs.register)
    result = start(settings, runs.workdir, "backfill:backfill", plan=plan, name=runs.name)
    from freqd.report.backfill import BackfillResult, plain

    if as_json:
        say_json(result)
        return DONE
    say()
    say(plain(BackfillResult.model_validate(result), width()))
    return DONE


def parse_days(option: str, text: str) -> int:
    """Whole days of ``7d`` or ``2w``.

    Raises:
        InputError: it is something else, or nothing.
    """
    found = re.fullmatch(r"(\d{1,4})([dw])", text.strip())
    days = int(found[1]) * DAYS[found[2]] if found else 0
    if days < 1:
        raise InputError(f"{option} {text!r} is not a number of days", "give it as 7d or 2w")
    return days
