"""Stage 6: all models on the test split, and what the differences are worth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Annotated, Any

import numpy as np

from freqd.config import EvaluateConfig, SpectralConfig
from freqd.data.interactions import Split
from freqd.embeddings import TrainedModel
from freqd.evaluate import Evaluation
from freqd.evaluate import evaluate as judge
from freqd.evaluate.latency import scoring_latency
from freqd.evaluate.significance import gap_closed, paired_bootstrap
from freqd.graph import Graphs
from freqd.spectral import Mastery, Spectrum
from freqd.storage.store import ArtifactRef, Facts
from tasks.run_context import StageOutcome
from tasks.runtime.page import Shown
from tasks.stage import Result, Stage, stage
from tasks.stages.spectrum import MASTERY

METRIC = "ndcg_at_10"


class Judged(StageOutcome):
    """Every model on the test split."""

    @property
    def student(self) -> ArtifactRef:
        """The student's report."""
        return self.refs["student"]

    @property
    def facts(self) -> ArtifactRef:
        """What the differences are worth."""
        return self.refs["facts"]


@stage("evaluate", Judged, uses=["seed"])
def evaluate(
    at: Stage,
    split: ArtifactRef,
    models: Mapping[str, ArtifactRef],
    graphs: ArtifactRef,
    spectrum: ArtifactRef,
    config: EvaluateConfig,
    spectral: Annotated[SpectralConfig, MASTERY],
) -> Result:
    """Judge every model of ``models`` (teacher, student and the baselines) on the test split."""
    parts = at.open(split, Split)
    trained = {name: at.open(ref, TrainedModel) for name, ref in models.items()}
    reports: dict[str, Evaluation] = {}
    for done, (name, model) in enumerate(trained.items()):
        at.progress(done / (len(trained) + 1), name)
        reports[name] = judge(model.features, parts, config)
    at.progress(len(trained) / (len(trained) + 1), "comparing")
    rng = np.random.default_rng(at.run.seed)
    facts = compare(reports, config, rng)
    facts["models"] = {name: describe(model) for name, model in trained.items()}
    latency = {name: scoring_latency(model.features) for name, model in trained.items()}
    both, bands = at.open(graphs, Graphs), at.open(spectrum, Spectrum)
    students = {name: model for name, model in trained.items() if name != "teacher"}
    facts["mastery"] = mastery(trained["teacher"], students, both, bands, spectral)
    rows = [{"model": name, **{k: round(v, 4) for k, v in report.metrics.items()}} for name, report in reports.items()]
    table = Shown(key="evaluation", content=rows, description=f"Test split, protocol {config.protocol}")
    metrics: dict[str, float | int | None] = {
        f"{name}_{metric}": value for name, report in reports.items() for metric, value in report.metrics.items()
    }
    metrics["gap_closed"] = facts["gap_closed"]["value"]
    numbers = ", ".join(f"{name} {report.metrics[METRIC]:.4f}" for name, report in reports.items())
    found = Facts(facts, {"latency": latency})
    return Result({**reports, "facts": found}, f"test NDCG@10: {numbers}", metrics, shown=[table])


def compare(reports: dict[str, Evaluation], config: EvaluateConfig, rng: np.random.Generator) -> dict[str, Any]:
    """Paired differences of the student to the others, and the gap closed, each with its interval."""
    values = {name: report.per_user[METRIC] for name, report in reports.items()}
    options: dict[str, Any] = {"samples": config.bootstrap_samples, "confidence": config.confidence, "rng": rng}
    intervals = {}
    for name in values:
        if name != "student":
            difference = paired_bootstrap(values["student"], values[name], **options)
            intervals[f"student_minus_{name}"] = asdict(difference)
    if "scratch" in values:
        intervals["teacher_minus_scratch"] = asdict(paired_bootstrap(values["teacher"], values["scratch"], **options))
        closed = asdict(gap_closed(values["student"], values["scratch"], values["teacher"], **options))
    else:
        reason = "no student was trained alone to compare with"
        closed = {"value": None, "low": None, "high": None, "confidence": config.confidence, "reason": reason}
    return {"intervals": intervals, "gap_closed": closed}


def mastery(
    teacher: TrainedModel,
    students: Mapping[str, TrainedModel],
    graphs: Graphs,
    spectrum: Spectrum,
    config: SpectralConfig,
) -> dict[str, dict[str, list[float]]]:
    """How much of each band of the teacher's features each student can express, by student and side."""
    users = Mastery(teacher.features.users, graphs.user, spectrum.edges, config, spectrum.user.part_energies)
    items = Mastery(teacher.features.items, graphs.item, spectrum.edges, config, spectrum.item.part_energies)
    return {
        name: {"user": users(student.features.users).tolist(), "item": items(student.features.items).tolist()}
        for name, student in students.items()
    }


def describe(model: TrainedModel) -> dict[str, Any]:
    """Size of a model."""
    features = model.features
    return {
        "parameters": features.n_parameters,
        "bytes": features.n_bytes,
        "dim": features.dim,
        "valid_ndcg_at_10": model.info.get("valid_ndcg_at_10"),
    }
