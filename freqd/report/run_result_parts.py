"""Parts of a run's result, in types; ``freqd.report.run_result`` puts them together.

A field with a default is one that a part may lack.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, WithJsonSchema

from freqd.evaluate.significance import Difference, Interval
from freqd.json_types import JsonObject
from freqd.spectral.filters import Filter, SideFilters

ModelName = Literal["teacher", "scratch", "svd", "student"]
Side = Literal["user", "item"]
Use = Literal["feature", "ranking"]
Series = tuple[FiniteFloat, ...]
Dumped = Annotated[JsonObject, WithJsonSchema({"additionalProperties": True, "type": "object"})]
"""All settings of a run, as JSON."""
Part = TypeVar("Part")


class ResultPart(BaseModel):
    """A part of the result, which never changes; an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def as_json(self) -> JsonObject:
        """As JSON; optional facts that were not given are left out."""
        return self.model_dump(mode="json", exclude_unset=True)


class OpenResultPart(BaseModel):
    """A part that may hold more than what is named here, for who reads the file."""

    model_config = ConfigDict(frozen=True, extra="allow")


class ByModel(ResultPart, Generic[Part]):
    """One entry a model; a run without baselines has neither ``scratch`` (the no-distillation baseline) nor ``svd``."""

    teacher: Part
    scratch: Part | None = None
    svd: Part | None = None
    student: Part

    def of(self, name: ModelName) -> Part | None:
        """That of one model; None if the run did not have it."""
        found: Part | None = getattr(self, name)
        return found

    def items(self) -> Iterator[tuple[str, Part]]:
        """Name and entry of every model that the run had."""
        return ((name, found) for name, found in self if found is not None)


class BySide(ResultPart, Generic[Part]):
    """One entry a side."""

    user: Part
    item: Part

    def of(self, side: Side) -> Part:
        """That of one side."""
        found: Part = getattr(self, side)
        return found


class Evaluated(ResultPart):
    """Test users in the means, those without a test item, and those whom the sample left out.

    Attributes:
        ndcg_at_10: the student's, with its interval over the test users.
    """

    users: int
    skipped: int
    not_drawn: int = 0
    ndcg_at_10: Interval | None = None


class ModelFacts(ResultPart):
    """Size and speed of a model.

    Attributes:
        parameters: numbers kept for all users and items.
        dim: embedding dimension.
        valid_ndcg_at_10: None for one that was not validated.
        median_ms, p95_ms: to rank all items for one user, one thread.
        low_ms, high_ms: lowest and highest median of a repetition; None where there was one only.
    """

    parameters: int
    bytes: int
    dim: int
    valid_ndcg_at_10: float | None
    median_ms: float
    p95_ms: float
    low_ms: float | None = None
    high_ms: float | None = None

    @property
    def range_ms(self) -> tuple[float, float]:
        """In what range repetitions of the measurement lie; the median alone where there was one only."""
        low, high = self.low_ms, self.high_ms
        return self.median_ms if low is None else low, self.median_ms if high is None else high


class ReferenceResult(ResultPart):
    """A model that was judged beside teacher, student and no-distillation baseline.

    Attributes:
        name: popular, item-knn, ease; als, bpr, softmax of the student's size, but for the one that is the no-distillation baseline;
            filtered_svd; of an earlier run also scratch and svd.
        same_size: whether it is as large as the student.
        parameters: numbers that it keeps.
        valid_ndcg_at_10: None for one that was not validated.
        metrics: on the test split, by name.
        student_minus: the student's lead in NDCG@10, paired over the test users; None for one of an earlier run.
    """

    name: str
    same_size: bool
    parameters: int
    valid_ndcg_at_10: float | None
    metrics: dict[str, FiniteFloat]
    student_minus: Difference | None = None


class References(ResultPart):
    """Models that were judged beside those of the run; of an earlier run, if it says which one and when that was."""

    models: tuple[ReferenceResult, ...] = ()
    run: str | None = None
    created: str | None = None


class ActivityGroup(OpenResultPart):
    """Users of about the same activity; every metric a user has is in it by name."""

    group: str
    train_interactions: tuple[int, int]
    users: int
    ndcg_at_10: FiniteFloat
    recall_at_10: FiniteFloat


class PopularityGroup(OpenResultPart):
    """Items of about the same popularity; the recall is None without targets."""

    group: str
    items: int
    targets: int
    recall_at_10: FiniteFloat | None
    share_of_recommendations: FiniteFloat


class Groups(ResultPart):
    """Who gains and who loses: users by activity, items by popularity."""

    activity: tuple[ActivityGroup, ...]
    popularity: tuple[PopularityGroup, ...]


class ChosenFilter(Filter):
    """A filter of the distillation; ``named`` (``label`` in the file) is its short text."""

    model_config = ConfigDict(serialize_by_alias=True)

    named: str = Field(alias="label")

    @classmethod
    def both(cls, filters: SideFilters) -> BySide[ChosenFilter]:
        """Those of both sides."""
        user, item = (cls(**chosen.model_dump(), label=chosen.label()) for chosen in (filters.user, filters.item))
        return BySide(user=user, item=item)


class Filters(ResultPart):
    """Of the feature loss, None where there is none, and of the ranking loss."""

    feature: BySide[ChosenFilter] | None = None
    ranking: BySide[ChosenFilter]

    def used(self) -> dict[Use, BySide[ChosenFilter]]:
        """Those of the losses that there are."""
        feature: dict[Use, BySide[ChosenFilter]] = {} if self.feature is None else {"feature": self.feature}
        return {**feature, "ranking": self.ranking}


class FilterTrial(ResultPart):
    """A filter that was measured.

    Attributes:
        side: the side that was varied.
        weights: one a band, if it was fitted to them.
        other: label of the other side's filter.
        ndcg: NDCG@10 of the filtered teacher on validation.
    """

    side: Side
    form: str
    alpha: float
    weights: Series
    other: str
    ndcg: FiniteFloat


class SideFacts(ResultPart):
    """One side's bands, from low to high frequency; one value a band.

    Attributes:
        energy: share of the teacher's energy.
        density: share of the graph's eigenvalues.
        importance_only, importance_without: validation NDCG@10 of the teacher with only that band, and without it.
        mastery: by student; how much of the teacher's features there can be read off the student's.
    """

    energy: Series
    density: Series
    importance_only: Series
    importance_without: Series
    mastery: dict[ModelName, Series]


class SpectrumFacts(ResultPart):
    """The teacher by graph frequency.

    Attributes:
        edges: (bands + 1,) on [0, 2], of both sides.
        base_ndcg: validation NDCG@10 of the teacher's features as they are.
        whole_ndcg: that of the teacher itself, where it is more than its features; filtered it had to beat that.
        filters: of the feature loss and of the ranking loss.
        reason: why these filters.
    """

    edges: Series
    method: BySide[Literal["exact", "chebyshev"]]
    base_ndcg: FiniteFloat
    filters: Filters
    trials: tuple[FilterTrial, ...]
    reason: str
    user: SideFacts
    item: SideFacts
    whole_ndcg: FiniteFloat | None = None

    def of(self, side: Side) -> SideFacts:
        """The bands of one side."""
        return self.user if side == "user" else self.item


class Validated(OpenResultPart):
    """One validation during a training; the student's mastery by band where it was measured."""

    epoch: int
    seconds: float
    valid_ndcg_at_10: float
    mastery_user: Series = ()
    mastery_item: Series = ()

    def mastery(self, side: Side) -> Series:
        """One value a band; empty if it was not measured."""
        return self.mastery_user if side == "user" else self.mastery_item


class TeacherTrial(OpenResultPart):
    """One setting of a search; a kind of model without one of these settings leaves it out."""

    kind: str | None = None
    factors: int | None = None
    regularization: float | None = None
    alpha: float | None = None
    weight_decay: float | None = None
    learning_rate: float | None = None
    valid_ndcg_at_10: float | None
    seconds: float


class TrainingInfo(OpenResultPart):
    """How a model came to be: what its training recorded."""

    kind: str | None = None
    best_epoch: int | None = None
    trials: tuple[TeacherTrial, ...] = ()


class Training(ResultPart):
    """A model's validations, and how it came to be."""

    history: tuple[Validated, ...]
    info: TrainingInfo


class StageCost(ResultPart):
    """What a stage took when it was computed, and the digest of what it made."""

    name: str
    seconds: float
    peak_bytes: int
    cached: bool
    digest: str


class MlflowFacts(ResultPart):
    """Where MLflow has the run; ``address`` is that of its page, empty where MLflow was a file and not a server."""

    run_id: str
    experiment_id: str
    tracking_uri: str
    address: str = ""


class PrefectFacts(ResultPart):
    """Where Prefect has the run; ``address`` is that of its page, empty where the server lived only as long as the run."""

    flow_run_id: str
    address: str = ""


class RegisteredModel(ResultPart):
    """The student in the registry."""

    name: str
    version: str
    aliases: tuple[str, ...]
