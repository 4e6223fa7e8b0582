"""Stage 6: all models on the test split, and what the differences are worth."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from types import MappingProxyType
from typing import Annotated, Self

import numpy as np
from pydantic import BaseModel, ConfigDict

from freqd.config import EvaluateConfig, SpectralConfig
from freqd.data.ids import Side
from freqd.data.interactions import Split
from freqd.embeddings import TrainedModel
from freqd.errors import LeakError
from freqd.evaluate import Evaluation, GroupDifferences, group_differences
from freqd.evaluate import evaluate as judge
from freqd.evaluate.latency import Latency, scoring_latency
from freqd.evaluate.significance import Difference, Interval, gap_closed, paired_bootstrap
from freqd.graph import Graphs
from freqd.spectral import Mastery, Spectrum
from freqd.storage.store import ArtifactRef, Facts, Store
from tasks.run_context import StageOutcome
from tasks.runtime.page import Shown
from tasks.stage import Result, Stage, stage
from tasks.stages.inputs import DistillInputs
from tasks.stages.spectrum import MASTERY

METRIC = "ndcg_at_10"
STUDENTS = ("scratch", "svd", "student")
"""Models whose share of the teacher's bands is measured."""
NO_REFERENCES: Mapping[str, ArtifactRef] = MappingProxyType({})
Mastered = dict[str, dict[Side, list[float]]]
"""Shares by band, low to high frequency, of both sides, by student."""


class ModelSize(BaseModel):
    """Size of a model, and its NDCG@10 on validation; None for one that was not validated."""

    model_config = ConfigDict(frozen=True)

    parameters: int
    bytes: int
    dim: int
    valid_ndcg_at_10: float | None


class Measured(BaseModel):
    """What differs from one equal result to the next: the latency by model."""

    model_config = ConfigDict(frozen=True)

    latency: dict[str, Latency]


class EvaluationFacts(BaseModel):
    """What the differences between the models are worth.

    Attributes:
        intervals: paired differences over the test users of student and teacher to all others, as ``student_minus_teacher``.
        group_intervals: those to teacher and no-distillation baseline within groups of users and of items.
        gap_closed: how much of the way from the no-distillation baseline to the teacher the student is.
        models: size by model.
        mastery: by student and side, how much of each band of the teacher's features it can express.
    """

    model_config = ConfigDict(frozen=True)

    intervals: dict[str, Difference]
    group_intervals: dict[str, GroupDifferences]
    gap_closed: Interval
    models: dict[str, ModelSize]
    mastery: Mastered

    @classmethod
    def open(cls, store: Store, ref: ArtifactRef) -> tuple[Self, Measured]:
        """Read them, with what was measured."""
        found = store.open(ref, Facts)
        return cls.model_validate(found.values), Measured.model_validate(found.measured)


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
    inputs: DistillInputs,
    models: Mapping[str, ArtifactRef],
    config: EvaluateConfig,
    spectral: Annotated[SpectralConfig, MASTERY],
    references: Mapping[str, ArtifactRef] = NO_REFERENCES,
) -> Result:
    """Judge every model of ``models`` (teacher, student and the baselines) on the test split; ``references`` are judged already."""
    parts = at.open(inputs.split, Split)
    trained = {name: at.open(ref, TrainedModel) for name, ref in models.items()}
    if leaking := [name for name, model in trained.items() if model.info.get("refit")]:
        raise LeakError(f"{', '.join(leaking)}: a refitted model has seen the test split, so it cannot be judged on it")
    reports: dict[str, Evaluation] = {}
    for done, (name, model) in enumerate(trained.items()):
        at.progress(done / (len(trained) + 1), name)
        reports[name] = judge(model.scorer, parts, config, engine=at.engine)
    at.progress(len(trained) / (len(trained) + 1), "comparing")
    beside = {name: at.open(ref, Evaluation) for name, ref in references.items()}
    intervals, closed = compare({**reports, **beside}, config, np.random.default_rng(at.run.seed))
    by_group = compare_groups(reports, config, np.random.default_rng(at.run.seed))
    latency = scoring_latency({name: model.scorer for name, model in trained.items()})
    facts = EvaluationFacts(
        intervals=intervals,
        group_intervals=by_group,
        gap_closed=closed,
        models={name: size_of(model) for name, model in trained.items()},
        mastery=mastery(
            trained["teacher"],
            {name: model for name, model in trained.items() if name in STUDENTS},
            at.open(inputs.graphs, Graphs),
            at.open(inputs.spectrum, Spectrum),
            spectral,
        ),
    )
    rows = [{"model": name, **{k: round(v, 4) for k, v in report.metrics.items()}} for name, report in reports.items()]
    table = Shown(key="evaluation", content=rows, description=f"Test split, protocol {config.protocol}")
    metrics: dict[str, float | int | None] = {
        f"{name}_{metric}": value for name, report in reports.items() for metric, value in report.metrics.items()
    }
    metrics["gap_closed"] = closed.value
    numbers = ", ".join(f"{name} {report.metrics[METRIC]:.4f}" for name, report in reports.items())
    found = Facts.of(facts, Measured(latency=latency))
    return Result({**reports, "facts": found}, f"test NDCG@10: {numbers}", metrics, shown=[table])


def compare(
    reports: Mapping[str, Evaluation], config: EvaluateConfig, rng: np.random.Generator
) -> tuple[dict[str, Difference], Interval]:
    """Paired differences of student and teacher to the others, and the gap closed, each with its interval."""
    values = {name: report.per_user[METRIC] for name, report in reports.items()}
    bootstrap = partial(paired_bootstrap, samples=config.bootstrap_samples, confidence=config.confidence, rng=rng)
    intervals = {
        f"student_minus_{name}": bootstrap(values["student"], values[name]) for name in values if name != "student"
    }
    intervals |= {
        f"teacher_minus_{name}": bootstrap(values["teacher"], values[name])
        for name in values
        if name not in ("student", "teacher")
    }
    if "scratch" not in values:
        return intervals, Interval(
            None, None, None, config.confidence, "there is no baseline without distillation to compare with"
        )
    closed = gap_closed(
        values["student"],
        values["scratch"],
        values["teacher"],
        samples=config.bootstrap_samples,
        confidence=config.confidence,
        rng=rng,
    )
    return intervals, closed


def compare_groups(
    reports: Mapping[str, Evaluation], config: EvaluateConfig, rng: np.random.Generator
) -> dict[str, GroupDifferences]:
    """Paired differences of the student to teacher and no-distillation baseline within groups of users and of items."""
    others = [name for name in ("teacher", "scratch") if name in reports]
    found = group_differences(
        reports["student"],
        [reports[name] for name in others],
        samples=config.bootstrap_samples,
        confidence=config.confidence,
        rng=rng,
    )
    return {f"student_minus_{name}": differences for name, differences in zip(others, found, strict=True)}


def mastery(
    teacher: TrainedModel,
    students: Mapping[str, TrainedModel],
    graphs: Graphs,
    spectrum: Spectrum,
    config: SpectralConfig,
) -> Mastered:
    """How much of each band of the teacher's features each student can express, by student and side."""
    users = Mastery(teacher.features.users, graphs.user, spectrum.edges, config, spectrum.user.part_energies)
    items = Mastery(teacher.features.items, graphs.item, spectrum.edges, config, spectrum.item.part_energies)
    return {
        name: {"user": users(student.features.users).tolist(), "item": items(student.features.items).tolist()}
        for name, student in students.items()
    }


def size_of(model: TrainedModel) -> ModelSize:
    """Size of a model."""
    return ModelSize(
        parameters=model.scorer.n_parameters,
        bytes=model.scorer.n_bytes,
        dim=model.features.dim,
        valid_ndcg_at_10=model.info.get("valid_ndcg_at_10"),
    )
