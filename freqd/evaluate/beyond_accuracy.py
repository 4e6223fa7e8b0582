"""Beyond accuracy: how much of the catalogue is recommended, how evenly, and how popular it is.

Everything follows from two counts an item: how often it was recommended and how often it occurs in train.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from freqd.data.interactions import IdArray

ItemCounts = npt.NDArray[np.int64]


def recommendation_counts(ranked: IdArray, n_items: int, k: int) -> ItemCounts:
    """How many of the lists (n, depth) hold each item among their first ``k``; −1 marks no item. Shape (n_items,)."""
    top = ranked[:, :k].ravel()
    counts: ItemCounts = np.bincount(top[top >= 0], minlength=n_items)
    return counts


def coverage(recommended: ItemCounts) -> float:
    """Share of the catalogue that is in at least one list, in [0, 1]."""
    return float(np.count_nonzero(recommended) / len(recommended))


def gini(recommended: ItemCounts) -> float:
    """Inequality of the recommendations over the catalogue: 0 all items alike, near 1 all on one item.

    Σ_i (2 i − n − 1) x_i / (n Σ x) with x ascending, i = 1..n; 0 if nothing was recommended.
    """
    n = len(recommended)
    total = recommended.sum()
    if total == 0:
        return 0.0
    weights = 2.0 * np.arange(1, n + 1) - n - 1
    return float(weights @ np.sort(recommended) / (n * total))


def diversity_between_lists(recommended: ItemCounts, n_lists: int, k: int) -> float:
    """Mean distance of two users' lists, 1 − (items that both hold) / k, over all pairs of lists: 0 all alike, 1 all disjoint.

    Two lists share an item for every pair of lists that hold it, so the counts suffice: 1 − Σ_i x_i (x_i − 1) / (k n (n − 1)).
    0 with fewer than two lists. Source: Zhou et al., PNAS 2010, there "personalization".

    Args:
        recommended: (n_items,) how many of the lists hold each item among their first k.
        n_lists: how many lists there are.
        k: their length; a list that is shorter is as distant as one filled up with items of its own.
    """
    if n_lists < 2:
        return 0.0
    held = recommended.astype(np.float64)
    return 1.0 - float(held @ (held - 1.0)) / (k * n_lists * (n_lists - 1.0))


def mean_popularity(recommended: ItemCounts, train_counts: ItemCounts) -> float:
    """Mean number of train interactions of a recommended item; 0 if nothing was recommended."""
    return _mean_over_recommendations(recommended, train_counts.astype(np.float64))


def novelty(recommended: ItemCounts, train_counts: ItemCounts, n_users: int) -> float:
    """Mean self-information of a recommended item, −log2(share of users that met it in train), in bits.

    An item without train interactions counts as met by one user: its self-information would be infinite.
    """
    return _mean_over_recommendations(recommended, -np.log2(np.maximum(train_counts, 1) / n_users))


def top_share(recommended: ItemCounts, train_counts: ItemCounts, share: float = 0.01) -> float:
    """How much of what is recommended are the ``share`` most popular items of train, at least one, in [0, 1].

    Items that are as popular as each other are taken by row; 0 if nothing was recommended.
    """
    top = np.argsort(-train_counts, kind="stable")[: max(1, round(share * len(train_counts)))]
    total = recommended.sum()
    return float(recommended[top].sum() / total) if total else 0.0


def _mean_over_recommendations(recommended: ItemCounts, values: npt.NDArray[np.float64]) -> float:
    total = recommended.sum()
    return float(recommended @ values / total) if total else 0.0
