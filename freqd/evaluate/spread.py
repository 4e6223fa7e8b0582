"""How far a model's scores are apart: the unit in which those of different models are added up and softened."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from freqd.evaluate.ranking import top_k
from freqd.numerics.listed_scores import drop_repeated, random_items
from freqd.scorer import Scorer

SPREAD_TOP, SPREAD_RANDOM, SPREAD_USERS = 50, 100, 2000
"""Items of a user, and users, whose scores tell the spread."""


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
