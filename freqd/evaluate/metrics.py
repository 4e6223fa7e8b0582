"""Accuracy of ranked lists, one value a user, from which positions hold a target.

Every function takes ``hits`` (n, depth) bool, ``n_targets`` (n,) and a cut-off k <= depth. A user without a target
scores 0. The definitions are those of trec_eval, so that ``ir-measures`` gives the same numbers.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from scipy import sparse

from freqd.data.interactions import IdArray
from freqd.numerics.jit import njit

Hits = npt.NDArray[np.bool_]
Counts = npt.NDArray[np.integer]
PerUser = npt.NDArray[np.float32]


def hits(ranked: IdArray, targets: sparse.csr_array, users: IdArray) -> Hits:
    """Which positions of the lists hold a target.

    Args:
        ranked: (n, depth) item ids, −1 where a list has ended.
        targets: (n_users, n_items) CSR; stored entries are targets.
        users: (n,) the user of each list.
    """
    if len(ranked) != len(users):
        raise ValueError(f"{len(ranked)} lists for {len(users)} users")
    if not targets.has_sorted_indices:
        targets = targets.sorted_indices()
    result: Hits = _hits(ranked, targets.indptr, targets.indices, users)
    return result


@njit(cache=True, nogil=True)
def _hits(ranked, indptr, indices, users):  # type: ignore[no-untyped-def]
    found = np.zeros(ranked.shape, np.bool_)
    for row in range(ranked.shape[0]):
        start, stop = indptr[users[row]], indptr[users[row] + 1]
        if start == stop:
            continue
        for rank in range(ranked.shape[1]):
            item = ranked[row, rank]
            low, high = start, stop
            while low < high:
                middle = (low + high) // 2
                if indices[middle] < item:
                    low = middle + 1
                else:
                    high = middle
            found[row, rank] = low < stop and indices[low] == item
    return found


def _ratio(numerator: npt.NDArray[np.float64], denominator: npt.NDArray[np.float64]) -> PerUser:
    """Elementwise quotient, 0 where the denominator is 0."""
    out = np.zeros(len(numerator))
    np.divide(numerator, denominator, out=out, where=denominator > 0)
    return out.astype(np.float32)


def ndcg(hits: Hits, n_targets: Counts, k: int) -> PerUser:
    """DCG@k / IDCG@k with gains 1 / log2(rank + 1); the ideal list holds min(#targets, k) targets."""
    discounts = 1.0 / np.log2(np.arange(2, k + 2))
    ideal = np.concatenate([[0.0], np.cumsum(discounts)])
    return _ratio(hits[:, :k] @ discounts, ideal[np.minimum(n_targets, k)])


def recall(hits: Hits, n_targets: Counts, k: int) -> PerUser:
    """Targets among the first k / #targets."""
    return _ratio(hits[:, :k].sum(axis=1, dtype=np.float64), n_targets.astype(np.float64))


def precision(hits: Hits, n_targets: Counts, k: int) -> PerUser:
    """Targets among the first k / k, also where a list is shorter than k."""
    values: PerUser = (hits[:, :k].sum(axis=1) / k).astype(np.float32)
    return values


def hit_rate(hits: Hits, n_targets: Counts, k: int) -> PerUser:
    """1 if any target is among the first k."""
    values: PerUser = np.any(hits[:, :k], axis=1).astype(np.float32)
    return values


def average_precision(hits: Hits, n_targets: Counts, k: int) -> PerUser:
    """Σ over the hits among the first k of precision at the hit's rank, / #targets (trec_eval's ``map_cut``)."""
    found = hits[:, :k]
    at_rank = np.cumsum(found, axis=1) / np.arange(1, k + 1)
    return _ratio((at_rank * found).sum(axis=1), n_targets.astype(np.float64))


def reciprocal_rank(hits: Hits, n_targets: Counts, k: int) -> PerUser:
    """1 / rank of the first target among the first k, else 0."""
    found = hits[:, :k]
    return np.where(found.any(axis=1), 1.0 / (1 + found.argmax(axis=1)), 0.0).astype(np.float32)


Metric = Callable[[Hits, Counts, int], PerUser]

METRICS: dict[str, Metric] = {
    "ndcg": ndcg,
    "recall": recall,
    "precision": precision,
    "hit_rate": hit_rate,
    "map": average_precision,
    "mrr": reciprocal_rank,
}
"""Metrics by the stem of their reported name, as in ``ndcg_at_10``."""
