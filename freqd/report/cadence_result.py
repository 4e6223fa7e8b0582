"""How fast a model ages and how often to retrain, in types: written as ``cadence.json``, read by its report."""

from __future__ import annotations

from typing import Literal

from freqd.evaluate.significance import Difference
from freqd.report.comparison_result import ExperimentMetadata
from freqd.report.run_result_parts import ResultPart

Kind = Literal["full", "re-distilled"]


class TimelineFacts(ResultPart):
    """All interactions, and their first and last day."""

    name: str
    users: int
    items: int
    interactions: int
    first: str
    last: str


class WindowFacts(ResultPart):
    """A window from its first day to its last; models judged on it are ``as_of`` the day before."""

    first: str
    last: str
    as_of: str


class AgedModel(ResultPart):
    """A model that was made.

    Attributes:
        teacher_start, student_start: what they went on from; None if from scratch.
        why: re-distillation started from scratch, if it did.
        seconds: by stage, and ``all``.
    """

    as_of: str
    kind: Kind
    users: int
    items: int
    teacher_start: str | None
    student_start: str | None
    why: str
    seconds: dict[str, float]
    valid_ndcg_at_10: float | None


class JudgedOnWindow(ResultPart):
    """A model on a window; counts as ``freqd.cadence.Judged`` has them. Metrics are None where nobody could be judged."""

    as_of: str
    kind: Kind
    first: str
    last: str
    age: int
    ndcg_at_10: float | None
    recall_at_10: float | None
    judged_users: int
    judged_known_users: int
    judged_pairs: int
    users: int
    items: int
    pairs: int
    unknown_users: int
    unknown_items: int
    unknown_user_pairs: int
    unknown_item_pairs: int


class AgainstFresh(ResultPart):
    """Fresh models against others, pooled over windows: NDCG@10 of both, and the loss with its interval."""

    windows: int
    users: int
    fresh: float
    other: float
    loss: Difference


class Age(ResultPart):
    """One age.

    Attributes:
        age: in windows; ``days`` the same in days.
        users, fresh, aged, loss: of the users that were judged; None if there were none, and at age 0.
        of_known: of those users alone that the aged model knows.
        unknown_users, unknown_items, unknown_user_pairs, unknown_item_pairs: shares of what is in the windows.
        every_days: days between two retrainings that let no model get older than this.
        mean_loss: over the life of a model that is replaced then.
        seconds_a_year: what that costs, by kind of retraining.
    """

    age: int
    days: int
    windows: int
    users: int | None
    fresh: float | None
    aged: float | None
    loss: Difference | None
    of_known: AgainstFresh | None
    decayed: bool
    judged_users: int
    judged_known_users: int
    unknown_users: float | None
    unknown_items: float | None
    unknown_user_pairs: float | None
    unknown_item_pairs: float | None
    every_days: int
    mean_loss: float | None
    seconds_a_year: dict[Kind, float | None]


class RefitReplay(ResultPart):
    """Refitted students on the windows right after them; ``fresh`` is the refit, and ``loss`` what the other one has less.

    Attributes:
        judged: the same students as they were judged.
        als: ALS of their size, chosen on validation and fitted to all interactions.
        refused: windows whose refit was refused, which are in neither.
        seconds: mean of a refit.
    """

    judged: AgainstFresh | None
    als: AgainstFresh | None
    refused: int
    seconds: float


class Recommendation(ResultPart):
    """How often to retrain and by which way; as ``freqd.cadence.Advice``, with the interval in days."""

    every: int | None
    every_days: int | None
    decayed_at: int | None
    undetected: float | None
    kind: Kind
    why: Literal["", "worse", "costlier", "unknown"]


class StageOfCadence(ResultPart):
    """What a stage cost, and for which model it was."""

    stage: str
    kind: str
    as_of: str | None
    cached: bool
    seconds: float
    peak_bytes: int
    digest: str


class CadenceResult(ExperimentMetadata):
    """The result of a cadence; ``seconds`` are those of one retraining by kind, None where there was none to measure."""

    data: TimelineFacts
    period_days: int
    margin: float
    confidence: float
    bootstrap_samples: int
    windows: tuple[WindowFacts, ...]
    models: tuple[AgedModel, ...]
    judged: tuple[JudgedOnWindow, ...]
    ages: tuple[Age, ...]
    redistilled: AgainstFresh | None
    seconds: dict[Kind, float | None]
    advice: Recommendation
    stages: tuple[StageOfCadence, ...]
    refit: RefitReplay | None = None

    def loss_at(self, age: int) -> float | None:
        """Mean loss at an age in windows; None if it is not known."""
        return next((row.loss.mean for row in self.ages if row.age == age and row.loss), None)
