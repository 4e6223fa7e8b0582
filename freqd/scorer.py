"""What ranks: whatever gives scores of items for a block of users.

Tables whose inner products are the scores are one kind (``freqd.embeddings.Embeddings``); item-item models and lists from
outside are others, and weighted sums of them all. Evaluation, validation and ranking objectives ask nothing else of a model.

Nothing of users x items is ever held: the scores of ``USERS_A_BLOCK`` users at a time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from scipy import sparse

from freqd.numerics import threads
from freqd.numerics.item_rows import add_dense_rows, add_listed, add_listed_rows, add_rows
from freqd.numerics.listed_scores import NO_ITEM, ROWS_A_BLOCK

IdArray = npt.NDArray[np.int32]
FloatMatrix = npt.NDArray[np.float32]
Arrays = dict[str, npt.NDArray[Any]]
"""A scorer as it is kept, by name; ``freqd.embeddings.scorer_of`` makes it again."""

USERS_A_BLOCK = 128
"""Users that a thread scores at a time."""


class Scores(Protocol):
    """Scores of all items for some users; safe to be asked by several threads at once."""

    @property
    def n_users(self) -> int:
        """Number of users."""
        ...

    @property
    def n_items(self) -> int:
        """Number of items."""
        ...

    def block(self, users: IdArray) -> FloatMatrix:
        """Scores of all items for some users, (b, n_items) float32, the caller's to change; −inf: never recommended."""
        ...


class Scorer(Scores, Protocol):
    """A model: scores of all items, of given ones, and what it is made of."""

    def add_block(self, users: IdArray, factor: np.float32, total: FloatMatrix) -> None:
        """Add ``factor`` times the scores of ``block`` to ``total``, (b, n_items)."""
        ...

    def listed(self, users: IdArray, lists: IdArray) -> FloatMatrix:
        """Scores of given items: row i of ``lists`` (b, L) for user i of ``users``; ``NO_ITEM`` scores 0."""
        ...

    def of_users(self, users: IdArray) -> Scorer:
        """The same for some users alone, who are numbered from 0."""
        ...

    @property
    def n_parameters(self) -> int:
        """Numbers that the scores are made of."""
        ...

    @property
    def n_bytes(self) -> int:
        """Bytes in memory."""
        ...

    def arrays(self) -> Arrays:
        """Everything that it is."""
        ...


@dataclass(frozen=True, eq=False)
class ItemScorer:
    """R W: the weights of a user's items, added up.

    Attributes:
        train: R, (n_users, n_items) CSR; only the pattern counts.
        weights: W, (n_items, n_items) float32, CSR or dense; ``weights[i, j]`` is what having i says for j.
    """

    train: sparse.csr_array
    weights: sparse.csr_array | FloatMatrix

    @property
    def n_users(self) -> int:
        """Number of users."""
        return int(self.train.shape[0])

    @property
    def n_items(self) -> int:
        """Number of items."""
        return int(self.train.shape[1])

    def block(self, users: IdArray) -> FloatMatrix:
        """As ``Scorer``; O(rows of W that are added)."""
        scores = np.zeros((len(users), self.n_items), np.float32)
        self.add_block(users, np.float32(1), scores)
        return scores

    def add_block(self, users: IdArray, factor: np.float32, total: FloatMatrix) -> None:
        """As ``Scorer``."""
        pattern = self.train.indptr, self.train.indices
        if isinstance(self.weights, np.ndarray):
            add_dense_rows(users, *pattern, self.weights, factor, total)
        else:
            kept = self.weights
            add_rows(users, *pattern, kept.indptr, kept.indices, kept.data, factor, total)

    def listed(self, users: IdArray, lists: IdArray) -> FloatMatrix:
        """As ``Scorer``; of sparse weights all those of the user's items are looked at, of dense ones the listed items'."""
        scores = np.zeros(lists.shape, np.float32)

        def fill(rows: slice) -> None:
            asked = users[rows], self.train.indptr, self.train.indices
            if isinstance(self.weights, np.ndarray):
                add_listed(*asked, self.weights, lists[rows], scores[rows])
            else:
                kept, place = self.weights, np.full(self.n_items, -1, np.int32)
                add_listed_rows(*asked, kept.indptr, kept.indices, kept.data, lists[rows], place, scores[rows])

        threads.run(fill, threads.blocks_of(len(users), ROWS_A_BLOCK))
        return scores

    def of_users(self, users: IdArray) -> ItemScorer:
        """As ``Scorer``."""
        return ItemScorer(self.train[users], self.weights)

    @property
    def n_parameters(self) -> int:
        """Weights that are kept."""
        return int(self.weights.size)

    @property
    def n_bytes(self) -> int:
        """Bytes of the weights and of the interactions."""
        return _bytes(self)

    def arrays(self) -> Arrays:
        """As ``Scorer``."""
        found: Arrays = {"train_starts": self.train.indptr, "train_items": self.train.indices}
        if isinstance(self.weights, np.ndarray):
            return found | {"weights": self.weights}
        kept = self.weights
        return found | {"weights": kept.data, "weight_starts": kept.indptr, "weight_items": kept.indices}

    @classmethod
    def of(cls, arrays: Mapping[str, npt.NDArray[Any]]) -> ItemScorer:
        """From what ``arrays`` gave."""
        weights: sparse.csr_array | FloatMatrix = arrays["weights"]
        starts, items = arrays["train_starts"], arrays["train_items"]
        if "weight_starts" in arrays:
            n_items = len(arrays["weight_starts"]) - 1
            kept = (weights, arrays["weight_items"], arrays["weight_starts"])
            weights = sparse.csr_array(kept, shape=(n_items, n_items))
        pattern = (np.ones(len(items), np.float32), items, starts)
        return cls(sparse.csr_array(pattern, shape=(len(starts) - 1, weights.shape[0])), weights)


@dataclass(frozen=True, eq=False)
class SumScorer:
    """Σ_k weight_k · scores_k / spread_k.

    An item that any of them never recommends is not recommended.

    Attributes:
        scorers: of the same users and items.
        weights: (k,) each above 0.
        spreads: (k,) of each one's scores; see ``freqd.evaluate.spread``.
    """

    scorers: tuple[Scorer, ...]
    weights: tuple[float, ...]
    spreads: tuple[float, ...]

    def __post_init__(self) -> None:
        if not len(self.scorers) == len(self.weights) == len(self.spreads) > 0:
            raise ValueError(f"{len(self.scorers)} scorers, {len(self.weights)} weights, {len(self.spreads)} spreads")
        if min(self.weights) <= 0 or min(self.spreads) <= 0:
            raise ValueError(f"weights and spreads must be above 0, got {self.weights} and {self.spreads}")
        sizes = {(scorer.n_users, scorer.n_items) for scorer in self.scorers}
        if len(sizes) > 1:
            raise ValueError(f"the scorers are of different users and items: {sorted(sizes)}")

    @property
    def n_users(self) -> int:
        """Number of users."""
        return self.scorers[0].n_users

    @property
    def n_items(self) -> int:
        """Number of items."""
        return self.scorers[0].n_items

    @property
    def factors(self) -> list[np.float32]:
        """weight / spread of each."""
        return [np.float32(weight / spread) for weight, spread in zip(self.weights, self.spreads, strict=True)]

    def block(self, users: IdArray) -> FloatMatrix:
        """As ``Scorer``."""
        first, *others = zip(self.scorers, self.factors, strict=True)
        total = first[0].block(users)
        if first[1] != 1.0:
            total *= first[1]
        for scorer, factor in others:
            scorer.add_block(users, factor, total)
        return total

    def add_block(self, users: IdArray, factor: np.float32, total: FloatMatrix) -> None:
        """As ``Scorer``."""
        for scorer, own in zip(self.scorers, self.factors, strict=True):
            scorer.add_block(users, own * factor, total)

    def listed(self, users: IdArray, lists: IdArray) -> FloatMatrix:
        """As ``Scorer``."""
        total = np.zeros(lists.shape, np.float32)
        for scorer, factor in zip(self.scorers, self.factors, strict=True):
            total += scorer.listed(users, lists) * factor
        return total

    def of_users(self, users: IdArray) -> SumScorer:
        """As ``Scorer``."""
        return replace(self, scorers=tuple(scorer.of_users(users) for scorer in self.scorers))

    @property
    def n_parameters(self) -> int:
        """Of all that are added."""
        return sum(scorer.n_parameters for scorer in self.scorers)

    @property
    def n_bytes(self) -> int:
        """Of all that are added."""
        return sum(scorer.n_bytes for scorer in self.scorers)

    def arrays(self) -> Arrays:
        """As ``Scorer``; those of the n-th one have ``n/`` before their names."""
        found: Arrays = {"shares": np.array(self.weights), "spreads": np.array(self.spreads)}
        for number, scorer in enumerate(self.scorers):
            found |= {f"{number}/{name}": array for name, array in scorer.arrays().items()}
        return found


@dataclass(frozen=True, eq=False)
class ListScorer:
    """Lists with scores that some other model gave; an item that is not in a user's list is never recommended.

    Attributes:
        lists: (n_users, L) int32; ``NO_ITEM`` where a list has ended, no item twice in a list.
        scores: (n_users, L) float32, finite.
        n_items: number of items.
    """

    lists: IdArray
    scores: FloatMatrix
    n_items: int

    def __post_init__(self) -> None:
        if self.lists.shape != self.scores.shape:
            raise ValueError(f"lists have shape {self.lists.shape}, scores {self.scores.shape}")
        if self.lists.size and not NO_ITEM <= self.lists.min() <= self.lists.max() < self.n_items:
            raise ValueError(f"items must lie in [0, {self.n_items}), got {self.lists.min()} to {self.lists.max()}")
        if not np.isfinite(self.scores[self.lists >= 0]).all():
            raise ValueError("a score is not finite")
        ordered = np.sort(self.lists, axis=1)
        if ((ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] >= 0)).any():
            raise ValueError("a list holds an item twice")

    @property
    def n_users(self) -> int:
        """Number of users."""
        return len(self.lists)

    def block(self, users: IdArray) -> FloatMatrix:
        """As ``Scorer``."""
        scores = np.full((len(users), self.n_items), -np.inf, np.float32)
        row, place = np.nonzero(self.lists[users] >= 0)
        scores[row, self.lists[users][row, place]] = self.scores[users][row, place]
        return scores

    def add_block(self, users: IdArray, factor: np.float32, total: FloatMatrix) -> None:
        """As ``Scorer``."""
        total += self.block(users) * factor

    def listed(self, users: IdArray, lists: IdArray) -> FloatMatrix:
        """As ``Scorer``."""
        return _taken_in_blocks(self, users, lists)

    def of_users(self, users: IdArray) -> ListScorer:
        """As ``Scorer``."""
        return ListScorer(self.lists[users], self.scores[users], self.n_items)

    @property
    def n_parameters(self) -> int:
        """Items that are listed."""
        return int((self.lists >= 0).sum())

    @property
    def n_bytes(self) -> int:
        """Bytes of lists and scores."""
        return _bytes(self)

    def arrays(self) -> Arrays:
        """As ``Scorer``."""
        return {"lists": self.lists, "scores": self.scores, "n_items": np.array([self.n_items])}

    @classmethod
    def of(cls, arrays: Mapping[str, npt.NDArray[Any]]) -> ListScorer:
        """From what ``arrays`` gave."""
        return cls(arrays["lists"], arrays["scores"], int(arrays["n_items"][0]))


def _bytes(scorer: Scorer) -> int:
    """Bytes of all arrays."""
    return sum(array.nbytes for array in scorer.arrays().values())


def _taken_in_blocks(scorer: Scorer, users: IdArray, lists: IdArray) -> FloatMatrix:
    """``Scorer.listed`` by way of whole blocks of scores."""
    taken = np.zeros(lists.shape, np.float32)

    def fill(rows: slice) -> None:
        found = np.take_along_axis(scorer.block(users[rows]), np.maximum(lists[rows], 0).astype(np.int64), axis=1)
        taken[rows] = np.where(lists[rows] >= 0, found, 0)

    threads.run(fill, threads.blocks_of(len(users), USERS_A_BLOCK))
    return taken
