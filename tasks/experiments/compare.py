"""What a comparison adds to the stages of a run: one model on the test split, its entry in MLflow, the tables."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import numpy.typing as npt
from prefect import task
from prefect.artifacts import create_image_artifact, create_markdown_artifact
from pydantic import BaseModel, ConfigDict, TypeAdapter

from freqd.config import ComparisonPlan, EvaluateConfig, RunConfig, SpectralConfig
from freqd.data.interactions import PARTS, Split
from freqd.embeddings import TrainedModel
from freqd.evaluate import Evaluation
from freqd.evaluate import evaluate as rank_and_measure
from freqd.evaluate.latency import Latency, scoring_latency
from freqd.graph.graph import Graphs
from freqd.report import comparison as shown
from freqd.report.comparison_result import (
    ComparedData,
    ComparedReference,
    ComparisonResult,
    MethodResult,
    SizeTable,
    StageOfComparison,
)
from freqd.report.run import html
from freqd.report.run_result_parts import BySide, Series
from freqd.spectral import Spectrum
from freqd.storage.store import ArtifactRef, Facts, Store
from tasks.experiments.results import books, replace_folder
from tasks.experiments.statistics import compare_methods, over_seeds
from tasks.mlops import tracking
from tasks.run_context import RunContext, StageOutcome
from tasks.stage import Result, Stage, stage
from tasks.stages.evaluate import METRIC, Mastered, ModelSize, size_of
from tasks.stages.evaluate import mastery as band_mastery
from tasks.stages.inputs import JUDGING, DistillInputs
from tasks.stages.references import ReferenceFacts, Referred
from tasks.stages.spectrum import MASTERY

PerUser = npt.NDArray[np.floating]

SHOWN = (METRIC, "recall_at_10")


class Contender(BaseModel):
    """A trained model and its judgement.

    ``seed`` is None where chance plays no part (the SVD), ``model`` names the model among what the stage made.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: str
    method: str
    dim: int | None
    seed: int | None
    model: str
    trained: StageOutcome
    judged: StageOutcome


class Subject(BaseModel):
    """A data set with all that was trained on it, and what every stage cost."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    split: ArtifactRef
    spectrum: ArtifactRef
    mastery: ArtifactRef
    teacher: Contender
    references: Referred | None
    students: tuple[Contender, ...]
    stages: tuple[StageOfComparison, ...]


class JudgedLatency(BaseModel):
    """What a request costs a model that was judged alone."""

    model_config = ConfigDict(frozen=True)

    latency: Latency


class JudgedAlone(StageOutcome):
    """One model on the test split."""

    @property
    def report(self) -> ArtifactRef:
        """Its metrics."""
        return self.refs["report"]

    @property
    def facts(self) -> ArtifactRef:
        """Its size, and what a request costs."""
        return self.refs["facts"]


class BandsLearnt(StageOutcome):
    """What students have learnt."""

    @property
    def mastery(self) -> ArtifactRef:
        """By student, side and band."""
        return self.refs["mastery"]


@stage("judge", JudgedAlone)
def judge(at: Stage, split: ArtifactRef, model: ArtifactRef, config: Annotated[EvaluateConfig, JUDGING]) -> Result:
    """Judge one model on the test split, as the stage ``evaluate`` of a run does."""
    trained = at.open(model, TrainedModel)
    report = rank_and_measure(trained.scorer, at.open(split, Split), config, progress=at.progress, engine=at.engine)
    latency = JudgedLatency(latency=scoring_latency({"model": trained.scorer})["model"])
    facts = Facts.of(size_of(trained), latency)
    return Result(
        {"report": report, "facts": facts}, f"test NDCG@10 {report.metrics[METRIC]:.4f}", dict(report.metrics)
    )


@stage("mastery", BandsLearnt)
def mastery(
    at: Stage,
    inputs: DistillInputs,
    students: Mapping[str, ArtifactRef],
    config: Annotated[SpectralConfig, MASTERY],
) -> Result:
    """How much of each band of the teacher the students have learnt."""
    found = band_mastery(
        at.open(inputs.teacher, TrainedModel),
        {name: at.open(ref, TrainedModel) for name, ref in students.items()},
        at.open(inputs.graphs, Graphs),
        at.open(inputs.spectrum, Spectrum),
        config,
    )
    return Result({"mastery": Facts(TypeAdapter(Mastered).dump_python(found))}, f"of {len(students)} students")


def seeds_of(config: RunConfig, plan: ComparisonPlan) -> tuple[int, ...]:
    """Of the students of each method and size."""
    return tuple(range(config.seed, config.seed + plan.seeds))


def enter(context: RunContext, contender: Contender) -> None:
    """Name and tag the MLflow run of the training, and log the test metrics there, so that students compare well."""
    run_id = contender.trained.mlflow_run_id
    known = {"method": contender.method, "dim": contender.dim, "seed": contender.seed, "data": contender.data}
    labels = {name: str(value) for name, value in known.items() if value is not None}
    report = context.workspace.store.open(contender.judged.refs["report"], Evaluation)
    size = "" if contender.dim is None else f" {contender.dim}"
    seed = "" if contender.seed is None else f" seed {contender.seed}"
    tracking.client().update_run(run_id, name=f"{contender.data} {contender.method}{size}{seed}")
    tracking.log(
        run_id,
        metrics={f"test_{name}": value for name, value in report.metrics.items()},
        params={"method": contender.method, "data": contender.data},
        tags=labels,
    )


@task(name="tabulate")
def tabulate(
    context: RunContext, config: RunConfig, plan: ComparisonPlan, subjects: tuple[Subject, ...]
) -> ComparisonResult:
    """Compare the methods on every data set, write tables and figures, and hand both to MLflow and Prefect."""
    store = context.workspace.store
    folder = context.workspace.root / "comparisons" / context.run_name
    result = ComparisonResult(
        **dict(books(context, config, folder)),
        protocol=config.evaluate.protocol,
        confidence=config.evaluate.confidence,
        bootstrap_samples=config.evaluate.bootstrap_samples,
        seeds=seeds_of(config, plan),
        against=plan.against,
        data=tuple(_subject(store, subject, config, plan.against) for subject in subjects),
        stages=tuple(cost for subject in subjects for cost in subject.stages),
    )
    images = shown.figures(result)
    files: dict[str, str | bytes] = {
        "comparison.json": json.dumps(result.as_json(), indent=1, allow_nan=False),
        "comparison.csv": shown.csv(result),
        "comparison.md": shown.markdown(result),
        **{f"{name}.png": image for name, image in images.items()},
    }
    replace_folder(folder, files)

    metrics = {
        f"{entry.name}_{row.dim}_{row.method}_{name}": row.metrics[name].mean
        for entry in result.data
        for row in entry.students()
        for name in SHOWN
    }
    metrics |= {f"{entry.name}_teacher_{n}": entry.teacher.metrics[n].mean for entry in result.data for n in SHOWN}
    tracking.log(context.mlflow_run_id, metrics=metrics)
    for name in files:
        tracking.log_file(context.mlflow_run_id, folder / name, "figures" if name.endswith(".png") else None)
    create_markdown_artifact(shown.markdown(result, images=False), key="comparison", description=context.run_name)
    for name, image in images.items():
        create_image_artifact(html.data_uri(image), key=name, description=context.run_name)
    return result


def _subject(store: Store, subject: Subject, config: RunConfig, against: str) -> ComparedData:
    split = store.open(subject.split, Split)
    spectrum = store.open(subject.spectrum, Spectrum)
    filters = spectrum.ranking_filters
    teacher = store.open(subject.teacher.judged.refs["report"], Evaluation)
    sizes: dict[int, list[Contender]] = {}
    for student in subject.students:
        assert student.dim is not None  # only the teacher's is its own
        sizes.setdefault(student.dim, []).append(student)
    table = _Table(
        store, config, teacher, TypeAdapter(Mastered).validate_python(store.open(subject.mastery, Facts).values)
    )
    return ComparedData(
        name=subject.name,
        digest=subject.split.digest,
        split=split.info.split,
        users=split.n_users,
        items=split.n_items,
        interactions=sum(len(split.part(part)) for part in PARTS),
        evaluated_users=teacher.n_users_evaluated,
        skipped_users=teacher.n_users_skipped,
        ranking_filter=BySide(user=filters.user.label(), item=filters.item.label()),
        edges=tuple(spectrum.edges.tolist()),
        teacher=table.measured("teacher", [subject.teacher]),
        references=tuple(_references(store, subject.references)),
        tables=tuple(SizeTable(dim=dim, rows=table.rows(students, against)) for dim, students in sizes.items()),
    )


def _references(store: Store, judged: Referred | None) -> Iterator[ComparedReference]:
    """Models of any size that were judged beside the students."""
    if judged is not None:
        sizes = ReferenceFacts.open(store, judged.facts).sizes
        for name, ref in judged.reports.items():
            metrics = store.open(ref, Evaluation).metrics
            yield ComparedReference(name=name, parameters=sizes[name].parameters, metrics=metrics)


@dataclass(frozen=True, eq=False)
class _Table:
    """What the rows of a data set share; ``learnt`` is the mastery by method and size."""

    store: Store
    config: RunConfig
    teacher: Evaluation
    learnt: Mastered

    def rows(self, students: Sequence[Contender], against: str) -> tuple[MethodResult, ...]:
        """The methods at one size."""
        methods: dict[str, list[Contender]] = {}
        for student in students:
            methods.setdefault(student.method, []).append(student)
        values = {method: self._per_user(runs) for method, runs in methods.items()}
        config, teacher = self.config, self.teacher.per_user[METRIC]
        compared = compare_methods(values, teacher, config.evaluate, seed=config.seed, against=against)
        return tuple(
            self.measured(method, runs).model_copy(
                update={
                    "gap_closed": compared[method][0],
                    "minus_against": compared[method][1],
                    "mastery": BySide[Series].model_validate(self.learnt[f"{method} {runs[0].dim}"]),
                }
            )
            for method, runs in methods.items()
        )

    def _per_user(self, runs: Sequence[Contender]) -> PerUser:
        """(n_users,) NDCG@10, mean over the seeds."""
        reports = [self.store.open(run.judged.refs["report"], Evaluation) for run in runs]
        mean: PerUser = np.stack([_aligned(report, self.teacher) for report in reports]).mean(axis=0, dtype=np.float64)
        return mean

    def measured(self, method: str, runs: Sequence[Contender]) -> MethodResult:
        """Size, speed and metrics of a method, without what it is held against."""
        reports = [self.store.open(run.judged.refs["report"], Evaluation) for run in runs]
        facts = [self.store.open(run.judged.refs["facts"], Facts) for run in runs]
        size = ModelSize.model_validate(facts[0].values)
        latencies = [JudgedLatency.model_validate(fact.measured).latency for fact in facts]
        confidence = self.config.evaluate.confidence
        info = self.store.open(runs[0].trained.refs[runs[0].model], TrainedModel).info
        return MethodResult(
            learning_rate=info.get("learning_rate"),
            weight_decay=info.get("weight_decay"),
            method=method,
            runs=len(runs),
            seeds=tuple(run.seed for run in runs if run.seed is not None),
            metrics={
                name: over_seeds([report.metrics[name] for report in reports], confidence)
                for name in reports[0].metrics
            },
            seconds=float(np.mean([run.trained.seconds for run in runs])),
            dim=size.dim,
            parameters=size.parameters,
            bytes=size.bytes,
            median_ms=float(np.median([latency.median_ms for latency in latencies])),
            models=tuple(run.trained.refs[run.model] for run in runs),
        )


def _aligned(report: Evaluation, teacher: Evaluation) -> PerUser:
    if not np.array_equal(report.users, teacher.users):
        raise ValueError("two models were judged on different users, so they cannot be compared user by user")
    return report.per_user[METRIC]
