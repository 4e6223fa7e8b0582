"""The main job: from interactions to a registered student."""

from __future__ import annotations

from collections.abc import Callable, Generator
from functools import partial

from prefect import flow, runtime
from prefect.client.schemas import State

from flows.common import Foundations, NewRun, drain, foundations, open_run, up_to
from flows.naming import as_folder, new_name
from freqd import provenance
from freqd.config import DistillConfig, RunConfig
from freqd.config.budget import within_budget
from freqd.data.sources import name_of, require_source
from freqd.json_types import JsonObject
from freqd.storage.store import ArtifactRef
from tasks import plugins
from tasks.conclusion import conclude
from tasks.mlops import tracking
from tasks.mlops.family import check_family, model_name
from tasks.run_context import RunContext, StageOutcome, origin
from tasks.run_summary import report
from tasks.runtime import page
from tasks.runtime.engine import engine, in_order
from tasks.runtime.workspace import Workspace
from tasks.stages import approval
from tasks.stages.baselines import SmallModels, baselines
from tasks.stages.distill import Distilled, distill
from tasks.stages.evaluate import evaluate
from tasks.stages.inputs import DistillInputs
from tasks.stages.references import Referred, references
from tasks.stages.refit import RefitInputs, Refitted, refit
from tasks.stages.register import CANDIDATES, NewVersion, RegisterInputs, register
from tasks.stages.svd import Truncated, filtered_svd, svd
from tasks.warm_start import Start, find_start

DEFAULTS = RunConfig()


def _shown_name() -> str:
    """The parameter ``run_name``; without it the run is named after its data and the time."""
    given = runtime.flow_run.parameters
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
) -> JsonObject | State[JsonObject]:
    """Ingest, graphs, teacher, spectrum, distillation, evaluation, registration; returns the summary.

    Args:
        config: all settings.
        workdir: where everything is kept; default FREQD_WORKDIR or ./freqd-work.
        run_name: name of the run; default the data set and the time. A name typed into Prefect's own field is not kept.
        force: stages that are computed even if their result is cached.
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
    new = NewRun(name, params, force=force)
    page.tag(f"data: {name_of(config.data)}", *([f"model: {model_name(config)}"] if config.registry.enabled else []))
    with engine(config.engine, workspace), open_run(workspace, config, new) as context:
        return _run(context, config, until)


def _run(context: RunContext, config: RunConfig, until: str | None) -> JsonObject | State[JsonObject]:
    done: list[StageOutcome] = []
    found = drain(up_to(_stages(context, config), until), done.append)
    if found is None:
        return {"run": context.run_name, "stages": [outcome.model_dump() for outcome in done]}
    return conclude(report(context, config, {outcome.name: outcome for outcome in done}, found.start))


def _stages(run: RunContext, asked: RunConfig) -> Generator[StageOutcome, None, Foundations]:
    """Ingest, graphs, teacher and spectrum; baselines and distillation; evaluation; registration."""
    config = within_budget(asked)

    def begin(split: ArtifactRef) -> Start | None:
        """Before the first training: whether the data go with the champion, and where the trainings start."""
        check_family(run, asked, split)
        return find_start(run, asked, split)

    found = yield from foundations(run, config, config.data, begin, titles=True)
    inputs = found.inputs
    models = {"teacher": inputs.teacher}
    reports: dict[str, ArtifactRef] = {}
    for made in in_order(_beside(run, config, found)):
        yield made
        match made:
            case Referred():
                reports = made.reports
            case SmallModels():
                models |= {"scratch": made.scratch, **made.others}
            case Truncated():
                models[made.name] = made.svd
            case Distilled():
                models["student"] = made.student
    yield (judged := evaluate(run, inputs, models, config.evaluate, config.spectral, reports))
    if config.registry.enabled:
        candidate = CANDIDATES[config.registry.candidate]
        deployed: dict[str, ArtifactRef] = {}
        if config.refits:
            yield (again := refitted(run, config, found, models["student"]))
            deployed = again.deployed
        new = NewVersion(model=model_name(config), tags=_tags(run, asked, inputs, models[candidate], found.start))
        entered = RegisterInputs(
            split=inputs.split,
            student=models[candidate],
            report=judged.refs[candidate],
            facts=judged.facts,
            **deployed,
        )
        yield (registered := register(run, entered, new, config.registry, config.evaluate))
        approval.ask(run, registered.registration, config.registry)
    return found


def _beside(run: RunContext, config: RunConfig, found: Foundations) -> list[Callable[[], StageOutcome]]:
    """What needs the foundations and not each other: everything that the student is measured against, and the student."""
    inputs, own, dim = found.inputs, config.baselines, config.distill.dim
    jobs: list[Callable[[], StageOutcome]] = []
    if names := own.references:
        jobs.append(partial(references, run, inputs.split, names, own.max_items, config.evaluate))
    if own.small:
        jobs.append(partial(baselines, run, inputs.split, config.distill, own))
    if own.models:
        jobs += [partial(svd, run, inputs.teacher, dim), partial(filtered_svd, run, inputs, dim)]
    settings = patient(config, found.start)
    jobs.append(partial(distill, run, inputs, settings, config.spectral, found.earlier_student))
    return jobs


def refitted(run: RunContext, config: RunConfig, found: Foundations, student: ArtifactRef) -> Refitted:
    """The judged ``student`` and its teacher once more, of all interactions."""
    made = found.inputs
    inputs = RefitInputs(split=made.split, teacher=made.teacher, spectrum=made.spectrum, student=student)
    earlier = found.start.model("teacher") if found.start else None
    return refit(run, inputs, config.graph, config.teacher, patient(config, found.start), earlier)


def patient(config: RunConfig, start: Start | None) -> DistillConfig:
    """How the student is trained: from an earlier one it has less to find, so it is validated more often and stops sooner."""
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
    context: RunContext, config: RunConfig, inputs: DistillInputs, student: ArtifactRef, start: Start | None
) -> dict[str, str]:
    return {
        "freqd.run": context.run_name,
        "freqd.data_digest": inputs.split.digest,
        "freqd.teacher_digest": inputs.teacher.digest,
        "freqd.student_digest": student.digest,
        "freqd.code_digest": provenance.code_digest(["freqd.*"]),
        "freqd.seed": str(context.seed),
        **(start.before.tags() if start and start.before else {}),
        **plugins.lineage(config),
        **origin(config),
    }
