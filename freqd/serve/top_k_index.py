"""Answers of a trained recommender: the best items of known users, of new users by their history, and similar items.

Everything is exact, one matrix-vector product over all items and a partial sort, unless the index was given cells of
items for the lists of one user or one history. Of equal scores the lower id is first.
"""

from __future__ import annotations

from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import sparse

from freqd.config import IndexConfig
from freqd.data.interactions import IdArray
from freqd.embeddings import Embeddings, FloatMatrix
from freqd.evaluate import faiss_index, top_k
from freqd.evaluate.faiss_index import MOST_FETCHED, MeasuredIvfIndex
from freqd.evaluate.subset import among
from freqd.scorer import Scorer
from freqd.serve.fold_in import ALPHA, REGULARIZATION, fold_in

Ids = IdArray | npt.NDArray[np.int64] | list[int] | tuple[int, ...]
"""Items or users by their rows."""
Vector = npt.NDArray[np.float32]

MIN_GROUPS = 1024
"""Groups of scores whose maxima are compared first; so many that a vector unit has its hands full."""


class Candidates(NamedTuple):
    """Items that may be recommended, ascending and checked, so that many questions can share them."""

    items: IdArray


class Ranking(NamedTuple):
    """Items, best first, and their scores; shorter than asked for where there are not enough candidates."""

    items: IdArray
    scores: Vector


class TopKIndex:
    """Retrieval over a feature table.

    Args:
        features: the recommender.
        seen: (n_users, n_items) CSR, what each user has met already and should not get again; None: nothing.
        popularity: (n_items,) how often each item was met, for the fallback; default: counted from ``seen``.
        full: the model itself where it is more than ``features``. It ranks for users it knows; strangers are folded into the
            features, and similar items are those of the features.

    Attributes:
        approximate: cells of the items; None: everything is exact. They answer ``recommend``, ``recommend_vector``
            and ``recommend_many`` unless there is a list of allowed items; similar items and popular ones are exact all the same.

    Raises:
        ValueError: shapes that do not fit together.
    """

    def __init__(
        self,
        features: Embeddings,
        seen: sparse.csr_array | None = None,
        *,
        popularity: npt.NDArray[np.int64] | None = None,
        full: Scorer | None = None,
    ) -> None:
        self.features, self.full = features, full
        self.n_users, self.n_items = len(features.users), len(features.items)
        if seen is not None and seen.shape != (self.n_users, self.n_items):
            raise ValueError(
                f"seen has shape {seen.shape}, the features have {self.n_users} users, {self.n_items} items"
            )
        self.seen = seen
        if popularity is None:
            counted = np.zeros(0, np.int32) if seen is None else seen.indices
            popularity = np.bincount(counted, minlength=self.n_items).astype(np.int64)
        if popularity.shape != (self.n_items,):
            raise ValueError(f"popularity has shape {popularity.shape}, there are {self.n_items} items")
        self.popularity = popularity
        self.approximate: MeasuredIvfIndex | None = None

    def put_into_cells(self, config: IndexConfig) -> MeasuredIvfIndex | None:
        """Take an index if the settings want one for so many items; the index, or None."""
        if faiss_index.wanted(faiss_index.settled(config), self.n_items):
            self.approximate = faiss_index.build(self.features, config)
        return self.approximate

    # -- questions --------------------------------------------------------------------------------

    def candidates(self, allow: Ids | None, deny: Ids | None) -> Candidates | None:
        """Allowed items that are not denied, to be given as ``allow`` to many questions; None means all."""
        found = self._candidates(allow, deny)
        return None if found is None else Candidates(found)

    def recommend(
        self,
        user: int,
        k: int = 10,
        *,
        exclude_seen: bool = True,
        allow: Ids | Candidates | None = None,
        deny: Ids | None = None,
    ) -> Ranking:
        """The best items of one known user; the most popular ones if the user's features are all zero.

        Args:
            user: dense id in [0, n_users).
            k: length of the list, >= 1.
            exclude_seen: leave out what the user has met.
            allow: only these items; None: all.
            deny: none of these items.

        Raises:
            ValueError: an id out of range, or k < 1.
        """
        if not 0 <= user < self.n_users:
            raise ValueError(f"user {user} is out of range: there are {self.n_users} users")
        seen: Ids | None = self._seen_of(user) if exclude_seen else None
        vector = self.features.users[user]
        if self.full is None or not vector.any():
            return self.recommend_vector(vector, k, exclude=seen, allow=allow, deny=deny)
        seen, deny = self._left_out(seen, allow, deny)
        scores = self.full.block(np.array([user], np.int32))[0]
        return self._select(scores, k, seen, self._candidates(allow, deny))

    def recommend_many(
        self, users: Ids, k: int = 10, *, exclude_seen: bool = True, allow: Ids | None = None, deny: Ids | None = None
    ) -> tuple[IdArray, FloatMatrix]:
        """The best items of many known users at once: (n, k) ids and scores, filled up with −1 and −inf.

        Users whose features are all zero get the most popular items. Arguments and errors as in ``recommend``.
        """
        rows = self._checked(users, self.n_users, "user")
        candidates = self._candidates(allow, deny)
        if k < 1:
            raise ValueError(f"k must be at least 1, got {k}")
        if candidates is not None and len(candidates) == 0:
            return np.full((len(rows), k), -1, np.int32), np.full((len(rows), k), -np.inf, np.float32)
        if candidates is None:
            items, scores = self._of_all(rows, k, exclude_seen)
        else:
            # in ascending order, so that among equal scores the lower id still comes first
            part = among(self.full or self.features, candidates)
            seen = self.seen[:, candidates].tocsr() if exclude_seen and self.seen is not None else None
            positions, scores = top_k(part, seen, k, users=rows)
            items = np.where(positions >= 0, candidates[positions], -1).astype(np.int32)
        for row in np.flatnonzero(~self.features.users[rows].any(axis=1)):
            found = self.recommend(int(rows[row]), k, exclude_seen=exclude_seen, allow=allow, deny=deny)
            items[row], scores[row] = -1, -np.inf
            items[row, : len(found.items)], scores[row, : len(found.items)] = found
        return items, scores

    def _of_all(self, rows: IdArray, k: int, exclude_seen: bool) -> tuple[IdArray, FloatMatrix]:
        """``recommend_many`` where all items may be recommended."""
        seen = self.seen if exclude_seen else None
        if self.approximate is not None and self.full is None and k <= MOST_FETCHED:
            none = sparse.csr_array((self.n_users, self.n_items), dtype=np.float32)
            return self.approximate.top_k(self.features, none if seen is None else seen, k, rows)
        return top_k(self.full or self.features, seen, k, users=rows)

    def recommend_history(
        self, history: Ids, k: int = 10, *, allow: Ids | None = None, deny: Ids | None = None
    ) -> Ranking:
        """The best items for somebody who is no known user, by the items met: folded in, then as ``recommend``.

        The items of ``history`` are left out; an empty history gets the most popular items.
        """
        return self.recommend_vector(self.fold_in(history), k, exclude=history, allow=allow, deny=deny)

    def recommend_vector(
        self,
        vector: Vector,
        k: int = 10,
        *,
        exclude: Ids | None = None,
        allow: Ids | Candidates | None = None,
        deny: Ids | None = None,
    ) -> Ranking:
        """The best items for a user's vector (d,); the most popular ones if it is all zero."""
        if not vector.any():
            return self.popular(k, exclude=exclude, allow=allow, deny=deny)
        return self._rank(vector, k, exclude, allow, deny)

    def popular(
        self,
        k: int = 10,
        *,
        exclude: Ids | None = None,
        allow: Ids | Candidates | None = None,
        deny: Ids | None = None,
    ) -> Ranking:
        """The items met most often, for users about whom nothing is known; the scores are the counts."""
        exclude, deny = self._left_out(exclude, allow, deny)
        candidates = self._candidates(allow, deny)
        return self._select(self.popularity.astype(np.float32), k, exclude, candidates)

    def similar(self, item: int, k: int = 10, *, allow: Ids | None = None, deny: Ids | None = None) -> Ranking:
        """The items whose features have the greatest cosine with those of ``item``, itself left out.

        Items whose features are all zero are similar to nothing and never listed.

        Raises:
            ValueError: an id out of range, or k < 1.
        """
        vector = self.features.items[self._checked([item], self.n_items, "item")[0]]
        norms = self._item_norms
        with np.errstate(divide="ignore", invalid="ignore"):
            cosines = (self.features.items @ vector) / (norms * np.float32(np.linalg.norm(vector)))
        cosines[np.isnan(cosines)] = -np.inf
        return self._select(cosines, k, [item], self._candidates(allow, deny))

    def fold_in(self, history: Ids, *, alpha: float = ALPHA, regularization: float = REGULARIZATION) -> Vector:
        """The vector (d,) of a new user who met the items ``history``, see ``freqd.serve.fold_in``.

        Items named twice count once; an empty history gives zeros.

        Raises:
            ValueError: an item out of range.
        """
        rows = np.unique(self._checked(history, self.n_items, "item"))
        if len(rows) == 0:
            return np.zeros(self.features.dim, np.float32)
        return fold_in(self.features.items[rows], self._gram, alpha=alpha, regularization=regularization)

    # -- details ----------------------------------------------------------------------------------

    @cached_property
    def _gram(self) -> npt.NDArray[np.float64]:
        items = self.features.items
        blocks = (items[at : at + 65_536].astype(np.float64) for at in range(0, self.n_items, 65_536))
        return sum((block.T @ block for block in blocks), np.zeros((self.features.dim, self.features.dim)))

    @cached_property
    def _item_norms(self) -> Vector:
        norms: Vector = np.linalg.norm(self.features.items, axis=1).astype(np.float32)
        return norms

    def _seen_of(self, user: int) -> IdArray | None:
        if self.seen is None:
            return None
        ids: IdArray = self.seen.indices[self.seen.indptr[user] : self.seen.indptr[user + 1]]
        return ids

    def _checked(self, ids: Ids, n: int, what: str) -> IdArray:
        array = np.asarray(ids)
        if array.ndim != 1 or (len(array) and array.dtype.kind not in "iu"):
            raise ValueError(f"{what} ids must be a list of integers")
        if len(array) and (array.min() < 0 or array.max() >= n):
            bad = array[(array < 0) | (array >= n)][0]
            raise ValueError(f"{what} {bad} is out of range: there are {n} {what}s")
        return array.astype(np.int32)

    def _candidates(self, allow: Ids | Candidates | None, deny: Ids | None) -> IdArray | None:
        """Allowed and not denied items, ascending; None means all."""
        if allow is None and deny is None:
            return None
        if isinstance(allow, Candidates):
            return allow.items if deny is None else np.setdiff1d(allow.items, self._checked(deny, self.n_items, "item"))
        allowed = (
            np.arange(self.n_items, dtype=np.int32) if allow is None else self._checked(allow, self.n_items, "item")
        )
        denied = self._checked([] if deny is None else deny, self.n_items, "item")
        return np.setdiff1d(allowed, denied)

    def _left_out(
        self, exclude: Ids | None, allow: Ids | Candidates | None, deny: Ids | None
    ) -> tuple[Ids | None, Ids | None]:
        """Where all items are allowed, those denied are left out like those met, at no cost for the others."""
        if allow is not None or deny is None:
            return exclude, deny
        both = [self._checked(ids, self.n_items, "item") for ids in (exclude, deny) if ids is not None]
        return np.concatenate(both), None

    def _rank(
        self, vector: Vector, k: int, exclude: Ids | None, allow: Ids | Candidates | None, deny: Ids | None
    ) -> Ranking:
        if self.approximate is not None and allow is None:
            found = self._among_cells(self.approximate, vector, k, exclude, deny)
            if found is not None:
                return found
        exclude, deny = self._left_out(exclude, allow, deny)
        candidates = self._candidates(allow, deny)
        if candidates is None or 4 * len(candidates) > self.n_items:
            return self._select(self.features.items @ vector, k, exclude, candidates)
        scores = np.full(self.n_items, -np.inf, np.float32)
        scores[candidates] = self.features.items[candidates] @ vector
        return self._select(scores, k, exclude, None)

    def _among_cells(
        self, cells: MeasuredIvfIndex, vector: Vector, k: int, exclude: Ids | None, deny: Ids | None
    ) -> Ranking | None:
        """The k best in the cells; None if they would have to give too many, or gave too few.

        As many more are fetched as are to be left out, so that none of these can take the place of another item.
        """
        lists = [self._checked([] if ids is None else ids, self.n_items, "item") for ids in (exclude, deny)]
        left_out = np.union1d(*lists)
        fetch = k + len(left_out)
        if k < 1 or fetch > MOST_FETCHED:
            return None
        found = cells.best(vector, min(fetch, self.n_items))
        found = found[~np.isin(found, left_out)]
        if len(found) < min(k, self.n_items - len(left_out)):
            return None
        scores = self.features.items[found] @ vector
        order = np.lexsort((found, -scores))[:k]
        return Ranking(found[order], scores[order])

    def _select(self, scores: Vector, k: int, exclude: Ids | None, candidates: IdArray | None) -> Ranking:
        """The k greatest of ``scores``, which may be overwritten; −inf marks what is no candidate."""
        if k < 1:
            raise ValueError(f"k must be at least 1, got {k}")
        if candidates is not None:
            kept = np.full_like(scores, -np.inf)
            kept[candidates] = scores[candidates]
            scores = kept
        if exclude is not None and len(exclude):
            scores[self._checked(exclude, self.n_items, "item")] = -np.inf
        chosen = _above_group_maxima(scores, k)
        if k < len(chosen):
            among = scores[chosen]
            threshold = np.partition(among, len(among) - k)[len(among) - k]
            above = chosen[among > threshold]
            equal = chosen[among == threshold][: k - len(above)]
            chosen = np.concatenate([above, equal])
        chosen = chosen[scores[chosen] > -np.inf]
        chosen = chosen[np.lexsort((chosen, -scores[chosen]))]
        return Ranking(chosen.astype(np.int32), scores[chosen])


def _above_group_maxima(scores: Vector, k: int) -> npt.NDArray[np.intp]:
    """Positions, ascending, that hold all of the k greatest scores: few of many, found without a partial sort of all.

    Of groups of positions, k have a maximum of at least the k-th greatest maximum; so the k-th greatest score is no
    less than that, and nothing below it is wanted.
    """
    groups = max(MIN_GROUPS, 2 * k)
    rows = len(scores) // groups
    if rows < 2:
        return np.arange(len(scores))
    maxima = scores[: rows * groups].reshape(rows, groups).max(axis=0)
    return np.flatnonzero(scores >= np.partition(maxima, groups - k)[groups - k])
