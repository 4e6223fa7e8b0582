"""What the Prefect server does by itself: retrain when a check found drift, and close runs that fell silent."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState, RunDeployment
from prefect.events.schemas.automations import Automation, AutomationCore, EventTrigger, Posture

from tasks.drift import FOUND, RESOURCE
from tasks.runtime.environment import HEARTBEAT_SECONDS

NAME = "freqd: retrain on drift"
SILENT = "freqd: close runs that fell silent"
SILENT_SECONDS = 10 * HEARTBEAT_SECONDS
"""Long enough for a step of the work that lets no other thread run, such as a big sparse product."""
HEARTBEAT = "prefect.flow-run.heartbeat"
ENDS = {f"prefect.flow-run.{state}" for state in ("Completed", "Failed", "Cancelled", "Crashed", "Suspended")}
"""What comes when a process ends in order; a suspended run has none."""


def retrain_on_drift(client: SyncPrefectClient, deployment: UUID) -> None:
    """Make the automation, or bring it up to date; one that was switched off on the page stays off."""
    present = client.read_automations_by_name(NAME)
    wanted = AutomationCore(
        name=NAME,
        description="freqd drift found that users have changed: the retraining starts with the settings of the check.",
        enabled=present[0].enabled if present else True,
        trigger=EventTrigger(
            expect={FOUND},
            match={"prefect.resource.id": f"{RESOURCE}*"},
            posture=Posture.Reactive,
            threshold=1,
            within=timedelta(0),
        ),
        actions=[
            RunDeployment(
                source="selected",
                deployment_id=deployment,
                parameters={"config": _of_the_event("config"), "workdir": _of_the_event("workdir")},
            )
        ],
    )
    _keep(client, present, wanted)


def close_silent_runs(client: SyncPrefectClient) -> None:
    """Make the automation that marks a run as crashed whose process is gone, so that it does not stay Running.

    A run sends heartbeats; after one, another one or the run's end must follow in time. This is for a worker that was
    killed together with its run, or a machine that lost power: else there is somebody left who says that a run ended.
    """
    present = client.read_automations_by_name(SILENT)
    wanted = AutomationCore(
        name=SILENT,
        description=f"No sign of life for {SILENT_SECONDS} s: the process was killed, or its machine went down.",
        enabled=present[0].enabled if present else True,
        trigger=EventTrigger(
            after={HEARTBEAT},
            expect={HEARTBEAT, *ENDS},
            match={"prefect.resource.id": "prefect.flow-run.*"},
            for_each={"prefect.resource.id"},
            posture=Posture.Proactive,
            threshold=1,
            within=timedelta(seconds=SILENT_SECONDS),
        ),
        actions=[
            ChangeFlowRunState(
                state=StateType.CRASHED,
                message=f"No sign of life for {SILENT_SECONDS} s. The same run again resumes where this one stopped.",
            )
        ],
    )
    _keep(client, present, wanted)


def _keep(client: SyncPrefectClient, present: Sequence[Automation], wanted: AutomationCore) -> None:
    if present:
        client.update_automation(present[0].id, wanted)
    else:
        client.create_automation(wanted)


def _of_the_event(name: str) -> dict[str, str | dict[str, str]]:
    """A value that the event carries, as it is and not as a text."""
    template = f"{{{{ event.payload.{name} | tojson }}}}"
    return {"__prefect_kind": "json", "value": {"__prefect_kind": "jinja", "template": template}}
