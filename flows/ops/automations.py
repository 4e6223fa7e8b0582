"""What the Prefect server does by itself: retrain when a check found drift, close runs that fell silent, and send alerts."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState, RunDeployment, SendNotification
from prefect.events.schemas.automations import Automation, AutomationCore, EventTrigger, Posture

from flows.ops.execute import FLOWS
from tasks.events import FOUND, REFUSED, RESOURCE, SEEN, VERDICTS, WAITS
from tasks.runtime.environment import HEARTBEAT_SECONDS

NAME = "freqd: retrain on drift"
SILENT = "freqd: close runs that fell silent"
SILENT_SECONDS = 10 * HEARTBEAT_SECONDS
"""Long enough for a step of the work that lets no other thread run, such as a big sparse product."""
AT_ONCE: dict[str, Any] = {"posture": Posture.Reactive, "threshold": 1, "within": timedelta(0)}
STARTS = ("Pending", "Running", "Cancelled", "Cancelling", "Failed", "Crashed", "Completed", "AwaitingConcurrencySlot")
"""What comes of a scheduled run that is not late any more."""
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


ALERTS = "freqd: alert on "
"""What the names of the automations that send alerts begin with."""
LATE_MINUTES = 10
"""How long a scheduled run may be late before an alert says so."""
LINK = "{{ flow_run|ui_url }}"


def send_alerts(client: SyncPrefectClient, block: UUID, late: timedelta = timedelta(minutes=LATE_MINUTES)) -> list[str]:
    """Make the automations that send alerts by a block, or bring them up to date; their names without what they begin with."""
    runs, model = {"prefect.resource.id": "prefect.flow-run.*"}, {"prefect.resource.id": f"{VERDICTS}*"}
    own = {"prefect.resource.role": "flow", "prefect.resource.name": sorted({name.partition("/")[0] for name in FLOWS})}
    said = "{{ event.payload.model }} version {{ event.payload.version }}"
    why = "{{ event.payload.reasons }}\n\n{{ event.payload.address }}"
    wanted = {
        "failed runs": (
            EventTrigger(expect={"prefect.flow-run.Failed", "prefect.flow-run.Crashed"}, match=runs, match_related=own, **AT_ONCE),
            "freqd: run {{ flow_run.name }} has failed",
            f"It ended as {{{{ flow_run.state.name }}}}. The same run again resumes where this one stopped.\n\n{LINK}",
        ),
        "refused models": (
            EventTrigger(expect={REFUSED}, match=model, **AT_ONCE),
            f"freqd: {said} was not promoted",
            why,
        ),
        "models that wait": (
            EventTrigger(expect={WAITS}, match=model, **AT_ONCE),
            f"freqd: {said} waits for approval",
            why,
        ),
        "drift": (
            EventTrigger(expect={SEEN}, match={"prefect.resource.id": f"{RESOURCE}*"}, **AT_ONCE),
            "freqd: drift, {{ event.payload.model }} version {{ event.payload.version }}",
            "{{ event.payload.headline }}: {{ event.payload.reasons }}\n\n{{ event.payload.outcome }}",
        ),
        "silent schedules": (
            EventTrigger(
                after={"prefect.flow-run.Late"},
                expect={f"prefect.flow-run.{state}" for state in STARTS},
                match=runs,
                match_related=own,
                for_each={"prefect.resource.id"},
                posture=Posture.Proactive,
                threshold=1,
                within=late,
            ),
            "freqd: a scheduled run has not started",
            "It is late: is the worker up (`freqd status`), or does another run take its time? See the runs that are late on the "
            "Prefect page.",
        ),
    }  # fmt: skip
    for name, (trigger, subject, body) in wanted.items():
        present = client.read_automations_by_name(f"{ALERTS}{name}")
        action = SendNotification(block_document_id=block, subject=subject, body=body)
        automation = AutomationCore(
            name=f"{ALERTS}{name}",
            description="Made by `freqd alerts`, which says where alerts go.",
            enabled=present[0].enabled if present else True,
            trigger=trigger,
            actions=[action],
        )
        _keep(client, present, automation)
    return list(wanted)


def send_none(client: SyncPrefectClient) -> None:
    """Take the automations that send alerts away."""
    for automation in alerts_of(client):
        client.delete_automation(automation.id)


def alerts_of(client: SyncPrefectClient) -> list[Automation]:
    """The automations that send alerts."""
    return [automation for automation in client.read_automations() if automation.name.startswith(ALERTS)]


def _keep(client: SyncPrefectClient, present: Sequence[Automation], wanted: AutomationCore) -> None:
    if present:
        client.update_automation(present[0].id, wanted)
    else:
        client.create_automation(wanted)


def _of_the_event(name: str) -> dict[str, str | dict[str, str]]:
    """A value that the event carries, as it is and not as a text."""
    template = f"{{{{ event.payload.{name} | tojson }}}}"
    return {"__prefect_kind": "json", "value": {"__prefect_kind": "jinja", "template": template}}
