"""How different the items of one list are from each other, by who met them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from freqd.data.interactions import IdArray
from freqd.numerics import threads
from freqd.numerics.jit import kernel

MOST_LISTS = 2000
"""Lists that are measured, evenly spread over all: the mean of so many is known to about 1 / 45 of the lists' own spread."""


def spread_over(n_lists: int) -> npt.NDArray[np.int64]:
    """Which of ``n_lists`` lists are measured, ascending: all, or ``MOST_LISTS`` at even distances."""
    return np.linspace(0, max(n_lists - 1, 0), min(n_lists, MOST_LISTS)).astype(np.int64)


def diversity_within_lists(lists: IdArray, train: sparse.csr_array) -> float:
    """Mean over the lists of 1 − the mean cosine of their pairs of items: 0 all alike, 1 no two share a user.

    The cosine of two items is that of their columns of ``train``, C_ij / √(C_ii C_jj) with C = RᵀR; an item that nobody met
    is like no other. Lists of fewer than two items do not count; 0 if there are no others. Source: Ziegler et al., WWW 2005
    (intra-list similarity), as a distance in Zhang & Hurley, RecSys 2008.

    C is never formed: the cosines of an item with all before it in the list are its inner product with their sum. Time
    O(interactions of the items in the lists), memory 4 n_users bytes a thread.

    Args:
        lists: (n, k) item ids, −1 where a list has ended.
        train: (n_users, n_items) binary CSR.
    """
    held, where = np.unique(lists[lists >= 0], return_inverse=True)
    columns = train[:, held].T.tocsr()
    compact = np.full(lists.shape, -1, np.int32)
    compact[lists >= 0] = where
    distances = np.full(len(lists), np.nan)

    def measure(rows: slice) -> None:
        seen = np.zeros(train.shape[0], np.float32)
        _distances(compact[rows], columns.indptr, columns.indices, seen, distances[rows])

    threads.run(measure, threads.blocks_of(len(lists), max(1, -(-len(lists) // threads.count()))))
    known = distances[~np.isnan(distances)]
    return float(known.mean()) if len(known) else 0.0


@kernel()
def _distances(lists: Any, starts: Any, users: Any, seen: Any, distances: Any) -> None:
    """Fill ``distances`` (n,) for lists of at least two items; ``seen`` (n_users,) is 0 before and after."""
    for row in range(lists.shape[0]):
        total, count = 0.0, 0
        for column in range(lists.shape[1]):
            item = lists[row, column]
            if item < 0:
                continue
            count += 1
            met = starts[item + 1] - starts[item]
            if met == 0:
                continue
            weight = np.float32(1.0 / np.sqrt(met))
            shared: Any = 0.0
            for p in range(starts[item], starts[item + 1]):
                shared += seen[users[p]]
                seen[users[p]] += weight
            total += weight * shared
        for column in range(lists.shape[1]):
            item = lists[row, column]
            if item >= 0:
                for p in range(starts[item], starts[item + 1]):
                    seen[users[p]] = 0.0
        if count > 1:
            distances[row] = 1.0 - 2.0 * total / (count * (count - 1))
