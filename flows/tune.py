"""A method's settings searched on validation: everything up to the spectrum once, then a distillation a trial."""

from __future__ import annotations

from prefect import flow, runtime

from flows.common import NewRun, drain, foundations, open_run
from freqd.config import RunConfig, SearchPlan
from freqd.data.sources import name_of
from freqd.json_types import JsonObject
from tasks.experiments.search import goes_on, hold, new_search
from tasks.experiments.tune import adopt, conclude, round_of
from tasks.mlops import tracking
from tasks.runtime.engine import engine
from tasks.runtime.workspace import Workspace

DEFAULTS = RunConfig()


@flow(name="tune", flow_run_name=lambda: str(runtime.flow_run.parameters.get("name") or "tune"))
def tuning(
    plan: SearchPlan, config: RunConfig = DEFAULTS, workdir: str | None = None, name: str | None = None
) -> JsonObject:
    """Search the settings of a method by validation NDCG@10; returns trials and best settings.

    A search of that name that was stopped resumes, if data, settings and code are the same.

    Args:
        plan: the method, and how many trials and how much time it gets.
        config: all other settings.
        workdir: where everything is kept; default FREQD_WORKDIR or ./freqd-work.
        name: name of the search; default the data set and the method.
    """
    workspace = Workspace.locate(workdir)
    workspace.prepare()
    config = config.model_copy(update={"distill": config.distill.model_copy(update={"objectives": plan.objectives})})
    labels = plan.model_dump(exclude={"objectives"})
    params = {**tracking.flat(config.model_dump(mode="json", exclude={"registry", "drift"})), **labels}
    new = NewRun(name or f"{name_of(config.data)}-{plan.method}", params, kind="tuning")
    with engine(config.engine, workspace), open_run(workspace, config, new) as context:
        inputs = drain(foundations(context, config, config.data)).inputs
        search = new_search(context, inputs, config, plan)
        with hold(search):
            adopt(context, search)
            while goes_on(search):
                round_of(context, search, inputs, config.spectral)
            return conclude(context, search, config).as_json()
