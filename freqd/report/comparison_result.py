"""What a comparison found, in types: written as ``comparison.json``, read by its report."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from freqd.evaluate.result import Protocol
from freqd.evaluate.significance import Interval
from freqd.provenance import Environment
from freqd.report.run_result_parts import BySide, Dumped, MlflowFacts, PrefectFacts, ResultPart, Series
from freqd.storage.store import ArtifactRef


class ExperimentMetadata(ResultPart):
    """Name, time and place of an experiment, with what made it: version, settings as JSON, and its runs in MLflow and Prefect."""

    freqd: str
    name: str
    created: str
    folder: str
    mlflow: MlflowFacts
    prefect: PrefectFacts
    config: Dumped
    environment: Environment


class SeedStatistics(ResultPart):
    """A metric's mean over the seeds, Student's t interval (None with one seed), and its value of each."""

    mean: float
    low: float | None
    high: float | None
    values: Series


class PairwiseTest(ResultPart):
    """NDCG@10 minus that of another method: mean over the users, interval, p-value, and the p-value after Holm."""

    mean: float
    low: float
    high: float
    p_value: float
    p_holm: float


class MethodResult(ResultPart):
    """One method at one size, or the teacher, which has nothing after its models.

    Attributes:
        seconds: mean of a training's.
        learning_rate, weight_decay: with which the models were trained, where they were.
        median_ms: to rank all items for one user, one thread.
        gap_closed: None for the no-distillation baseline.
        minus_against: None for the method that the others are tested against.
        mastery: by side and band.
    """

    method: str
    runs: int
    seeds: tuple[int, ...]
    metrics: dict[str, SeedStatistics]
    seconds: float
    dim: int
    parameters: int
    bytes: int
    median_ms: float
    models: tuple[ArtifactRef, ...]
    learning_rate: float | None = None
    weight_decay: float | None = None
    gap_closed: Interval | None = None
    minus_against: PairwiseTest | None = None
    mastery: BySide[Series] | None = None

    @property
    def ndcg(self) -> SeedStatistics:
        """NDCG@10."""
        return self.metrics["ndcg_at_10"]


class SizeTable(ResultPart):
    """All methods at one size."""

    dim: int
    rows: tuple[MethodResult, ...]


class ComparedReference(ResultPart):
    """A model of any size that was judged beside the students."""

    name: str
    parameters: int
    metrics: dict[str, float]


class ComparedData(ResultPart):
    """One data set: what it is, its teacher, models of any size beside it, and a table a size."""

    name: str
    digest: str
    split: Literal["time", "random", "given"]
    users: int
    items: int
    interactions: int
    evaluated_users: int
    skipped_users: int
    ranking_filter: BySide[str]
    edges: Series
    teacher: MethodResult
    references: tuple[ComparedReference, ...] = ()
    tables: tuple[SizeTable, ...]

    def students(self) -> Iterator[MethodResult]:
        """All of all sizes."""
        return (row for table in self.tables for row in table.rows)


class StageOfComparison(ResultPart):
    """What a stage cost, and for which student it was."""

    data: str
    stage: str
    method: str | None
    dim: int | None
    seed: int | None
    cached: bool
    seconds: float
    peak_bytes: int
    digest: str


class ComparisonResult(ExperimentMetadata):
    """The result of a comparison; ``against`` is the method that the others are tested against."""

    protocol: Protocol
    confidence: float
    bootstrap_samples: int
    seeds: tuple[int, ...]
    against: str
    data: tuple[ComparedData, ...]
    stages: tuple[StageOfComparison, ...]
