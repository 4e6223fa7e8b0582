"""What every distillation objective may look at."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from scipy import sparse

from freqd.config import BY_SIZE, IndexConfig
from freqd.data.interactions import IdArray
from freqd.embeddings import Embeddings
from freqd.engine import HERE, Engine
from freqd.evaluate import faiss_index
from freqd.evaluate.faiss_index import MeasuredIvfIndex
from freqd.evaluate.spread import spread
from freqd.graph import Graphs, no_graphs
from freqd.scorer import Scorer
from freqd.spectral.filters import SideFilters


@dataclass(frozen=True, eq=False)
class DistillContext:
    """The frozen surroundings of one distillation.

    Attributes:
        teacher: the teacher's features T, (n_users, D) and (n_items, D); of one that is no table, a table that comes near it.
        raw_teacher: what gives the teacher's scores.
        ranking_teacher: what gives those that the ranking terms imitate: the filtered teacher, or the raw one where no filter helps.
        ranking_table: the filtered features; they are the ranking teacher, or come near it.
        graphs: the user graph and the item graph (and the bipartite one, if that was asked for).
        feature_filters: h(L) per side for the feature terms that name none.
        train: R, (n_users, n_items) binary CSR.
        dim: d, the student's embedding dimension.
        seed: of every random choice that an objective makes while it is built.
        device: torch device on which the terms are computed.
        trajectory: the teacher's best items at several points of its training, (points, n_users, K) int32, earliest
            first, if it kept them.
        engine: ranks blocks of users.
        index: how the best of many items are found.
        share: of all users, which the context is of.
        warm: whether the student starts near the teacher. Linear projectors then start at least squares; fitted to a
            random student, they would hold it where it is.
    """

    teacher: Embeddings
    raw_teacher: Scorer
    ranking_teacher: Scorer
    ranking_table: Embeddings
    graphs: Graphs
    feature_filters: SideFilters
    train: sparse.csr_array
    dim: int
    seed: int
    device: str = "cpu"
    warm: bool = True
    trajectory: IdArray | None = None
    engine: Engine = HERE
    index: IndexConfig = BY_SIZE
    share: float = 1.0

    @cached_property
    def users(self) -> IdArray:
        """All users, ascending."""
        return np.arange(self.n_users, dtype=np.int32)

    @property
    def n_users(self) -> int:
        """Number of users."""
        return int(self.teacher.users.shape[0])

    @property
    def n_items(self) -> int:
        """Number of items."""
        return int(self.teacher.items.shape[0])

    def of_users(self, users: IdArray) -> DistillContext:
        """The same for some users alone, who are numbered from 0, without graphs; temperatures keep their unit."""
        cut: dict[int, Any] = {}  # what is one object here is one there

        def of(scorer: Any) -> Any:
            if id(scorer) not in cut:
                cut[id(scorer)] = scorer.of_users(users)
            return cut[id(scorer)]

        part = replace(
            self,
            teacher=of(self.teacher),
            raw_teacher=of(self.raw_teacher),
            ranking_teacher=of(self.ranking_teacher),
            ranking_table=of(self.ranking_table),
            graphs=no_graphs(len(users), self.n_items),
            train=self.train[users],
            trajectory=None if self.trajectory is None else self.trajectory[:, users],
            engine=HERE,
            share=self.share * len(users) / max(self.n_users, 1),
        )
        vars(part)["spread"] = self.spread
        vars(part)["_cells"] = dict(self._cells)
        return part

    def teacher_cells(self, filtered: bool) -> MeasuredIvfIndex | None:
        """The items of the filtered teacher, or of the raw one, in cells, if it is a table of so many; for all users the same."""
        if filtered not in self._cells:
            teacher = self.ranking_teacher if filtered else self.raw_teacher
            many = isinstance(teacher, Embeddings) and faiss_index.wanted(self.index, teacher.n_items)
            self._cells[filtered] = faiss_index.build(teacher, self.index, seed=self.seed) if many else None  # type: ignore[arg-type]
        return self._cells[filtered]

    @cached_property
    def _cells(self) -> dict[bool, MeasuredIvfIndex | None]:
        return {}

    @cached_property
    def spread(self) -> float:
        """σ, the ranking teacher's spread of scores: its unit of the temperatures and of the student's start."""
        return spread(self.ranking_teacher, self.train, seed=self.seed)
