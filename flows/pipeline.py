"""The main job: from interactions to a registered student."""

from __future__ import annotations

import os
from datetime import datetime
from typing import Any

from prefect import flow, runtime
from prefect.client.schemas import State
from prefect.context import FlowRunContext

from freqd import provenance
from freqd.config import RunConfig
from freqd.data.source import name_of
from freqd.data.types import Split
from freqd.store import ArtifactRef, text_digest
from tasks import tracking
from tasks.baselines import scratch, svd
from tasks.context import RunContext, StageOutcome
from tasks.distill import distill
from tasks.evaluate import evaluate
from tasks.graphs import graph
from tasks.ingest import ingest
from tasks.register import register
from tasks.spectrum import spectrum
from tasks.summary import report
from tasks.teacher import teacher
from tasks.workspace import Workspace

EXPERIMENT = "freqd"
DEFAULTS = RunConfig()


def _shown_name() -> str:
    """The run's name if it was given one; else a scheduled run is named after its data."""
    given: dict[str, Any] = runtime.flow_run.parameters
    config = given.get("config", DEFAULTS)
    settings = config if isinstance(config, RunConfig) else RunConfig.model_validate(config)
    return str(given.get("run_name") or new_run_name(settings))


@flow(name="freqd", flow_run_name=_shown_name, validate_parameters=True)
def pipeline(
    config: RunConfig = DEFAULTS,
    workdir: str | None = None,
    run_name: str | None = None,
    force: tuple[str, ...] = (),
    until: str | None = None,
) -> dict[str, Any]:
    """Ingest, graphs, teacher, spectrum, distillation, evaluation, registration; returns the summary.

    Args:
        config: all settings.
        workdir: where everything is kept; default FREQD_WORKDIR or ./freqd-work.
        run_name: name of the run; default the data set and the time.
        force: stages that are computed even if their result is at hand.
        until: stop after this stage, without a report.
    """
    workspace = Workspace.locate(workdir)
    workspace.prepare()
    name = run_name or new_run_name(config)
    context = _start(workspace, name, config, force)
    status = "FAILED"
    try:
        summary = _stages(context, config, until)
        status = "FINISHED"
    finally:
        tracking.client().set_terminated(context.mlflow_run_id, status)
    return summary


def new_run_name(config: RunConfig) -> str:
    """Data set and local time, as a folder's name."""
    return f"{name_of(config.data)}-{datetime.now():%Y%m%d-%H%M%S}"


def _start(workspace: Workspace, name: str, config: RunConfig, force: tuple[str, ...]) -> RunContext:
    flow_run = FlowRunContext.get()
    experiment_id = tracking.experiment(workspace, EXPERIMENT)
    tags = {
        "freqd.version": provenance.versions().get("freqd", ""),
        "freqd.git": provenance.git_state(),
        "freqd.lock_digest": provenance.lock_digest(),
        "freqd.config_digest": text_digest(config.model_dump_json()),
        "prefect.flow_run_id": str(flow_run.flow_run.id) if flow_run and flow_run.flow_run else "",
    }
    run_id = tracking.start_parent(experiment_id, name, {k: v for k, v in tags.items() if v})
    tracking.log(run_id, params=tracking.flat(config.model_dump(mode="json")))
    return RunContext(
        workdir=str(workspace.root),
        run_name=name,
        mlflow_run_id=run_id,
        mlflow_experiment_id=experiment_id,
        seed=config.seed,
        device=config.device,
        threads=config.threads or len(os.sched_getaffinity(0)),
        force=force,
    )


class _Done(Exception):
    """The stage at which the flow was to stop is done."""


def _stages(context: RunContext, config: RunConfig, until: str | None) -> dict[str, Any]:
    done: dict[str, StageOutcome] = {}

    def run(state: State[Any]) -> dict[str, ArtifactRef]:
        outcome = state.result()
        assert isinstance(outcome, StageOutcome)
        done[outcome.name] = outcome
        if outcome.name == until:
            raise _Done
        return outcome.refs

    try:
        split = run(ingest(context, config.data, return_state=True))["split"]
        _lineage(context, split)
        by_features = config.graph.kind == "features"
        graphs = None if by_features else run(graph(context, split, config.graph, return_state=True))["graphs"]
        models = {"teacher": run(teacher(context, split, config.teacher, return_state=True))["teacher"]}
        if graphs is None:
            graphs = run(graph(context, split, config.graph, models["teacher"], return_state=True))["graphs"]
        if config.distill.baselines:
            models["scratch"] = run(scratch(context, split, config.distill, return_state=True))["scratch"]
            models["svd"] = run(svd(context, models["teacher"], config.distill.dim, return_state=True))["svd"]
        found = run(spectrum(context, split, graphs, models["teacher"], config.spectral, return_state=True))["spectrum"]
        models["student"] = run(
            distill(
                context, split, models["teacher"], graphs, found, config.distill, config.spectral, return_state=True
            )
        )["student"]
        judged = run(
            evaluate(context, split, models, graphs, found, config.evaluate, config.spectral, return_state=True)
        )
        if config.registry.enabled:
            name = config.registry.model_name or f"freqd-{name_of(config.data)}"
            run(
                register(
                    context,
                    split,
                    models["student"],
                    judged["student"],
                    judged["facts"],
                    name,
                    _tags(context, config, split, models),
                    config.registry,
                    config.evaluate,
                    return_state=True,
                )
            )
    except _Done:
        return {"run": context.run_name, "stages": [outcome.model_dump() for outcome in done.values()]}
    return report(context, config, done)


def _lineage(context: RunContext, ref: ArtifactRef) -> None:
    info = context.workspace.store.open(ref, Split).info
    profile = f'{{"rows_read": {info["rows_read"]}}}'
    source = ", ".join(info["source"])
    tracking.log_data(
        context.mlflow_run_id, name=info["name"], digest=ref.digest, source=source, profile=profile, context="train"
    )


def _tags(context: RunContext, config: RunConfig, split: ArtifactRef, models: dict[str, ArtifactRef]) -> dict[str, str]:
    flow_run = FlowRunContext.get()
    return {
        "freqd.run": context.run_name,
        "freqd.data_digest": split.digest,
        "freqd.teacher_digest": models["teacher"].digest,
        "freqd.student_digest": models["student"].digest,
        "freqd.config_digest": text_digest(config.model_dump_json()),
        "freqd.code_digest": provenance.code_digest(["freqd.*"]),
        "freqd.lock_digest": provenance.lock_digest(),
        "freqd.git": provenance.git_state(),
        "freqd.seed": str(context.seed),
        "prefect.flow_run_id": str(flow_run.flow_run.id) if flow_run and flow_run.flow_run else "",
    }
