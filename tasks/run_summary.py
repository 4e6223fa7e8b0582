"""The summary of a run: the one content that the file, MLflow, Prefect and the report show."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from prefect import get_run_logger, task

import freqd
from freqd import provenance
from freqd.config import EvaluateConfig, RunConfig
from freqd.data.interactions import PARTS, Split
from freqd.data.sources import labels_of, name_of
from freqd.embeddings import ModelInfo, TrainedModel
from freqd.evaluate import Evaluation
from freqd.evaluate.significance import Interval, paired_bootstrap
from freqd.gate import Verdict
from freqd.report.run import figures
from freqd.report.run.standing import REFERENCES, references_ahead, teacher_adds_nothing, teacher_lead_uncertain
from freqd.report.run_result import SCHEMA_VERSION, RunResult
from freqd.report.run_result_data import DataFacts
from freqd.report.run_result_parts import (
    ByModel,
    BySide,
    ChosenFilter,
    Evaluated,
    Filters,
    FilterTrial,
    Groups,
    MlflowFacts,
    ModelFacts,
    PrefectFacts,
    RegisteredModel,
    Side,
    SideFacts,
    SpectrumFacts,
    StageCost,
    Training,
)
from freqd.report.run_result_start import Budget, TrainingSeconds
from freqd.spectral import SideFilters, SideSpectrum, Spectrum
from freqd.storage.files import temporary, text_digest, write_atomic
from freqd.storage.store import ArtifactRef, Store
from tasks.conclusion import mlflow_tags
from tasks.mlops import tracking
from tasks.mlops.model_source import WHERE
from tasks.mlops.registry import aliases_of
from tasks.references import judged_references
from tasks.refit_report import open_report
from tasks.report_pages import write_pages
from tasks.run_context import RunContext, StageOutcome, flow_run_id
from tasks.runtime import page
from tasks.stages.evaluate import METRIC, EvaluationFacts, Mastered
from tasks.stages.register import Registration
from tasks.warm_start import Start, start_record


@task(name="report")
def report(
    context: RunContext, config: RunConfig, outcomes: dict[str, StageOutcome], start: Start | None = None
) -> RunResult:
    """Collect the result, write it with the report and the figures, and hand both to MLflow."""
    result = collect(context, config, outcomes, start)
    context.folder.mkdir(parents=True, exist_ok=True)
    stages = text_digest(*(f"{name}={outcome.digest}" for name, outcome in outcomes.items()))
    images = _images(context, result, stages)
    write_atomic(context.folder / "summary.json", json.dumps(result.as_json(), indent=1))
    write_pages(context, config, result, images)
    for name, image in images.items():
        write_atomic(context.folder / "figures" / f"{name}.png", image)

    tags = {
        **mlflow_tags(result),
        "freqd.cached_stages": ",".join(result.cached_stages),
        "freqd.advice": " ".join(result.advice),
    }
    told = {name: value for name, value in tags.items() if value}
    tracking.log(context.mlflow_run_id, metrics=_metrics(result), tags=told)
    tracking.log_file(context.mlflow_run_id, context.folder / "summary.json")
    for path in sorted((context.folder / "figures").glob("*.png")):
        tracking.log_file(context.mlflow_run_id, path, "figures")
    get_run_logger().info("report: %s", context.folder / "report.html")
    return result


def _metrics(result: RunResult) -> dict[str, float | int | None]:
    """What MLflow keeps of the run as numbers."""
    metrics: dict[str, float | int | None] = {
        f"{model}_{name}": value for model, values in result.metrics.items() for name, value in values.items()
    }
    metrics["gap_closed"] = result.gap_closed.value
    if result.evaluated is not None and (own := result.evaluated.ndcg_at_10) is not None:
        metrics |= {"student_ndcg_at_10_low": own.low, "student_ndcg_at_10_high": own.high}
    for when, spent in result.start.seconds.items() if result.start else ():
        metrics |= {f"start_{stage}_seconds_{when}": value for stage, value in spent}
    for name, facts in result.models.items():
        metrics |= {f"{name}_parameters": facts.parameters, f"{name}_bytes": facts.bytes}
    return metrics


def _images(context: RunContext, result: RunResult, stages: str) -> dict[str, bytes]:
    """The figures; those of an earlier run with the very same stages and drawing code are used again."""
    folder = context.workspace.runs / ".figures"
    earlier = folder / text_digest(stages, provenance.code_digest(["freqd.report.*"]))
    if not earlier.is_dir():
        with temporary(folder) as made:
            made.mkdir(parents=True)
            for name, image in figures.all_figures(result).items():
                (made / f"{name}.png").write_bytes(image)
            try:
                made.rename(earlier)
            except OSError:  # an equal run was faster
                if not earlier.is_dir():
                    raise
    return {path.stem: path.read_bytes() for path in sorted(earlier.glob("*.png"))}


def collect(
    context: RunContext, config: RunConfig, outcomes: Mapping[str, StageOutcome], start: Start | None = None
) -> RunResult:
    """Everything that the run found."""
    store = context.workspace.store
    refs = {f"{o.name}.{label}": ref for o in outcomes.values() for label, ref in o.refs.items()}
    facts, measured = EvaluationFacts.open(store, refs["evaluate.facts"])
    where = {name: label for name, label in WHERE.items() if f"evaluate.{name}" in refs}
    reports = {name: store.open(refs[f"evaluate.{name}"], Evaluation) for name in where}
    models = {name: store.open(refs[label], TrainedModel) for name, label in where.items()}
    registered, verdict = _registration(store, refs)
    seconds = {name: outcomes[name].seconds for name in ("teacher", "distill")}
    result = RunResult(
        schema_version=SCHEMA_VERSION,
        freqd=freqd.__version__,
        run=context.run_name,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        workdir=context.workdir,
        folder=str(Path.cwd()),
        data=_data(config, store.open(refs["ingest.split"], Split), refs["ingest.split"].digest),
        protocol=config.evaluate.protocol,
        metrics=ByModel[dict[str, float]](**{name: found.metrics for name, found in reports.items()}),
        evaluated=_evaluated(reports["student"], config.evaluate, context.seed),
        intervals=facts.intervals,
        group_intervals=facts.group_intervals,
        gap_closed=facts.gap_closed,
        models=ByModel[ModelFacts](
            **{name: ModelFacts(**dict(facts.models[name]), **asdict(measured.latency[name])) for name in where}
        ),
        references=judged_references(context.workspace, config, refs, facts),
        groups=ByModel[Groups].model_validate({name: found.groups for name, found in reports.items()}),
        spectrum=_spectrum(store.open(refs["spectrum.spectrum"], Spectrum), facts.mastery, models["student"].info),
        training=ByModel[Training].model_validate(
            {name: {"history": model.history, "info": model.info} for name, model in models.items()}
        ),
        stages=tuple(
            StageCost(name=o.name, seconds=o.seconds, peak_bytes=o.peak_bytes, cached=o.cached, digest=o.digest)
            for o in outcomes.values()
        ),
        artifacts=refs,
        cached_stages=tuple(o.name for o in outcomes.values() if o.cached),
        mlflow=MlflowFacts(
            run_id=context.mlflow_run_id,
            experiment_id=context.mlflow_experiment_id,
            tracking_uri=tracking.client().tracking_uri,
            address=tracking.page(context.mlflow_experiment_id, context.mlflow_run_id) or "",
        ),
        prefect=PrefectFacts(flow_run_id=flow_run_id(), address=page.address(flow_run_id())),
        model=registered,
        gate=verdict,
        config=config.model_dump(mode="json"),
        environment=provenance.environment(),
        budget=_budget(config, models, outcomes),
        start=start_record(context.workspace, start, TrainingSeconds(**seconds), models),
    )
    report = refs.get("refit.report")
    result = result if report is None else result.model_copy(update={"refit": open_report(store, report)})
    return result.model_copy(update={"advice": advise(result)})


def _evaluated(report: Evaluation, config: EvaluateConfig, seed: int) -> Evaluated:
    values = report.per_user[METRIC]
    level, rng = config.confidence, np.random.default_rng(seed)
    own = paired_bootstrap(values, np.zeros_like(values), samples=config.bootstrap_samples, confidence=level, rng=rng)
    return Evaluated(
        users=report.n_users_evaluated,
        skipped=report.n_users_skipped,
        not_drawn=report.n_users_not_drawn,
        ndcg_at_10=Interval(own.mean, own.low, own.high, level, ""),
    )


def _data(config: RunConfig, split: Split, digest: str) -> DataFacts:
    return DataFacts(
        **{
            **split.info.as_dict(),
            "name": name_of(config.data),
            "source": labels_of(config.data),
            "users": split.n_users,
            "items": split.n_items,
            "interactions": sum(len(split.part(part)) for part in PARTS),
            "digest": digest,
        }
    )


def _spectrum(spectrum: Spectrum, mastery: Mastered, student: ModelInfo) -> SpectrumFacts:
    """``mastery`` is that of each student by side; ``student`` knows the filters of its feature loss."""
    feature = student.get("feature_filters")

    def side(name: Side, bands: SideSpectrum) -> SideFacts:
        return SideFacts.model_validate(
            {
                "energy": bands.energies.tolist(),
                "density": bands.density.tolist(),
                "importance_only": bands.importance_only.tolist(),
                "importance_without": bands.importance_without.tolist(),
                "mastery": {model: values[name] for model, values in mastery.items()},
            }
        )

    return SpectrumFacts(
        edges=tuple(spectrum.edges.tolist()),
        method=BySide(user=spectrum.user.method, item=spectrum.item.method),
        base_ndcg=spectrum.base_ndcg,
        filters=Filters(
            feature=feature and ChosenFilter.both(SideFilters.model_validate(feature)),
            ranking=ChosenFilter.both(spectrum.ranking_filters),
        ),
        trials=tuple(FilterTrial(**trial) for trial in spectrum.trials),
        reason=" ".join(filter(None, (spectrum.reason, student.get("feature_reason")))),
        user=side("user", spectrum.user),
        item=side("item", spectrum.item),
        **({} if spectrum.whole_ndcg is None else {"whole_ndcg": spectrum.whole_ndcg}),
    )


def _registration(store: Store, refs: Mapping[str, ArtifactRef]) -> tuple[RegisteredModel | None, Verdict | None]:
    """The registered student and the gate's verdict; None without registration."""
    registration = refs.get("register.registration")
    if registration is None:
        return None, None
    entry = Registration.open(store, registration)
    aliases = tuple(aliases_of(entry.name, entry.version))
    return RegisteredModel(name=entry.name, version=entry.version, aliases=aliases), entry.gate


def _budget(config: RunConfig, models: Mapping[str, TrainedModel], outcomes: Mapping[str, StageOutcome]) -> Budget:
    """The run's time budget, what its stages have taken of it, and which trainings were stopped by theirs."""
    return Budget(
        minutes=config.budget_minutes,
        stage_seconds=sum(outcome.seconds for outcome in outcomes.values() if not outcome.cached),
        cut=tuple(
            name
            for name, model in models.items()
            if model.info.get("stopped") == "time" or model.info.get("budget_hit")
        ),
    )


def advise(result: RunResult) -> tuple[str, ...]:
    """What the numbers mean for what to do next; empty if all is well."""
    advice = []
    if teacher_lead_uncertain(result):
        beats = "does not beat" if teacher_adds_nothing(result) else "does not significantly beat"
        advice.append(
            f"The teacher {beats} the no-distillation baseline of dimension {result.models.student.dim}, so there is little to "
            "distil: try other teachers (--set teacher.kind=..., more sizes in teacher.factors), more data, or serve the small model."
        )
    if ahead := references_ahead(result):
        names = " and ".join(REFERENCES[name] for name in ahead)
        advice.append(
            f"{names} rank{'s' if len(ahead) == 1 else ''} significantly better than the teacher: a better teacher is to be had "
            "(--set teacher.kind=sum, or teacher.kind=ease where the catalogue is small)."
        )
    if result.intervals["student_minus_teacher"].high < 0:
        advice.append(
            "The student ranks significantly worse than its teacher: try a larger student (--set distill.dim=...) or more epochs."
        )
    if result.start and result.start.teacher and result.start.teacher.way != "continued":
        advice.append(
            "The earlier teacher, trained further on the new data, fell short of its own run, so the search was run again: "
            "if that happens in every run, set start.run=none or raise start.tolerance."
        )
    if result.refit and not result.refit.accepted:
        advice.append(
            "The refit on all interactions was refused, so what is deployed has not seen the newest of them: see the reasons, or set "
            "registry.refit=none to leave it out."
        )
    trainings = {"scratch": "The no-distillation baseline", "student": "The distillation"}
    limits = {
        "teacher": "teacher.max_seconds or teacher.search_seconds",
        "scratch": "baselines.max_seconds",
        "student": "distill.max_seconds",
    }
    for name, what in {"teacher": "The teacher", **trainings}.items():
        if name in result.budget.cut:
            flatters = ", so the gap closed may flatter the distillation" if name == "scratch" else ""
            remedy = "budget_minutes" if result.budget.minutes else limits[name]
            advice.append(
                f"{what} was stopped by its time budget while it may still have improved{flatters}: "
                f"raise it with --set {remedy}=..."
            )
    return tuple(advice)
