"""The flows as Prefect deployments: a pool of processes, at most one run of each at a time, and their schedules."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count, islice
from pathlib import Path
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import httpx
from prefect import Flow
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import DeploymentScheduleCreate, DeploymentUpdate, WorkPoolCreate
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterId,
    FlowRunFilter,
    FlowRunFilterExpectedStartTime,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import ConcurrencyLimitStrategy, ConcurrencyOptions, DeploymentSchedule, StateType
from prefect.client.schemas.schedules import CronSchedule
from prefect.client.schemas.sorting import FlowRunSort
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound
from prefect.utilities.callables import parameter_schema
from pydantic import ValidationError
from tzlocal import get_localzone_name

import freqd
from flows.approve import approve
from flows.drift import drift
from flows.form import train
from flows.ops.automations import close_silent_runs, retrain_on_drift
from flows.ops.worker import POOL
from flows.pipeline import pipeline
from freqd.config import RunConfig
from freqd.data import anchored
from freqd.errors import InputError
from tasks.runtime.workspace import Workspace

PAGE = 200
"""The most runs that the server tells of at once."""
ONE_AT_A_TIME = ConcurrencyOptions(collision_strategy=ConcurrencyLimitStrategy.CANCEL_NEW)


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


@dataclass(frozen=True)
class Deployed:
    """A flow that the worker may run.

    Attributes:
        flow: the flow.
        name: of its deployment.
        entrypoint: module and name of the flow.
        description: for the page.
        limit: how many of its runs there may be at once; None for any number.
        unused: sections of the settings that have no effect on its runs, and are not in its form.
    """

    flow: Flow[Any, Any]
    name: str
    entrypoint: str
    description: str
    limit: int | None = 1
    unused: tuple[str, ...] = ()

    @property
    def full_name(self) -> str:
        """The deployment's name as Prefect has it."""
        return f"{self.flow.name}/{self.name}"

    def schema(self) -> dict[str, Any]:
        """What the form asks for, and what the server lets through: unused sections may be there, as in older schedules.

        Where Prefect checks the defaults of a form, it forgets properties that are called ``required``.
        """
        found: dict[str, Any] = parameter_schema(self.flow).model_dump_for_openapi()
        for section in found["definitions"].values():
            if "required" in section.get("properties", {}):
                section["additionalProperties"] = True
        settings = found["definitions"].get("RunConfig")
        if settings is not None and self.unused:
            kept = {name: value for name, value in settings["properties"].items() if name not in self.unused}
            settings |= {"properties": kept, "additionalProperties": True}
        return found


TRAIN = Deployed(
    train,
    "train",
    "flows.form.train",
    "Start here: a settings file or data, a preset, a time budget. One run at a time.",
)
RETRAIN = Deployed(
    pipeline,
    "retrain",
    "flows.pipeline.pipeline",
    "The main job with all its settings; schedules and drift start it. One run at a time.",
    unused=("cadence", "drift"),
)
WATCH = Deployed(
    drift,
    "watch",
    "flows.drift.drift",
    "Does the champion still fit? Drift starts a retraining. One check at a time.",
    unused=("cadence",),
)
APPROVE = Deployed(
    approve,
    "approve",
    "flows.approve.approve",
    "May a version become champion? A run is a question; it is suspended until somebody answers.",
    limit=None,
)
DEPLOYED = (TRAIN, RETRAIN, WATCH, APPROVE)


def deploy(workspace: Workspace, file: Path | None = None, config: RunConfig | None = None) -> str:
    """Make the work pool, the deployments and the automations, or bring them up to date; the pool's name.

    Schedules are kept, and so are the settings of an earlier call where none are given.

    Args:
        workspace: the working directory.
        file: settings file that the short form starts from.
        config: its settings, with absolute paths, that the long form starts from.
    """
    own: dict[str, dict[str, Any]] = {}
    if file is not None and config is not None:
        own = {
            TRAIN.name: {"settings": str(file.absolute())},
            RETRAIN.name: {"config": config.model_dump(mode="json", exclude=set(RETRAIN.unused))},
        }
    with get_client(sync_client=True) as client:
        with suppress(ObjectAlreadyExists):
            client.create_work_pool(WorkPoolCreate(name=POOL, type="process", description="Runs of freqd"))
        identities = {what.name: _deploy(client, what, workspace, own.get(what.name, {})) for what in DEPLOYED}
        retrain_on_drift(client, identities[RETRAIN.name])
        close_silent_runs(client)
    return POOL


def _deploy(client: SyncPrefectClient, what: Deployed, workspace: Workspace, own: dict[str, Any]) -> UUID:
    try:
        present = client.read_deployment_by_name(what.full_name)
        identity, before = present.id, present.parameters
    except ObjectNotFound:
        identity, before = client.create_deployment(client.create_flow(what.flow), what.name), {}
    wanted = DeploymentUpdate(
        version=freqd.__version__,
        description=what.description,
        work_pool_name=POOL,
        entrypoint=what.entrypoint,
        parameters={**before, **own, "workdir": str(workspace.root)},
        parameter_openapi_schema=what.schema(),
        enforce_parameter_schema=True,
        concurrency_limit=what.limit,
        concurrency_options=None if what.limit is None else ONE_AT_A_TIME,
    )
    client.update_deployment(identity, wanted)  # creating it again would take its schedules away
    return identity


def online(worker: str) -> bool:
    """Whether a worker of this name has reported to the server."""
    with get_client(sync_client=True) as client:
        try:
            found = client.read_workers_for_work_pool(POOL)
        except (ObjectNotFound, httpx.HTTPError):
            return False
    return any(entry.name == worker and str(entry.status).endswith("ONLINE") for entry in found)


def schedule(
    name: str,
    cron: str,
    timezone: str | None,
    config: RunConfig,
    workspace: Workspace,
    what: Deployed = RETRAIN,
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
        what: the flow, by default the main job.
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
            rows.append(Schedule(name, what.name, plan.cron, _zone(entry), entry.active, data, following))
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


def _identity(client: SyncPrefectClient, what: Deployed) -> UUID:
    try:
        return client.read_deployment_by_name(what.full_name).id
    except ObjectNotFound as error:
        raise InputError(
            f"the Prefect server has no deployment {what.full_name}",
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


def _all(client: SyncPrefectClient) -> Iterator[tuple[Deployed, UUID, DeploymentSchedule]]:
    """Every schedule with the deployment that it belongs to."""
    for what in DEPLOYED:
        identity = _identity(client, what)
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
