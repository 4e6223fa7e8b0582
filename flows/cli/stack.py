"""`freqd up`, `status`, `logs`, `down`, `schedule`: the servers of a working directory and what they start by themselves."""

from __future__ import annotations

import os
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, Parameter
from cyclopts.validators import Number

from flows.cli.options import BROKEN, DONE, SettingsFrom, Workdir, workspace_of
from flows.cli.output import AsJson, say, say_facts, say_json, say_table
from freqd.errors import InputError

if TYPE_CHECKING:
    from freqd.config import RunConfig
    from tasks.runtime.workspace import Workspace

Process = Literal["prefect", "mlflow", "worker", "page", "supervisor"]
Port = Number(gte=1, lte=65535)
ScheduleName = Annotated[str, Parameter(name="NAME", help="Name of the schedule.")]

schedule_app = App(
    name="schedule",
    help="Retrain on a schedule; list, pause, resume and remove schedules, those of drift checks too.",
)


def up(
    *,
    prefect_port: Annotated[int, Parameter(help="Port of the Prefect server.", validator=Port)] = 4200,
    mlflow_port: Annotated[int, Parameter(help="Port of the MLflow server.", validator=Port)] = 5000,
    page_port: Annotated[
        int | None,
        Parameter(
            help="Port of the page that shows what `freqd status` says [4280, or the next free one].", validator=Port
        ),
    ] = None,
    workdir: Workdir = None,
) -> int:
    """Start the Prefect and MLflow servers, a worker and the status page on 127.0.0.1, and wait until they are healthy.

    They keep their data in SQLite files of the working directory or, with FREQD_DATABASE_URL, in PostgreSQL.
    """
    from flows.ops import processes, servers

    workspace = workspace_of(workdir)
    try:
        found, started = servers.up(
            workspace, servers.Ports(prefect_port, mlflow_port, page_port), lambda text: say(text)
        )
    except processes.StackError as error:
        say(f"freqd: {error}")
        return BROKEN
    if not started:
        say("the servers are up already")
    for line in (
        f"status    {found.page}   what stands in production, and why",
        f"Prefect   {found.prefect}   runs, schedules, deployments",
        f'MLflow    {found.mlflow}   metrics, artifacts, models; choose "Model training" at the top left',
        f"workdir   {workspace.root}   ({found.database})",
        "next: freqd status, freqd schedule, freqd logs, freqd down",
    ):
        say(line)
    return DONE


def status(*, as_json: AsJson = False, workdir: Workdir = None) -> int:
    """Show champion, last and next run, drift, disk and servers; exit code 1 unless the servers are up and healthy.

    `freqd up` shows the same as a page, with the history.
    """
    from flows.ops.overview import gather
    from freqd import numbers
    from freqd.report.overview.text import screen

    found = gather(workspace_of(workdir))
    if as_json:
        say_json(found.model_dump(mode="json"))
        return DONE if found.well else BROKEN
    say_facts(screen(found))
    say()
    if not found.servers:
        say("the servers are down; `freqd up` starts them")
        return BROKEN
    rows = [
        (server.name, server.state, server.pid, numbers.size(server.memory_bytes), server.address)
        for server in found.servers
    ]
    say_table(("process", "state", "pid", "memory", "address"), rows)
    if found.well:
        return DONE
    say("not all is well: see `freqd logs`; `freqd up` restarts what is gone")
    return BROKEN


def logs(
    process: Annotated[
        Process | None, Parameter(help="Only this one; supervisor says what was started and what died.")
    ] = None,
    *,
    lines: Annotated[int, Parameter(help="How many lines of each.", validator=Number(gte=1))] = 40,
    workdir: Workdir = None,
) -> int:
    """Show the last lines that the servers and the worker wrote; those of the runs are among the worker's."""
    from flows.ops import processes, servers

    workspace = workspace_of(workdir)
    for name in servers.NAMES if process is None else (process,):
        path = servers.log_file(workspace, name)
        say(f"== {name}: {path}")
        for line in processes.tail(path, lines) or ["(nothing was written)"]:
            say(line)
    return DONE


def down(*, workdir: Workdir = None) -> int:
    """Stop the servers, the worker and its runs; what they did is kept, and a stopped run resumes when it is run again."""
    from flows.ops import processes, servers

    try:
        count = servers.down(workspace_of(workdir))
    except processes.StackError as error:
        say(f"freqd: {error}")
        return BROKEN
    say(f"stopped, {count} processes" if count else "the servers were down already")
    return DONE


def deploy(
    *,
    config: Annotated[Path | None, Parameter(help="TOML file with the settings that the forms start from.")] = None,
    workdir: Workdir = None,
) -> int:
    """Register the main job with a Prefect server: work pool, deployments, automations. `freqd up` does it by itself.

    The server is that of `freqd up`, or that of PREFECT_API_URL. What exists there is updated; schedules are kept. With
    --config, the forms of the page start from your settings instead of asking for the data.
    """
    import httpx

    workspace = workspace_of(workdir)
    settings = None
    if config is not None:
        settings = _settings_for_the_server(config, workspace)
    require_server(workspace)
    from flows.ops import deployments

    try:
        pool = deployments.deploy(workspace, config, settings)
    except httpx.TransportError as error:
        raise InputError(
            f"the Prefect server {os.environ['PREFECT_API_URL']} does not answer: {error}", "see whether it runs"
        ) from error
    say(f"the deployments are up to date; a worker for them: prefect worker start --pool {pool} --type process")
    return DONE


def _settings_for_the_server(file: Path, workspace: Workspace) -> RunConfig:
    """The settings of a file for runs that start by themselves: with data, without plugins, with absolute paths.

    Raises:
        InputError: something of them is wrong.
    """
    from freqd.data.sources import anchored, require_source
    from tasks.runtime.preflight import preflight

    given = SettingsFrom(file)
    given.require_installed()
    settings = given.read()
    require_source(settings, str(file))
    preflight(settings, workspace)
    return anchored(settings, Path.cwd())


@schedule_app.default
def schedule(
    *,
    cron: Annotated[str, Parameter(help='When, e.g. "0 3 * * 1" for Mondays at three.')],
    config: Annotated[Path, Parameter(help="TOML file with the settings of the runs.")],
    name: Annotated[str | None, Parameter(help="Name of the schedule [the settings file's name].")] = None,
    timezone: Annotated[str | None, Parameter(help="Time zone of the cron line [this machine's].")] = None,
    workdir: Workdir = None,
) -> int:
    """Retrain on a schedule with the settings of a file, as they are now. A schedule of the same name is replaced.

    The servers must be up (`freqd up`). Only one run at a time: a run that finds another one running is cancelled.
    """
    workspace = workspace_of(workdir)
    settings = _settings_for_the_server(config, workspace)
    label = name or config.stem
    show_times(label, scheduling_of(workspace).schedule(label, cron, timezone, settings, workspace))
    return DONE


@schedule_app.command(name="list")
def schedule_list(*, as_json: AsJson = False, workdir: Workdir = None) -> int:
    """List the schedules."""
    rows = scheduling_of(workspace_of(workdir)).schedules()
    if as_json:
        say_json([{**asdict(row), "next": row.next and row.next.isoformat()} for row in rows])
        return DONE
    if not rows:
        say('there is no schedule; `freqd schedule --cron "0 3 * * 1" --config FILE` adds one')
        return DONE
    cells = [
        (
            row.name,
            row.what,
            row.cron,
            row.timezone,
            "active" if row.active else "paused",
            f"{row.next:%a %Y-%m-%d %H:%M}" if row.next else "",
            row.data,
        )
        for row in rows
    ]
    say_table(("schedule", "does", "cron", "time zone", "state", "next run", "data"), cells)
    return DONE


@schedule_app.command(name="pause")
def schedule_pause(name: ScheduleName, *, workdir: Workdir = None) -> int:
    """Start no more runs of a schedule until it is resumed."""
    scheduling_of(workspace_of(workdir)).set_active(name, False)
    say(f"schedule {name!r} is paused")
    return DONE


@schedule_app.command(name="resume")
def schedule_resume(name: ScheduleName, *, workdir: Workdir = None) -> int:
    """Resume a paused schedule."""
    scheduling_of(workspace_of(workdir)).set_active(name, True)
    say(f"schedule {name!r} is active")
    return DONE


@schedule_app.command(name="remove")
def schedule_remove(name: ScheduleName, *, workdir: Workdir = None) -> int:
    """Remove a schedule."""
    scheduling_of(workspace_of(workdir)).remove(name)
    say(f"schedule {name!r} is removed")
    return DONE


def show_times(label: str, times: list[datetime]) -> None:
    """Say when a schedule that was just set will run."""
    say(f"schedule {label!r} is set; the next runs:")
    for time in times:
        say(f"  {time:%a %Y-%m-%d %H:%M %Z}")


def require_server(workspace: Workspace) -> None:
    """See that there is a Prefect server, and let this process speak with it.

    Raises:
        InputError: it is down.
    """
    from tasks.runtime.server_state import reachable

    if not reachable(workspace):
        raise InputError(
            f"the servers of {workspace.root} are down", "start them with `freqd up`, or name their --workdir"
        )
    from tasks.runtime.environment import embed

    embed(workspace)


def scheduling_of(workspace: Workspace) -> Any:
    """What lists and changes the schedules on the Prefect server of the workspace.

    Raises:
        InputError: it is down.
    """
    require_server(workspace)
    from flows.ops import scheduling

    return scheduling
