"""Scores of listed items under fixed features: a short list of items a user instead of all of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from freqd.numerics.jit import kernel, njit
from freqd.numerics.threads import blocks_of, run

Lists = npt.NDArray[np.int32]
FloatMatrix = npt.NDArray[np.float32]

NO_ITEM = -1
"""Fills a list that is shorter than the others."""

ROWS_A_BLOCK = 1024
"""Lists that one thread takes at a time."""


@kernel(fastmath=True)
def listed_products(users: Any, items: Any, lists: Any, scores: Any) -> None:
    """Fill ``scores`` (b, L) with ⟨users[row], items[lists[row, column]]⟩, 0 for ``NO_ITEM``."""
    for row in range(lists.shape[0]):
        for column in range(lists.shape[1]):
            item = lists[row, column]
            total = np.float32(0.0)
            if item >= 0:
                for k in range(users.shape[1]):
                    total += users[row, k] * items[item, k]
            scores[row, column] = total


def table_scores(users: FloatMatrix, items: FloatMatrix, lists: Lists) -> FloatMatrix:
    """Scores of listed items: row i of ``users`` against ``lists[i]``.

    Args:
        users: (b, D) float32.
        items: (n_items, D) float32.
        lists: (b, L) int32; ``NO_ITEM`` scores 0.

    Returns:
        (b, L) float32.
    """
    scores = np.empty(lists.shape, np.float32)
    users, items = np.ascontiguousarray(users), np.ascontiguousarray(items)
    run(
        lambda rows: listed_products(users[rows], items, lists[rows], scores[rows]), blocks_of(len(lists), ROWS_A_BLOCK)
    )
    return scores


def drop_repeated(lists: Lists) -> None:
    """Sort each list in place by item and put ``NO_ITEM`` for every repetition."""
    run(lambda rows: _drop_repeated(lists[rows]), blocks_of(len(lists), ROWS_A_BLOCK))


@njit(cache=True, nogil=True)
def _drop_repeated(lists: Lists) -> None:
    for row in range(lists.shape[0]):
        lists[row].sort()
        last = np.int32(-1)
        for column in range(lists.shape[1]):
            item = lists[row, column]
            if item == last:
                lists[row, column] = -1
            else:
                last = item


def random_items(train: sparse.csr_array, count: int, rng: np.random.Generator) -> Lists:
    """``count`` items a user, uniform with repetition; train items become ``NO_ITEM``.

    Args:
        train: (n_users, n_items) CSR with sorted column indices.
    """
    n_users, n_items = train.shape
    items = rng.integers(n_items, size=(n_users, count), dtype=np.int32)
    _drop_seen(items, train.indptr, train.indices)
    return items


@njit(cache=True, nogil=True)
def _drop_seen(items: Any, indptr: Any, indices: Any) -> None:
    for user in range(items.shape[0]):
        seen = indices[indptr[user] : indptr[user + 1]]
        for column in range(items.shape[1]):
            at = np.searchsorted(seen, items[user, column])
            if at < len(seen) and seen[at] == items[user, column]:
                items[user, column] = -1


def known_scores(lists: Lists, scores: FloatMatrix, before: Lists, scores_before: FloatMatrix) -> Lists:
    """Fill in the scores of items that earlier lists held too, and say which are left.

    Args:
        lists, before: (b, L) and (b, K) int32, ascending in each row but for ``NO_ITEM`` in between.
        scores: (b, L), filled where the item is known.
        scores_before: (b, K).

    Returns:
        (b, most that a row lacks): the items without a score, in order; ``NO_ITEM`` where a row has no more of them.
    """
    lacking = np.full(lists.shape, NO_ITEM, np.int32)
    counts = run(
        lambda rows: _known(lists[rows], scores[rows], before[rows], scores_before[rows], lacking[rows]),
        blocks_of(len(lists), ROWS_A_BLOCK),
    )
    return np.ascontiguousarray(lacking[:, : max(counts, default=0)])


@kernel()
def _known(lists: Any, scores: Any, before: Any, scores_before: Any, lacking: Any) -> int:
    most = 0
    for row in range(lists.shape[0]):
        at = count = 0
        for column in range(lists.shape[1]):
            item = lists[row, column]
            if item < 0:
                continue
            while at < before.shape[1] and before[row, at] < item:
                at += 1
            if at < before.shape[1] and before[row, at] == item:
                scores[row, column] = scores_before[row, at]
            else:
                lacking[row, count] = item
                count += 1
        most = max(most, count)
    return most


def fill_in(lists: Lists, scores: FloatMatrix, lacking: Lists, found: FloatMatrix) -> None:
    """Fill in the scores of the items that ``known_scores`` said were lacking."""
    run(
        lambda rows: _fill_in(lists[rows], scores[rows], lacking[rows], found[rows]),
        blocks_of(len(lists), ROWS_A_BLOCK),
    )


@kernel()
def _fill_in(lists: Any, scores: Any, lacking: Any, found: Any) -> None:
    for row in range(lists.shape[0]):
        at = 0
        for column in range(lists.shape[1]):
            if at < lacking.shape[1] and lists[row, column] >= 0 and lists[row, column] == lacking[row, at]:
                scores[row, column] = found[row, at]
                at += 1
