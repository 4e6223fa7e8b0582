"""Events that freqd tells the Prefect server, which automations wait for."""

from __future__ import annotations

from collections.abc import Mapping

from prefect.events import emit_event
from prefect.events.worker import EventsWorker
from prefect.settings import PREFECT_API_URL

from tasks.runtime import embedded

FOUND, COOLING = "freqd.drift.found", "freqd.drift.cooling-down"
"""A retraining is asked for; or it was not long ago."""
SEEN = "freqd.drift.seen"
"""There is drift, whatever comes of it."""
PROMOTED, REFUSED, WAITS = "freqd.model.promoted", "freqd.model.refused", "freqd.model.waits"
"""What the gate said of a version."""
RESOURCE = "freqd.model."
"""Begins the resource of the events of a model's drift."""
VERDICTS = "freqd.verdict."
"""Begins the resource of the events of a model's verdicts."""


def server_listens() -> bool:
    """Whether there is a server whose automations outlive this process."""
    return bool(PREFECT_API_URL.value()) and embedded.running() is None


def tell(event: str, resource: str, model: str, payload: Mapping[str, object]) -> None:
    """Send an event of a model and wait until it is on the server. No payload holds the id of a user or an item.

    Args:
        event: its name.
        resource: RESOURCE or VERDICTS.
        model: name of the registered model.
        payload: what it says, as JSON.
    """
    about = {"prefect.resource.id": f"{resource}{model}", "prefect.resource.name": model}
    emit_event(event, resource=about, payload=dict(payload))
    EventsWorker.instance().wait_until_empty()
