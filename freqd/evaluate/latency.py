"""What a request costs: one user against the whole catalogue."""

from __future__ import annotations

from time import perf_counter

import numpy as np

from freqd.embeddings import Embeddings
from freqd.numerics.threads import one_blas_thread
from freqd.scorer import Scorer

_WARM_UP = 10


def scoring_latency(scorer: Scorer, *, k: int = 10, repeats: int = 200) -> dict[str, float]:
    """Median and 95th percentile of the milliseconds to score all items for one user and sort out the best ``k``.

    One thread, users spread evenly over the table, after a few calls that are not counted.

    Args:
        scorer: the recommender.
        k: length of the list.
        repeats: number of timed requests.

    Raises:
        ValueError: k or repeats below 1, or an empty table.
    """
    n_users, n_items = scorer.n_users, scorer.n_items
    if k < 1 or repeats < 1:
        raise ValueError(f"k and repeats must be at least 1, got {k} and {repeats}")
    if not n_users or not n_items:
        raise ValueError(f"nothing to score: {n_users} users and {n_items} items")
    asked = np.linspace(0, n_users - 1, num=_WARM_UP + repeats).astype(np.int32)
    seconds = np.empty(len(asked))
    with one_blas_thread():
        for request, user in enumerate(asked):
            start = perf_counter()
            if isinstance(scorer, Embeddings):
                scores = scorer.items @ scorer.users[user]
            else:
                scores = scorer.block(asked[request : request + 1])[0]
            best = np.argpartition(-scores, k - 1)[:k] if k < n_items else np.arange(n_items)
            best[np.argsort(-scores[best], kind="stable")]
            seconds[request] = perf_counter() - start
    milliseconds = 1000 * seconds[_WARM_UP:]
    return {"median_ms": float(np.median(milliseconds)), "p95_ms": float(np.quantile(milliseconds, 0.95))}
