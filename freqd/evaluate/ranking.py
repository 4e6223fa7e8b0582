"""Full ranking: the k best items of every user, exactly, without a matrix of all scores.

Of tables a block of users meets a tile of items in one matrix product that stays in the processor's cache; a compiled scan
then compares the tile with each user's k-th best score so far and touches memory only where an item beats it. Other models
are asked for the scores of a few users at a time.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from freqd.data.interactions import IdArray
from freqd.embeddings import Embeddings, FloatMatrix
from freqd.numerics import threads
from freqd.numerics.jit import kernel
from freqd.scorer import Scores

USER_BLOCK = 512
"""Users a block: enough that re-packing the items for every block costs little beside the product."""

ITEM_TILE = 512
"""Items a tile: with ``USER_BLOCK`` users 1 MiB of scores, which stays in the second-level cache."""

SCORES_AT_ONCE = 1 << 24
"""Scores that a thread holds of a model that is no table: 64 MiB, of all items for up to ``USER_BLOCK`` users."""

SCAN = 64
"""Scores that are compared with the threshold at a time, in vector registers."""

IntVector = npt.NDArray[np.integer]

_FLOAT32_MAX = float(np.finfo(np.float32).max)


def top_k(
    scorer: Scores,
    seen: sparse.csr_array | None,
    k: int,
    *,
    users: IdArray | None = None,
    hint: IdArray | None = None,
) -> tuple[IdArray, FloatMatrix]:
    """The ``k`` best items of each user, best first; among equal scores the lower item id comes first.

    Exact and deterministic: the same for any number of threads. Of tables the time is that of the matrix product
    (2 · n · n_items · d operations) and a scan of its result; memory about 1 MiB a thread beyond the result. Of other scorers
    it is that of the scores of all items, and memory ``SCORES_AT_ONCE`` of them a thread.

    Args:
        scorer: the recommender; tables are one.
        seen: (n_users, n_items) CSR; stored entries are never recommended. None masks nothing.
        k: length of the lists, at least 1; it may exceed the number of items.
        users: (n,) the users to rank for, in any order; all by default.
        hint: (n, k) lists that an earlier call gave for the same users, ``seen`` and k under other features. It
            changes nothing but the time: the lowest present score of a full list is a floor that the k best reach.
            Only tables make use of it.

    Returns:
        items (n, k) int32 and scores (n, k) float32; −1 and −inf where a user has fewer than k candidates.

    Raises:
        ValueError: k < 1, shapes that differ, a user out of range, a hint that no
            earlier call gave, or a feature or score that is not finite.
    """
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    if seen is not None and seen.shape != (scorer.n_users, scorer.n_items):
        raise ValueError(
            f"seen has shape {seen.shape}, the features have {scorer.n_users} users and {scorer.n_items} items"
        )
    if isinstance(scorer, Embeddings):
        return _best_of_tables(scorer, seen, k, users, hint)
    return _best_of_blocks(scorer, seen, k, _chosen(users, scorer.n_users))


def _best_of_blocks(
    scorer: Scores, seen: sparse.csr_array | None, k: int, chosen: IdArray
) -> tuple[IdArray, FloatMatrix]:
    """``top_k`` by the scores of all items for a few users at a time."""
    indptr, indices = _sorted_rows(seen, scorer.n_users)
    items = np.full((len(chosen), k), -1, np.int32)
    best = np.full((len(chosen), k), -np.inf, np.float32)

    def rank(rows: slice) -> None:
        scores = scorer.block(chosen[rows])
        if not (scores < np.inf).all():
            raise ValueError("a score is NaN or infinite")
        starts, ends = indptr[chosen[rows]].astype(np.int64), indptr[chosen[rows] + 1].astype(np.int64)
        _scan_tile(scores, 0, indices, starts, ends, items[rows], best[rows])
        _sort_heaps(items[rows], best[rows])

    size = min(max(SCORES_AT_ONCE // max(scorer.n_items, 1), 1), USER_BLOCK)
    with threads.one_blas_thread():
        threads.run(rank, threads.blocks_of(len(chosen), size))
    return items, best


def _best_of_tables(
    features: Embeddings, seen: sparse.csr_array | None, k: int, users: IdArray | None, hint: IdArray | None
) -> tuple[IdArray, FloatMatrix]:
    """``top_k`` by products of tiles."""
    n_users, n_items = features.n_users, features.n_items
    chosen = _chosen(users, n_users)
    user_features = features.users if users is None else features.users[chosen]
    unsafe = may_overflow(*finite_norms(user_features, chosen, features.items))
    indptr, indices = _sorted_rows(seen, n_users)
    width = min(k, n_items)
    if hint is not None and hint.shape != (len(chosen), k):
        raise ValueError(f"hint has shape {hint.shape}, expected {(len(chosen), k)}")
    items = np.full((len(chosen), k), -1, np.int32)
    scores = np.full((len(chosen), k), -np.inf, np.float32)

    def rank_block(block: slice) -> None:
        size = block.stop - block.start
        heap_items = np.full((size, width), -1, np.int32)
        heap_scores = np.full((size, width), -np.inf, np.float32)
        if hint is not None and k <= n_items:
            _set_floor(user_features[block], features.items, hint[block], heap_scores)
        cursor = indptr[chosen[block]].astype(np.int64)
        seen_end = indptr[chosen[block] + 1].astype(np.int64)
        buffer = np.empty(size * ITEM_TILE, np.float32)
        for first in range(0, n_items, ITEM_TILE):
            tile_items = features.items[first : first + ITEM_TILE]
            tile = buffer[: size * len(tile_items)].reshape(size, len(tile_items))
            with np.errstate(over="ignore", invalid="ignore"):  # looked for below
                np.matmul(user_features[block], tile_items.T, out=tile)
            if unsafe and not np.isfinite(tile).all():
                raise ValueError("scores are not finite: the features are too large for float32 inner products")
            _scan_tile(tile, first, indices, cursor, seen_end, heap_items, heap_scores)
        if hint is not None and (heap_items[heap_scores > -np.inf] < 0).any():
            raise ValueError("hint holds seen or repeated items")
        _sort_heaps(heap_items, heap_scores)
        items[block, :width] = heap_items
        scores[block, :width] = heap_scores

    with threads.one_blas_thread():
        threads.run(rank_block, threads.blocks_of(len(chosen), USER_BLOCK))
    return items, scores


def _chosen(users: IdArray | None, n_users: int) -> IdArray:
    """The users to rank for; all where none are named."""
    chosen = np.arange(n_users, dtype=np.int32) if users is None else np.asarray(users, dtype=np.int32)
    if len(chosen) and (chosen.min() < 0 or chosen.max() >= n_users):
        raise ValueError(f"users must lie in [0, {n_users}), got {chosen.min()} to {chosen.max()}")
    return chosen


def finite_norms(
    user_features: FloatMatrix, users: IdArray, item_features: FloatMatrix
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Norms of the rows of both tables, (n,) and (n_items,) float64.

    Raises:
        ValueError: a feature is not finite.
    """
    norms = []
    for name, table in (("user", user_features), ("item", item_features)):
        squares = np.einsum("ij,ij->i", table, table, dtype=np.float64)
        if not np.isfinite(squares).all():
            row = int(np.flatnonzero(~np.isfinite(squares))[0])
            raise ValueError(f"the features of {name} {users[row] if name == 'user' else row} are not finite")
        norms.append(np.sqrt(squares))
    return norms[0], norms[1]


def may_overflow(user_norms: npt.NDArray[np.float64], item_norms: npt.NDArray[np.float64]) -> bool:
    """Whether a score might overflow; by Cauchy-Schwarz none does while the product of the largest norms is small."""
    return float(user_norms.max(initial=0.0) * item_norms.max(initial=0.0)) >= _FLOAT32_MAX / 2


def _sorted_rows(seen: sparse.csr_array | None, n_users: int) -> tuple[IntVector, IntVector]:
    """Row pointers and column indices, ascending within each row."""
    if seen is None:
        return np.zeros(n_users + 1, np.int32), np.empty(0, np.int32)
    rows = seen if seen.has_sorted_indices else seen.sorted_indices()
    return rows.indptr, rows.indices


@kernel(fastmath={"reassoc", "contract"})
def _set_floor(users: Any, items: Any, lists: Any, heap_scores: Any) -> None:
    """Fill each full list's heap with a score just below the list's lowest, by more than rounding can matter."""
    rounding = 2.4e-7 * (users.shape[1] + 1)
    for row in range(lists.shape[0]):
        floor, size = np.inf, 0.0
        for column in range(lists.shape[1]):
            item = lists[row, column]
            if item < 0:
                floor = -np.inf
                break
            total: Any = np.float32(0.0)
            magnitude: Any = np.float32(0.0)
            for c in range(users.shape[1]):
                term = users[row, c] * items[item, c]
                total += term
                magnitude += abs(term)
            floor = min(floor, total)
            size = max(size, magnitude)
        heap_scores[row, :] = floor - rounding * size - 1e-30


@kernel(inline="always")
def _sift_down(items, scores, size):  # type: ignore[no-untyped-def]
    """Restore the heap after its root was replaced; the root is the worst: lowest score, then highest id."""
    score, item = scores[0], items[0]
    hole = 0
    while True:
        child = 2 * hole + 1
        if child >= size:
            break
        right = child + 1
        if right < size and (
            scores[right] < scores[child] or (scores[right] == scores[child] and items[right] > items[child])
        ):
            child = right
        if score < scores[child] or (score == scores[child] and item > items[child]):
            break
        scores[hole], items[hole] = scores[child], items[child]
        hole = child
    scores[hole], items[hole] = score, item


@kernel(inline="always")
def _any_above(scores, start, threshold):  # type: ignore[no-untyped-def]
    """Whether one of ``SCAN`` scores is above; a quarter of the time that the highest of them takes."""
    found = False
    for column in range(SCAN):
        found |= scores[start + column] > threshold
    return found


@kernel(fastmath={"nnan", "nsz"})
def _scan_tile(tile, first, seen_items, cursor, seen_end, heap_items, heap_scores):  # type: ignore[no-untyped-def]
    """Put the tile's scores that beat a user's k-th best into the user's heap.

    ``tile`` (users, items) is scratch: seen items are overwritten with −inf. Items come in ascending order over the
    calls, so that "strictly better than the k-th best" keeps the lower id among equals.
    """
    n_rows, n_columns = tile.shape
    k = heap_items.shape[1]
    for row in range(n_rows):
        position = cursor[row]
        end = seen_end[row]
        while position < end and seen_items[position] < first + n_columns:
            tile[row, seen_items[position] - first] = -np.inf
            position += 1
        cursor[row] = position

        scores = tile[row]
        best_items = heap_items[row]
        best_scores = heap_scores[row]
        threshold = best_scores[0]
        for start in range(0, n_columns, SCAN):
            if start + SCAN <= n_columns and not _any_above(scores, start, threshold):
                continue
            for column in range(start, min(start + SCAN, n_columns)):
                if scores[column] > threshold:
                    best_scores[0] = scores[column]
                    best_items[0] = first + column
                    _sift_down(best_items, best_scores, k)
                    threshold = best_scores[0]


@kernel()
def _sort_heaps(heap_items, heap_scores):  # type: ignore[no-untyped-def]
    """Sort each heap in place, best first: take the worst away and put it behind what is left."""
    k = heap_items.shape[1]
    for row in range(heap_items.shape[0]):
        items = heap_items[row]
        scores = heap_scores[row]
        for last in range(k - 1, 0, -1):
            items[0], items[last] = items[last], items[0]
            scores[0], scores[last] = scores[last], scores[0]
            _sift_down(items, scores, last)
