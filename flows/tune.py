"""A method's settings searched on validation: everything up to the spectrum once, then a distillation a trial."""

from __future__ import annotations

from typing import Annotated, Any

from prefect import flow, runtime
from pydantic import Field

from flows.common import drain, foundations, open_run
from freqd.config import ObjectiveConfig, RunConfig
from freqd.data.sources import name_of
from tasks.experiments.tune import adopt, conclude, goes_on, hold, new_search, trial
from tasks.mlops import tracking
from tasks.runtime.workspace import Workspace

DEFAULTS = RunConfig()


@flow(name="tune", flow_run_name=lambda: str(runtime.flow_run.parameters.get("name") or "tune"))
def tuning(
    method: str,
    objectives: Annotated[tuple[ObjectiveConfig, ...], Field(min_length=1)],
    trials: Annotated[int, Field(ge=1)] = 30,
    budget_seconds: Annotated[float, Field(gt=0.0)] = 1200.0,
    config: RunConfig = DEFAULTS,
    workdir: str | None = None,
    name: str | None = None,
) -> dict[str, Any]:
    """Search the settings of a method by validation NDCG@10; returns trials and best settings.

    A search of that name that was stopped resumes, if data, settings and code are the same.

    Args:
        method: the method's name.
        objectives: its terms of the distillation loss, in place of ``distill.objectives``.
        trials: how many, those of earlier attempts of the search included.
        budget_seconds: of all trials together; data, graphs, teacher and spectrum are not counted.
        config: all other settings.
        workdir: where everything is kept; default FREQD_WORKDIR or ./freqd-work.
        name: name of the search; default the data set and the method.
    """
    workspace = Workspace.locate(workdir)
    workspace.prepare()
    config = config.model_copy(update={"distill": config.distill.model_copy(update={"objectives": objectives})})
    labels = {"method": method, "trials": trials, "budget_seconds": budget_seconds}
    params = {**tracking.flat(config.model_dump(mode="json", exclude={"registry", "drift"})), **labels}
    tags = {"freqd.kind": "tuning"}

    with open_run(workspace, name or f"{name_of(config.data)}-{method}", config, params=params, tags=tags) as context:
        inputs = drain(foundations(context, config, config.data)).inputs
        search = new_search(context, inputs, config, method, trials, budget_seconds)
        with hold(search):
            adopt(context, search)
            while goes_on(search):
                trial(context, search, inputs, config.spectral)
            return conclude(context, search, config).as_json()
