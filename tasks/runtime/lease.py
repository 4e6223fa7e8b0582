"""The place of a run among those that may run at once, given back while it waits for a person.

Prefect's server frees the slot of a deployment's run when it is paused. But in the run's process a thread goes on to
renew the lease of that slot, every 225 seconds, and ends the run when the server no longer knows it (Prefect 3.8).
"""

from __future__ import annotations

import threading
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.concurrency import _leases

_given_back: set[UUID] = set()
_lock = threading.Lock()
_renew = _leases._renew_concurrency_lease_with_retries


def _unless_given_back(
    client: SyncPrefectClient, lease_id: UUID, lease_duration: float, stop_event: threading.Event
) -> bool:
    """Renew a lease; False, which ends the thread that renews it, if it was given back."""
    with _lock:
        if lease_id in _given_back:
            return False
    return _renew(client, lease_id, lease_duration, stop_event)


def give_back(flow_run: str) -> None:
    """Let the lease of a flow run expire; to be called before the run is paused. Without one nothing happens."""
    with get_client(sync_client=True) as client:
        state = client.read_flow_run(UUID(flow_run)).state
    lease = None if state is None else state.state_details.deployment_concurrency_lease_id
    if lease is None:
        return
    with _lock:
        _given_back.add(lease)
    _leases._renew_concurrency_lease_with_retries = _unless_given_back
