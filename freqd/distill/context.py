"""What every distillation objective may look at."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from scipy import sparse

from freqd.data.interactions import IdArray
from freqd.embeddings import Embeddings
from freqd.graph import Graphs
from freqd.spectral.filters import SideFilters
from freqd.teachers.scorer import TableScorer
from freqd.teachers.scorer_ranking import spread


@dataclass(frozen=True, eq=False)
class DistillContext:
    """The frozen surroundings of one distillation.

    Attributes:
        teacher: the teacher's features T, (n_users, D) and (n_items, D).
        ranking_teacher: the filtered teacher whose scores the ranking terms imitate; the teacher itself where no
            filter helps.
        graphs: the user graph and the item graph (and the bipartite one, if that was asked for).
        feature_filters: h(L) per side for the feature terms that name none.
        train: R, (n_users, n_items) binary CSR.
        dim: d, the student's embedding dimension.
        seed: of every random choice that an objective makes while it is built.
        device: torch device on which the terms are computed.
        trajectory: the teacher's best items at several points of its training, (points, n_users, K) int32, earliest
            first, if it kept them.
        warm: whether the student starts near the teacher. Linear projectors then start at least squares; fitted to a
            random student, they would hold it where it is.
    """

    teacher: Embeddings
    ranking_teacher: Embeddings
    graphs: Graphs
    feature_filters: SideFilters
    train: sparse.csr_array
    dim: int
    seed: int
    device: str = "cpu"
    warm: bool = True
    trajectory: IdArray | None = None

    @property
    def n_users(self) -> int:
        """Number of users."""
        return int(self.teacher.users.shape[0])

    @property
    def n_items(self) -> int:
        """Number of items."""
        return int(self.teacher.items.shape[0])

    @cached_property
    def spread(self) -> float:
        """σ, the ranking teacher's spread of scores: its unit of the temperatures and of the student's start."""
        return spread(TableScorer(self.ranking_teacher), self.train, seed=self.seed)
