"""Schedules on the Prefect server: added, listed, paused, removed. The flows themselves are not imported for it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count, islice
from pathlib import Path
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import DeploymentScheduleCreate
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterId,
    FlowRunFilter,
    FlowRunFilterExpectedStartTime,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import DeploymentSchedule, StateType
from prefect.client.schemas.schedules import CronSchedule
from prefect.client.schemas.sorting import FlowRunSort
from prefect.exceptions import ObjectNotFound
from pydantic import ValidationError
from tzlocal import get_localzone_name

from flows.ops.execute import FLOWS
from freqd.config import RunConfig
from freqd.data.sources import anchored
from freqd.errors import InputError
from tasks.runtime.workspace import Workspace

PAGE = 200
"""The most runs that the server tells of at once."""
RETRAIN, WATCH = "freqd/retrain", "freqd-drift/watch"
"""Full names of the deployments that schedules run."""


@dataclass(frozen=True)
class Schedule:
    """A schedule as it is listed.

    Attributes:
        name: of the schedule.
        what: name of the deployment that it runs.
        cron: the cron line.
        timezone: in which it is meant.
        active: whether it starts runs.
        data: the data of its settings, in words.
        next: when it starts the next run, in its time zone; None if it does not.
    """

    name: str
    what: str
    cron: str
    timezone: str
    active: bool
    data: str
    next: datetime | None


def schedule(
    name: str,
    cron: str,
    timezone: str | None,
    config: RunConfig,
    workspace: Workspace,
    what: str = RETRAIN,
    **parameters: Any,
) -> list[datetime]:
    """Run a flow with these settings at these times; the next three of them.

    A schedule of this name is replaced.

    Args:
        name: of the schedule.
        cron: the cron line.
        timezone: in which it is meant; None for this machine's.
        config: settings of the runs.
        workspace: the working directory.
        what: full name of the deployment, by default that of the main job.
        parameters: further ones of the flow.

    Raises:
        InputError: the cron line or the time zone is none.
    """
    timezone = timezone or _local_timezone()
    try:
        when = CronSchedule(cron=cron, timezone=timezone)
    except ValidationError as error:
        reason = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise InputError(
            f"--cron {cron!r} in time zone {timezone!r}: {reason}",
            'for example --cron "0 3 * * 1" --timezone Europe/Berlin (minute, hour, day, month, weekday)',
        ) from error
    own = {"workdir": str(workspace.root), "config": anchored(config, Path.cwd()).model_dump(mode="json"), **parameters}
    with get_client(sync_client=True) as client:
        for deployment, entry in _named(client, name):
            client.delete_deployment_schedule(deployment, entry.id)
        identity = _identity(client, what)
        new = DeploymentScheduleCreate(schedule=when, active=True, parameters=own, slug=name)
        (made,) = client.create_deployment_schedules(identity, [new])
        _plan_at_once(client, identity)
        return list(islice(_times(client, identity, made), 3))


def schedules() -> list[Schedule]:
    """All schedules, by name."""
    rows = []
    with get_client(sync_client=True) as client:
        for what, identity, entry in _all(client):
            plan = entry.schedule
            if not isinstance(plan, CronSchedule):
                continue
            name, data = entry.slug or str(entry.id), _data_of(entry.parameters.get("config", {}))
            following = next(_times(client, identity, entry), None)
            rows.append(Schedule(name, what.partition("/")[2], plan.cron, _zone(entry), entry.active, data, following))
    return sorted(rows, key=lambda row: row.name)


def set_active(name: str, active: bool) -> None:
    """Pause a schedule, or let it go on.

    Raises:
        InputError: there is no such schedule.
    """
    with get_client(sync_client=True) as client:
        for deployment, entry in _require(client, name):
            # all of it: what the server is not sent, it takes away
            client.update_deployment_schedule(
                deployment,
                entry.id,
                active=active,
                schedule=entry.schedule,
                max_scheduled_runs=entry.max_scheduled_runs,
                parameters=entry.parameters,
                slug=entry.slug,
            )
            _plan_at_once(client, deployment)


def remove(name: str) -> None:
    """Take a schedule away, with the runs that it has planned.

    Raises:
        InputError: there is no such schedule.
    """
    with get_client(sync_client=True) as client:
        for deployment, entry in _require(client, name):
            client.delete_deployment_schedule(deployment, entry.id)


def _local_timezone() -> str:
    """The name of this machine's time zone, UTC if it has none.

    Raises:
        InputError: the machine's settings contradict each other.
    """
    try:
        return get_localzone_name() or "UTC"
    except ZoneInfoNotFoundError as error:
        raise InputError(f"this machine's time zone: {error.args[0]}", "name one with --timezone") from error


def _identity(client: SyncPrefectClient, what: str) -> UUID:
    try:
        return client.read_deployment_by_name(what).id
    except ObjectNotFound as error:
        raise InputError(
            f"the Prefect server has no deployment {what}",
            "`freqd up` makes it; prefect.yaml is for a server of yours",
        ) from error


def _plan_at_once(client: SyncPrefectClient, deployment: UUID) -> None:
    """Have runs planned now: the server looks at changed schedules once a minute."""
    client.request("POST", "/deployments/{id}/schedule", path_params={"id": deployment}, json={})


def _times(client: SyncPrefectClient, deployment: UUID, entry: DeploymentSchedule) -> Iterator[datetime]:
    """When the server means to start the next runs of a schedule, in the schedule's time zone."""
    zone = ZoneInfo(_zone(entry))
    wanted = FlowRunFilter(
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.SCHEDULED])),
        expected_start_time=FlowRunFilterExpectedStartTime(after_=datetime.now(UTC)),
    )
    for offset in count(step=PAGE):
        found = client.read_flow_runs(
            deployment_filter=DeploymentFilter(id=DeploymentFilterId(any_=[deployment])),
            flow_run_filter=wanted,
            sort=FlowRunSort.EXPECTED_START_TIME_ASC,
            limit=PAGE,
            offset=offset,
        )
        for run in found:
            if run.created_by is not None and run.created_by.id == entry.id and run.expected_start_time is not None:
                yield run.expected_start_time.astimezone(zone)
        if len(found) < PAGE:
            return


def _zone(entry: DeploymentSchedule) -> str:
    return (entry.schedule.timezone if isinstance(entry.schedule, CronSchedule) else None) or "UTC"


def _all(client: SyncPrefectClient) -> Iterator[tuple[str, UUID, DeploymentSchedule]]:
    """Every schedule with the deployment that it belongs to; a server that an earlier freqd deployed on has fewer of them."""
    for what in FLOWS:
        try:
            identity = _identity(client, what)
        except InputError:
            if what == RETRAIN:
                raise
            continue
        for entry in client.read_deployment_schedules(identity):
            yield what, identity, entry


def _named(client: SyncPrefectClient, name: str) -> list[tuple[UUID, DeploymentSchedule]]:
    return [(identity, entry) for _, identity, entry in _all(client) if name in (entry.slug, str(entry.id))]


def _require(client: SyncPrefectClient, name: str) -> list[tuple[UUID, DeploymentSchedule]]:
    found = _named(client, name)
    if not found:
        names = sorted(entry.slug or str(entry.id) for _, _, entry in _all(client))
        raise InputError(f"there is no schedule {name!r}", f"schedules are: {', '.join(names) or 'none'}")
    return found


def _data_of(config: Any) -> str:
    data = config.get("data", {}) if isinstance(config, dict) else {}
    if data.get("train"):
        return str(data["train"])
    return "a query" if data.get("sql") else ", ".join(data.get("source", []))
