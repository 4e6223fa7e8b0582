"""The drift check as a flow: does the champion still fit what users do now?"""

from __future__ import annotations

from prefect import flow, runtime

from freqd.config import RunConfig
from freqd.data.sources import require_source
from freqd.json_types import JsonObject
from tasks.drift import check
from tasks.mlops import registry
from tasks.runtime.workspace import Workspace

DEFAULTS = RunConfig()


def _shown_name() -> str:
    return f"drift of {runtime.flow_run.parameters.get('model') or 'the champion'}"


@flow(name="freqd-drift", flow_run_name=_shown_name, validate_parameters=True)
def drift(
    config: RunConfig = DEFAULTS, workdir: str | None = None, model: str | None = None, new: tuple[str, ...] = ()
) -> JsonObject:
    """Compare new interactions with those of the champion; above a limit request a retraining. Returns the check.

    Args:
        config: all settings: the data, the limits, and what a retraining would use.
        workdir: where everything is kept; default FREQD_WORKDIR or ./freqd-work.
        model: name of the registered model; default the only one.
        new: files that hold the new interactions; default the data of ``config``.
    """
    if runtime.deployment.id is not None:
        require_source(config, "this run of the deployment")
    workspace = Workspace.locate(workdir)
    return check(workspace, registry.resolve(model), config, new).as_json()
