"""The main job: from interactions to a registered student."""

from __future__ import annotations

from typing import Any

from prefect import flow, runtime
from prefect.client.schemas import State

from flows.common import open_run, prepare
from flows.naming import as_folder, new_name
from freqd import provenance
from freqd.config import DistillConfig, RunConfig
from freqd.config.budget import within_budget
from freqd.data.sources import require_source
from freqd.storage.store import ArtifactRef
from tasks.mlops import tracking
from tasks.mlops.family import check_family, model_name
from tasks.run_context import RunContext, StageOutcome, origin
from tasks.run_summary import report
from tasks.runtime.workspace import Workspace
from tasks.stages import approval
from tasks.stages.baselines import scratch, svd
from tasks.stages.distill import distill
from tasks.stages.evaluate import evaluate
from tasks.stages.register import register
from tasks.stages.spectrum import spectrum
from tasks.warm_start import Start, find_start

DEFAULTS = RunConfig()


def _shown_name() -> str:
    """The parameter ``run_name``; without it the run is named after its data and the time."""
    given: dict[str, Any] = runtime.flow_run.parameters
    config = given.get("config", DEFAULTS)
    settings = config if isinstance(config, RunConfig) else RunConfig.model_validate(config)
    return as_folder(str(given.get("run_name") or new_name(settings.data)))


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
        run_name: name of the run; default the data set and the time. A name typed into Prefect's own field is not kept.
        force: stages that are computed even if their result is at hand.
        until: stop after this stage, without a report.
    """
    if runtime.deployment.id is not None:
        require_source(config, "this run of the deployment")
    if config.registry.enabled and config.registry.approval == "ask":
        approval.require_deployment()
    workspace = Workspace.locate(workdir)
    workspace.prepare()
    params = tracking.flat(config.model_dump(mode="json"))
    name = str(runtime.flow_run.name)  # one name in Prefect, MLflow and the working directory
    with open_run(workspace, name, config, params=params, force=force) as context:
        return _stages(context, config, until)


class _Done(Exception):
    """The stage at which the flow was to stop is done."""


def _stages(context: RunContext, config: RunConfig, until: str | None) -> dict[str, Any]:
    done: dict[str, StageOutcome] = {}
    asked, config = config, within_budget(config)

    def run(state: State[Any]) -> StageOutcome:
        outcome = state.result()
        assert isinstance(outcome, StageOutcome)
        done[outcome.name] = outcome
        if outcome.name == until:
            raise _Done
        return outcome

    try:
        ready = prepare(context, config, config.data, run, lambda split: _begin(context, config, split))
        split, graphs, models = ready.split, ready.graphs, {"teacher": ready.teacher}
        if config.distill.baselines:
            models["scratch"] = run(scratch(context, split, config.distill, return_state=True)).refs["scratch"]
            models["svd"] = run(svd(context, models["teacher"], config.distill.dim, return_state=True)).refs["svd"]
        found = run(spectrum(context, split, graphs, models["teacher"], config.spectral, return_state=True)).refs[
            "spectrum"
        ]
        models["student"] = run(
            distill(
                context,
                split,
                models["teacher"],
                graphs,
                found,
                patient(config, ready.start),
                config.spectral,
                ready.start.before if ready.start else None,
                return_state=True,
            )
        ).refs["student"]
        judged = run(
            evaluate(context, split, models, graphs, found, config.evaluate, config.spectral, return_state=True)
        ).refs
        if config.registry.enabled:
            name = model_name(config)
            registered = run(
                register(
                    context,
                    split,
                    models["student"],
                    judged["student"],
                    judged["facts"],
                    name,
                    _tags(context, asked, split, models, ready.start),
                    config.registry,
                    config.evaluate,
                    return_state=True,
                )
            ).refs["registration"]
            approval.ask(context, registered, config.registry)
    except _Done:
        return {"run": context.run_name, "stages": [outcome.model_dump() for outcome in done.values()]}
    return report(context, asked, done, ready.start)


def _begin(context: RunContext, config: RunConfig, split: ArtifactRef) -> Start | None:
    """Before the first training: whether the data go with the champion, and where the trainings start."""
    check_family(context, config, split)
    return find_start(context, config, split)


def patient(config: RunConfig, start: Start | None) -> DistillConfig:
    """How the student is trained: from an earlier one it has less to find, so it is looked at more often and stops sooner."""
    if start is None or start.before is None:
        return config.distill
    distill, less = config.distill, config.start
    return distill.model_copy(
        update={
            "epochs": less.epochs if distill.epochs == "auto" else min(distill.epochs, less.epochs),
            "eval_every": min(distill.eval_every, less.eval_every),
            "patience": min(distill.patience, less.patience),
        }
    )


def _tags(
    context: RunContext, config: RunConfig, split: ArtifactRef, models: dict[str, ArtifactRef], start: Start | None
) -> dict[str, str]:
    return {
        "freqd.run": context.run_name,
        "freqd.data_digest": split.digest,
        "freqd.teacher_digest": models["teacher"].digest,
        "freqd.student_digest": models["student"].digest,
        "freqd.code_digest": provenance.code_digest(["freqd.*"]),
        "freqd.seed": str(context.seed),
        **(start.before.tags() if start and start.before else {}),
        **origin(config),
    }
