"""What is asked of any scorer: the best items of a user, NDCG on validation, the spread of the scores, and a sum of several.

Where a scorer is a table after all (``as_table``) it is done as for tables, to the same numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import sparse

from freqd.data.interactions import IdArray
from freqd.embeddings import FloatMatrix
from freqd.evaluate import metrics as accuracy
from freqd.evaluate import ranking
from freqd.evaluate.listed_scores import NO_ITEM, drop_repeated, random_items
from freqd.evaluate.validation import Validation
from freqd.numerics import threads
from freqd.numerics.jit import kernel
from freqd.teachers.scorer import USERS_A_BLOCK, Scorer, SumScorer, as_table

SPREAD_TOP, SPREAD_RANDOM, SPREAD_USERS = 50, 100, 2000
"""Items of a user, and users, whose scores tell the spread."""


def summed(scorers: Sequence[Scorer], weights: Sequence[float], train: sparse.csr_array, *, seed: int) -> SumScorer:
    """The weighted sum, each brought to unit spread first; one of weight 0 is left out.

    Args:
        scorers: of the same users and items.
        weights: of each, at least 0.
        train: as in ``spread``.
        seed: as in ``spread``.
    """
    kept = [(scorer, float(weight)) for scorer, weight in zip(scorers, weights, strict=True) if weight != 0]
    spreads = tuple(spread(scorer, train, seed=seed) for scorer, _ in kept)
    return SumScorer(tuple(scorer for scorer, _ in kept), tuple(weight for _, weight in kept), spreads)


def top_k(
    scorer: Scorer, seen: sparse.csr_array, k: int, *, users: IdArray | None = None
) -> tuple[IdArray, FloatMatrix]:
    """The ``k`` best items of each user, best first; among equal scores the lower item id comes first.

    Exact; the same for any number of threads. For tables it is ``freqd.evaluate.ranking.top_k``.

    Args:
        scorer: gives the scores.
        seen: (n_users, n_items) CSR; stored entries are never recommended.
        k: length of the lists, at least 1.
        users: (n,) the users to rank for; all by default.

    Returns:
        items (n, k) int32 and scores (n, k) float32; −1 and −inf where a user has fewer than k candidates.

    Raises:
        ValueError: k < 1, or a score is NaN or +inf.
    """
    table = as_table(scorer)
    if table is not None:
        return ranking.top_k(table, seen, k, users=users)
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    chosen = np.arange(scorer.n_users, dtype=np.int32) if users is None else users.astype(np.int32, copy=False)
    items = np.full((len(chosen), k), NO_ITEM, np.int32)
    best = np.full((len(chosen), k), -np.inf, np.float32)

    def rank(rows: slice) -> None:
        scores = scorer.block(chosen[rows])
        if not (scores < np.inf).all():
            raise ValueError("a score is NaN or infinite")
        _hide_seen(chosen[rows], seen.indptr, seen.indices, scores)
        _keep_best(scores, items[rows], best[rows])

    with threads.one_blas_thread():
        threads.run(rank, threads.blocks_of(len(chosen), USERS_A_BLOCK))
    return items, best


def ndcg_of_users(scorer: Scorer, validation: Validation) -> accuracy.PerUser:
    """NDCG@10 of each of the validation's users, in their order; for tables it is ``Validation.per_user``.

    Raises:
        ValueError: no user has a validation item.
    """
    table = as_table(scorer)
    if table is not None:
        return validation.per_user(table)
    counts = np.diff(validation.valid.indptr)
    users = validation.users[counts[validation.users] > 0]
    if len(users) == 0:
        raise ValueError("no user has a validation item")
    items, _ = top_k(scorer, validation.train, 10, users=users)
    return accuracy.ndcg(accuracy.hits(items, validation.valid, users), counts[users], 10)


def ndcg(scorer: Scorer, validation: Validation) -> float:
    """Mean of ``ndcg_of_users``."""
    return float(ndcg_of_users(scorer, validation).mean(dtype=np.float64))


def spread(scorer: Scorer, train: sparse.csr_array, *, seed: int, users: int = SPREAD_USERS) -> float:
    """σ: how far the scores are apart where it matters.

    Mean over users of the standard deviation of their scores of their 50 best items and 100 random ones, train items
    and repetitions left out; 1 where nothing varies.

    Args:
        scorer: gives the scores.
        train: (n_users, n_items) CSR.
        seed: of the random items, and of the users that are looked at.
        users: how many users to look at, at the most.
    """
    rng = np.random.default_rng(seed)
    n_users, n_items = train.shape
    chosen = np.sort(rng.choice(n_users, min(users, n_users), replace=False)).astype(np.int32)
    best, _ = top_k(scorer, train, min(SPREAD_TOP, n_items), users=chosen)
    lists = np.concatenate([best, random_items(train[chosen], SPREAD_RANDOM, rng)], axis=1)
    drop_repeated(lists)
    scores = scorer.listed(chosen, lists)
    there = (lists >= 0) & np.isfinite(scores)
    count = np.maximum(there.sum(1), 1)
    mean = np.where(there, scores, 0).sum(1, dtype=np.float64) / count
    variance = (np.where(there, scores - mean[:, None], 0) ** 2).sum(1, dtype=np.float64) / count
    deviation = float(np.sqrt(variance).mean())
    return deviation if deviation > 0.0 else 1.0


@kernel()
def _hide_seen(users: Any, indptr: Any, indices: Any, scores: Any) -> None:
    """Give each user's own items −inf."""
    for row in range(len(users)):
        for p in range(indptr[users[row]], indptr[users[row] + 1]):
            scores[row, indices[p]] = -np.inf


@kernel()
def _keep_best(scores: Any, items: Any, best: Any) -> None:
    """Fill each row of ``items`` and ``best`` (b, k) with the best of ``scores`` (b, n_items), in their order."""
    last = best.shape[1] - 1
    for row in range(scores.shape[0]):
        for item in range(scores.shape[1]):
            score = scores[row, item]
            if score > best[row, last]:  # items ascend: among equals the earlier one stays ahead
                place = last
                while place > 0 and score > best[row, place - 1]:
                    best[row, place], items[row, place] = best[row, place - 1], items[row, place - 1]
                    place -= 1
                best[row, place], items[row, place] = score, item
