"""A run that waits for a person outlives the lease of its slot; any other one is ended without it, as Prefect wants."""

from __future__ import annotations

import time
from uuid import uuid4

import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.concurrency import _leases
from prefect.concurrency._leases import maintain_concurrency_lease
from prefect.states import Running

from tasks.runtime import lease


@flow
def holds() -> None:
    """Never run: its runs are only written down."""


@pytest.fixture(autouse=True)
def as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_leases, "_renew_concurrency_lease_with_retries", lease._renew)
    monkeypatch.setattr(_leases, "_RENEWAL_MAX_ATTEMPTS", 1)
    monkeypatch.setattr(lease, "_given_back", set())


@pytest.mark.usefixtures("prefect_server")
def test_a_lease_that_was_given_back_ends_nothing() -> None:
    kept, given = uuid4(), uuid4()  # the server knows neither of them, as after a pause
    with get_client(sync_client=True) as client:
        state = Running()
        state.state_details.deployment_concurrency_lease_id = given
        run = client.create_flow_run(holds, state=state)
    lease.give_back(str(run.id))
    assert lease._given_back == {given}
    with maintain_concurrency_lease(given, 0.2, raise_on_lease_renewal_failure=True):
        time.sleep(1)
    ended = False
    try:
        with maintain_concurrency_lease(kept, 0.2, raise_on_lease_renewal_failure=True):
            deadline = time.monotonic() + 20
            while time.monotonic() < deadline:
                time.sleep(0.05)
    except BaseException as error:
        ended = type(error).__name__ == "CancelledError"
    assert ended


@pytest.mark.usefixtures("prefect_server")
def test_a_run_without_a_lease_has_nothing_to_give_back() -> None:
    with get_client(sync_client=True) as client:
        run = client.create_flow_run(holds, state=Running())
    lease.give_back(str(run.id))
    assert lease._given_back == set()
    assert _leases._renew_concurrency_lease_with_retries is lease._renew
