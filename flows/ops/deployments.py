"""The flows as Prefect deployments: a pool of processes, and at most one run of each at a time."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
from prefect import Flow
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import DeploymentUpdate, WorkPoolCreate
from prefect.client.schemas.objects import ConcurrencyLimitStrategy, ConcurrencyOptions
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound
from prefect.utilities.callables import parameter_schema

import freqd
from flows.approve import approve
from flows.drift import drift
from flows.form import train
from flows.ops.automations import close_silent_runs, retrain_on_drift
from flows.ops.worker import POOL
from flows.pipeline import pipeline
from freqd.config import RunConfig
from tasks.runtime.workspace import Workspace

ONE_AT_A_TIME = ConcurrencyOptions(collision_strategy=ConcurrencyLimitStrategy.CANCEL_NEW)


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
