"""The summary of a run: the one content that the file, MLflow, Prefect and the report show."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from prefect import get_run_logger, task
from prefect.artifacts import create_image_artifact, create_link_artifact, create_markdown_artifact

import freqd
from freqd import provenance
from freqd.config import RunConfig
from freqd.data.interactions import PARTS, Split
from freqd.data.sources import labels_of, name_of
from freqd.embeddings import TrainedModel
from freqd.evaluate import Report
from freqd.report.markdown import escape
from freqd.report.run import figures, html, sentences, text
from freqd.spectral import SideFilters, Spectrum
from freqd.storage.files import temporary, text_digest, write_atomic
from freqd.storage.store import ArtifactRef, Facts
from tasks.mlops import tracking
from tasks.mlops.registry import aliases_of
from tasks.run_context import RunContext, StageOutcome, flow_run_id
from tasks.warm_start import Start, start_record

SHOWN_IN_PREFECT = ("quality_size", "spectrum_user", "spectrum_item", "learning")


@task(name="report")
def report(
    context: RunContext, config: RunConfig, outcomes: dict[str, StageOutcome], start: Start | None = None
) -> dict[str, Any]:
    """Collect the summary, write it with the report and the figures, and hand both to MLflow and Prefect."""
    summary = collect(context, config, outcomes, start)
    context.folder.mkdir(parents=True, exist_ok=True)
    stages = text_digest(*(f"{name}={outcome.digest}" for name, outcome in outcomes.items()))
    images = _images(context, summary, stages)
    page = html.render(summary, images)
    write_atomic(context.folder / "summary.json", json.dumps(summary, indent=1))
    write_atomic(context.folder / "report.html", page)
    for name, image in images.items():
        write_atomic(context.folder / "figures" / f"{name}.png", image)

    metrics: dict[str, Any] = {f"{m}_{k}": v for m, values in summary["metrics"].items() for k, v in values.items()}
    metrics["gap_closed"] = summary["gap_closed"]["value"]
    for when, spent in (summary["start"] or {}).get("seconds", {}).items():
        metrics |= {f"start_{stage}_seconds_{when}": value for stage, value in (spent or {}).items()}
    for name, values in summary["models"].items():
        metrics |= {f"{name}_parameters": values["parameters"], f"{name}_bytes": values["bytes"]}
    verdict = sentences.verdict(summary)
    tags = {
        "freqd.cached_stages": ",".join(summary["cached_stages"]),
        "freqd.advice": " ".join(summary["advice"]),
        "mlflow.note.content": escape(f"{verdict.title}. {verdict.sentence}"),
    }
    tracking.log(context.mlflow_run_id, metrics=metrics, tags={name: value for name, value in tags.items() if value})
    for path in (context.folder / "summary.json", context.folder / "report.html"):
        tracking.log_file(context.mlflow_run_id, path)
    for path in sorted((context.folder / "figures").glob("*.png")):
        tracking.log_file(context.mlflow_run_id, path, "figures")

    create_markdown_artifact(text.markdown(summary), key="result", description=summary["run"])
    for name in SHOWN_IN_PREFECT:
        if name in images:
            create_image_artifact(html.data_uri(images[name]), key=name.replace("_", "-"), description=summary["run"])
    if address := tracking.page(context.mlflow_experiment_id, context.mlflow_run_id):
        create_link_artifact(address, "MLflow run", key="mlflow-run", description=summary["run"])
    get_run_logger().info("report: %s", context.folder / "report.html")
    return summary


def _images(context: RunContext, summary: dict[str, Any], stages: str) -> dict[str, bytes]:
    """The figures; those of an earlier run with the very same stages and drawing code are used again."""
    folder = context.workspace.runs / ".figures"
    earlier = folder / text_digest(stages, provenance.code_digest(["freqd.report.*"]))
    if not earlier.is_dir():
        with temporary(folder) as made:
            made.mkdir(parents=True)
            for name, image in figures.all_figures(summary).items():
                (made / f"{name}.png").write_bytes(image)
            try:
                made.rename(earlier)
            except OSError:  # an equal run was faster
                if not earlier.is_dir():
                    raise
    return {path.stem: path.read_bytes() for path in sorted(earlier.glob("*.png"))}


def collect(
    context: RunContext, config: RunConfig, outcomes: Mapping[str, StageOutcome], start: Start | None = None
) -> dict[str, Any]:
    """Everything that the run found, as one JSON-able dictionary."""
    store = context.workspace.store
    refs: dict[str, ArtifactRef] = {}
    for outcome in outcomes.values():
        refs |= {f"{outcome.name}.{label}": ref for label, ref in outcome.refs.items()}
    split = store.open(refs["ingest.split"], Split)
    spectrum = store.open(refs["spectrum.spectrum"], Spectrum)
    evaluated = store.open(refs["evaluate.facts"], Facts)
    facts, latency = evaluated.values, evaluated.measured["latency"]
    names = [name for name in ("teacher", "scratch", "svd", "student") if f"evaluate.{name}" in refs]
    reports = {name: store.open(refs[f"evaluate.{name}"], Report) for name in names}
    where = {"teacher": "teacher.teacher", "scratch": "scratch.scratch", "svd": "svd.svd", "student": "distill.student"}
    models = {name: store.open(refs[where[name]], TrainedModel) for name in names}
    summary: dict[str, Any] = {
        "freqd": freqd.__version__,
        "run": context.run_name,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "workdir": context.workdir,
        "folder": str(Path.cwd()),
        "data": {
            **split.info.as_dict(),
            "name": name_of(config.data),
            "source": labels_of(config.data),
            "users": split.n_users,
            "items": split.n_items,
            "interactions": sum(len(split.part(part)) for part in PARTS),
            "digest": refs["ingest.split"].digest,
        },
        "protocol": config.evaluate.protocol,
        "metrics": {name: found.metrics for name, found in reports.items()},
        "evaluated": {
            "users": reports["student"].n_users_evaluated,
            "skipped": reports["student"].n_users_skipped,
        },
        "intervals": facts["intervals"],
        "gap_closed": facts["gap_closed"],
        "models": {name: {**described, **latency[name]} for name, described in facts["models"].items()},
        "groups": {name: found.groups for name, found in reports.items()},
        "spectrum": {
            "edges": spectrum.edges.tolist(),
            "method": {"user": spectrum.user.method, "item": spectrum.item.method},
            "base_ndcg": spectrum.base_ndcg,
            "filters": {
                "feature": _filters(spectrum.feature_filters),
                "ranking": _filters(spectrum.ranking_filters),
            },
            "trials": spectrum.trials,
            "reason": spectrum.reason,
        },
        "training": {name: {"history": model.history, "info": model.info} for name, model in models.items()},
        "stages": [
            {"name": o.name, "seconds": o.seconds, "peak_bytes": o.peak_bytes, "cached": o.cached, "digest": o.digest}
            for o in outcomes.values()
        ],
        "artifacts": {name: ref.model_dump() for name, ref in refs.items()},
        "cached_stages": [o.name for o in outcomes.values() if o.cached],
        "mlflow": {
            "run_id": context.mlflow_run_id,
            "experiment_id": context.mlflow_experiment_id,
            "tracking_uri": tracking.client().tracking_uri,
        },
        "prefect": {"flow_run_id": flow_run_id()},
        "model": None,
        "gate": None,
        "config": config.model_dump(mode="json"),
        "environment": provenance.environment(),
    }
    for name, side in (("user", spectrum.user), ("item", spectrum.item)):
        summary["spectrum"][name] = {
            "energy": side.energies.tolist(),
            "density": side.density.tolist(),
            "importance_only": side.importance_only.tolist(),
            "importance_without": side.importance_without.tolist(),
            "mastery": {model: values[name] for model, values in facts["mastery"].items()},
        }
    registration = refs.get("register.registration")
    if registration is not None:
        entry = store.open(registration, Facts).values
        aliases = aliases_of(entry["name"], entry["version"])
        summary["model"] = {"name": entry["name"], "version": entry["version"], "aliases": aliases}
        summary["gate"] = entry["gate"]
    summary["budget"] = _budget(config, models, outcomes)
    now = {name: outcomes[name].seconds for name in ("teacher", "distill")}
    summary["start"] = start_record(context.workspace, start, now, models)
    summary["advice"] = advise(summary)
    return summary


def _budget(
    config: RunConfig, models: Mapping[str, TrainedModel], outcomes: Mapping[str, StageOutcome]
) -> dict[str, Any]:
    """The run's time budget, what its stages have taken of it, and which trainings were stopped by theirs."""
    return {
        "minutes": config.budget_minutes,
        "stage_seconds": sum(outcome.seconds for outcome in outcomes.values() if not outcome.cached),
        "cut": [
            name
            for name, model in models.items()
            if model.info.get("stopped") == "time" or model.info.get("budget_hit")
        ],
    }


def _filters(filters: SideFilters) -> dict[str, Any]:
    sides = (("user", filters.user), ("item", filters.item))
    return {name: {"label": found.label(), **found.model_dump(mode="json")} for name, found in sides}


def advise(summary: Mapping[str, Any]) -> list[str]:
    """What the numbers mean for what to do next; empty if all is well."""
    advice = []
    metrics, intervals = summary["metrics"], summary["intervals"]
    apart = intervals.get("teacher_minus_scratch")
    if apart is not None and apart["low"] <= 0:
        beats = (
            "does not beat"
            if metrics["teacher"]["ndcg_at_10"] <= metrics["scratch"]["ndcg_at_10"]
            else "does not beat beyond chance"
        )
        advice.append(
            f"The teacher {beats} a student of {summary['models']['student']['dim']} numbers trained alone, so there is little to "
            "distil: try other teachers (--set teacher.kind=..., more sizes in teacher.factors), more data, or serve the small model."
        )
    behind = intervals["student_minus_teacher"]
    if behind["high"] < 0:
        advice.append(
            "The student ranks worse than its teacher beyond chance: try a larger student (--set distill.dim=...) or more epochs."
        )
    way = ((summary["start"] or {}).get("teacher") or {}).get("way", "continued")
    if way != "continued":
        advice.append(
            "The earlier teacher, carried on, fell short of what it was in its own run, so the teacher was searched for anew: "
            "if that happens at every run, set start.run=none or raise start.tolerance."
        )
    minutes = summary["budget"]["minutes"]
    trainings = {"scratch": "The student trained alone", "student": "The distillation"}
    limits = {"teacher": "teacher.max_seconds or teacher.search_seconds"}
    for name, what in {"teacher": "The teacher", **trainings}.items():
        if name in summary["budget"]["cut"]:
            flatters = ", so the gap closed may flatter the distillation" if name == "scratch" else ""
            remedy = "budget_minutes" if minutes else limits.get(name, "distill.max_seconds")
            advice.append(
                f"{what} was stopped by its time budget while it may still have improved{flatters}: "
                f"raise it with --set {remedy}=..."
            )
    return advice
