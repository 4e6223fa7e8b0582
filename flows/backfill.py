"""The main job as of each date of a range, one run a date, earliest first."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from functools import partial

from prefect import flow, runtime

from flows.naming import WITHOUT_TIME, as_folder
from flows.pipeline import pipeline
from freqd.config import BackfillPlan, RunConfig
from freqd.data.sources import name_of
from freqd.errors import InputError
from freqd.json_types import JsonObject
from freqd.report.backfill import BackfilledRun, BackfillResult
from freqd.report.run_result import RunResult
from tasks.earlier_run import NONE
from tasks.experiments.backfill import finished, number_ids, present, record
from tasks.runtime.engine import at_a_time, engine, side_by_side
from tasks.runtime.errors import translate
from tasks.runtime.progress import console
from tasks.runtime.workspace import Workspace

DEFAULTS = RunConfig()


@flow(name="freqd-backfill", flow_run_name=lambda: str(runtime.flow_run.parameters.get("name") or "backfill"))
def backfill(
    plan: BackfillPlan, config: RunConfig = DEFAULTS, workdir: str | None = None, name: str | None = None
) -> JsonObject:
    """Run the main job with ``data.as_of`` set to each date; returns what came of each.

    No run sees an interaction that is later than its date. A date whose run has finished with these settings is
    skipped, so a range that was stopped resumes. If the settings start from another run, the first date does,
    and each later one from the run of the date before it, as far as that fits. Runs that neither start from another nor
    register anything are done beside each other where the engine has workers.

    Args:
        plan: the dates, and whether the students are registered.
        config: all other settings.
        workdir: where everything is kept; default FREQD_WORKDIR or ./freqd-work.
        name: runs are called NAME-DATE; default the data set.

    Raises:
        InputError: the data as of a date cannot be used; runs of earlier dates stay.
    """
    workspace = Workspace.locate(workdir)
    workspace.prepare()
    label = as_folder(name or name_of(config.data), WITHOUT_TIME)
    days = dates(plan)
    names = [f"{label}-{day}" for day in days]

    settings = [
        settings_of(config, day, before, registered=plan.registered)
        for day, before in zip(days, [None, *names], strict=False)
    ]

    def run(number: int) -> BackfilledRun:
        console.print(f"as of {days[number]} ({number + 1} of {len(days)})", markup=False)
        with _of(days[number]):
            return _run(workspace, settings[number], names[number], days[number])

    jobs = [partial(run, number) for number in range(len(days))]
    if plan.registered or config.start.run != NONE:
        records = [job() for job in jobs]
    else:
        with engine(config.engine, workspace):
            if at_a_time() > 1:
                for day, name, own in zip(days, names, settings, strict=True):
                    with _of(day):
                        number_ids(workspace, name, own)
            records = side_by_side(jobs)
    result = BackfillResult(name=label, workdir=str(workspace.root), runs=tuple(records))
    present(result)
    return result.as_json()


def _run(workspace: Workspace, settings: RunConfig, name: str, day: date) -> BackfilledRun:
    """One date's run, unless it has finished before."""
    if (done := finished(workspace, name, settings)) is not None:
        return record(done, day, passed_over=True)
    made = RunResult.model_validate(pipeline(settings, workdir=str(workspace.root), run_name=name))
    return record(made, day, passed_over=False)


@contextmanager
def _of(day: date) -> Iterator[None]:
    """Name the date in an error."""
    try:
        yield
    except Exception as error:
        mine = translate(error)
        if mine is None:
            raise
        raise InputError(f"as of {day}: {mine.problem}", mine.remedy) from error


def dates(plan: BackfillPlan) -> tuple[date, ...]:
    """``first`` and every so many days after it, none later than ``last``."""
    length = (plan.last - plan.first).days
    return tuple(plan.first + timedelta(days=n) for n in range(0, length + 1, plan.every_days))


def settings_of(config: RunConfig, day: date, before: str | None, *, registered: bool) -> RunConfig:
    """The settings of one date's run.

    Args:
        config: those of all dates.
        day: the date.
        before: name of the run of the date before it, None for the first.
        registered: whether the student is registered.
    """
    start = config.start
    if before is not None and start.run != NONE:
        start = start.model_copy(update={"run": before, "required": False})
    data = config.data.model_copy(update={"as_of": day})
    registry = config.registry.model_copy(update={"enabled": registered, "refit": "none"})
    return config.model_copy(update={"data": data, "registry": registry, "start": start})
