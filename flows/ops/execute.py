"""``python -P -m flows.ops.execute``, started by the worker: one flow run, of one of freqd's own flows.

Which flow runs is decided by the name of the run's deployment and the table here, and not by what the API says.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any
from uuid import UUID

if TYPE_CHECKING:
    from prefect import Flow

RUN_VARIABLE = "PREFECT__FLOW_RUN_ID"
FLOWS = {
    "freqd/train": ("flows.form", "train"),
    "freqd/retrain": ("flows.pipeline", "pipeline"),
    "freqd-drift/watch": ("flows.drift", "drift"),
    "freqd-approval/approve": ("flows.approve", "approve"),
}
"""Module and name of the flow of each deployment."""


class RefusedError(Exception):
    """A run that belongs to no deployment of freqd's."""


def name_of(flow: str, deployment: str) -> str:
    """A deployment's name as Prefect has it."""
    return f"{flow}/{deployment}"


def require_own(name: str | None) -> str:
    """The name of a deployment of freqd's.

    Raises:
        RefusedError: it is another's, or there is none.
    """
    if name not in FLOWS:
        raise RefusedError(f"this worker runs {' and '.join(FLOWS)}, not {name or 'a run without a deployment'}")
    return name


def flow_of(name: str | None) -> Flow[Any, Any]:
    """The flow of a deployment.

    Raises:
        RefusedError: it is none of freqd's.
    """
    from importlib import import_module

    module, attribute = FLOWS[require_own(name)]
    flow: Flow[Any, Any] = getattr(import_module(module), attribute)
    return flow


def main() -> None:
    """Run it; the exit code is that of Prefect's own engine."""
    from prefect.client.orchestration import get_client
    from prefect.engine import handle_engine_signals
    from prefect.flow_engine import run_flow
    from prefect.logging.loggers import flow_run_logger
    from prefect.states import Failed

    identity = UUID(os.environ[RUN_VARIABLE])
    with handle_engine_signals(identity):
        with get_client(sync_client=True) as client:
            run = client.read_flow_run(identity)
            try:
                if run.deployment_id is None:
                    raise RefusedError("the run belongs to no deployment")
                deployment = client.read_deployment(run.deployment_id)
                flow = flow_of(name_of(client.read_flow(deployment.flow_id).name, deployment.name))
                own = os.environ.get("FREQD_WORKDIR")
                asked = (run.parameters or {}).get("workdir")
                if own is not None and asked not in (None, own):
                    raise RefusedError(f"this worker works in {own}, not in {asked}")
            except RefusedError as error:
                client.set_flow_run_state(identity, Failed(message=f"refused: {error}"), force=True)
                return
        run_flow(flow, flow_run=run, error_logger=flow_run_logger(run, flow).logger)


if __name__ == "__main__":
    main()
