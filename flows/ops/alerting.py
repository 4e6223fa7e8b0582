"""Alerts on the Prefect server: what `freqd alerts` makes there and takes away."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from prefect.client.orchestration import get_client

from flows.ops.automations import ALERTS, alerts_of, send_alerts, send_none
from tasks.runtime.alert_block import NAME, FreqdAlert
from tasks.runtime.workspace import Workspace


@dataclass(frozen=True)
class Alert:
    """What an alert is about, and whether it was switched off on the page."""

    about: str
    active: bool


def switch_on(workspace: Workspace) -> list[str]:
    """Make block and automations, or bring them up to date; what there are alerts about."""
    block = FreqdAlert(workdir=str(workspace.root)).save(NAME, overwrite=True)
    assert isinstance(block, UUID)  # synchronous context
    with get_client(sync_client=True) as client:
        return send_alerts(client, block)


def switch_off() -> None:
    """Take the automations away."""
    with get_client(sync_client=True) as client:
        send_none(client)


def present() -> list[Alert]:
    """The alerts that are on the server."""
    with get_client(sync_client=True) as client:
        found = [Alert(entry.name.removeprefix(ALERTS), entry.enabled) for entry in alerts_of(client)]
    return sorted(found, key=lambda alert: alert.about)
