"""Who gains and who loses: accuracy by the activity of users and by the popularity of items."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from freqd.evaluate.beyond_accuracy import ItemCounts
from freqd.evaluate.metrics import PerUser

Group = dict[str, Any]

POPULARITY_GROUPS = ("head", "mid", "tail")

TAIL = POPULARITY_GROUPS.index("tail")

POPULARITY_SHARES = (0.5, 0.8)
"""Head: the most popular items that together hold half of the train interactions; mid: up to 80 %; tail: the rest.

The tail is then what an item-based long tail is elsewhere (Abdollahpouri et al. 2017 and others: the items beyond 80 % of the
interactions, after Pareto); it is the only definition of these groups in freqd.
"""

ACTIVITY_GROUPS = 4
"""Quantile groups of the users."""

GroupCounts = npt.NDArray[np.int32]
"""(n, 3) counts of each user, one column a group of ``POPULARITY_GROUPS``."""


def popularity_order(counts: ItemCounts) -> npt.NDArray[np.int64]:
    """(n_items,) items from the most to the least popular; equally popular ones by row."""
    return np.argsort(-counts, kind="stable")


def equal_groups(counts: ItemCounts, groups: int) -> npt.NDArray[np.int64]:
    """(n_items,) group of each item, 0 the most popular: each holds about the same share of all interactions.

    An item belongs where the middle of its interactions falls, so there are fewer groups where one item holds more than a
    share of its own.
    """
    order = popularity_order(counts)
    mass = counts[order].astype(np.float64)
    middle = np.cumsum(mass) - mass / 2
    raw = np.minimum((groups * middle / max(mass.sum(), 1.0)).astype(np.int64), groups - 1)
    result = np.empty(len(counts), np.int64)
    result[order] = np.unique(raw, return_inverse=True)[1]
    return result


def activity_groups(train_counts: ItemCounts, n_groups: int = ACTIVITY_GROUPS) -> npt.NDArray[np.int64]:
    """Group of each user (n,), 0 the least active: of about equal size by the number of train interactions (n,).

    Users with the same number are never torn apart, so that groups may differ in size or be fewer.
    """
    if len(train_counts) == 0:
        return np.zeros(0, np.int64)
    inner = np.quantile(train_counts, np.arange(1, n_groups) / n_groups, method="inverted_cdf")
    member: npt.NDArray[np.int64] = np.unique(
        np.searchsorted(np.unique(inner), train_counts, side="left"), return_inverse=True
    )[1]
    return member


def by_activity(
    train_counts: ItemCounts, per_user: Mapping[str, PerUser], n_groups: int = ACTIVITY_GROUPS
) -> list[Group]:
    """Mean of each metric in ``activity_groups``.

    Args:
        train_counts: (n,) train interactions of each evaluated user.
        per_user: values (n,) of each metric.
        n_groups: quantile groups.

    Returns:
        Least active first: ``group`` (a label), ``train_interactions`` [lowest, highest], ``users`` and the metrics.
    """
    member = activity_groups(train_counts, n_groups)
    groups: list[Group] = []
    for index in range(int(member.max(initial=-1)) + 1):
        chosen = member == index
        low, high = int(train_counts[chosen].min()), int(train_counts[chosen].max())
        means = {name: float(values[chosen].mean(dtype=np.float64)) for name, values in per_user.items()}
        label = f"{low}" if low == high else f"{low}–{high}"
        groups.append(
            {
                "group": f"{label} train interactions",
                "train_interactions": [low, high],
                "users": int(chosen.sum()),
                **means,
            }
        )
    return groups


def popularity_groups(train_counts: ItemCounts) -> npt.NDArray[np.int64]:
    """Index into ``POPULARITY_GROUPS`` of each item (n_items,), by cumulative share of the train interactions.

    The items are lined up by popularity, most popular first (lower id first among equals); an item belongs to the head
    if the items before it hold less than half of the interactions. Items without train interactions are tail.
    """
    order = popularity_order(train_counts)
    before = np.cumsum(train_counts[order]) - train_counts[order]
    share = before / max(int(train_counts.sum()), 1)
    groups = np.empty(len(train_counts), np.int64)
    groups[order] = np.searchsorted(POPULARITY_SHARES, share, side="right")
    groups[train_counts == 0] = len(POPULARITY_GROUPS) - 1
    return groups


def count_by_popularity(
    items: npt.NDArray[np.integer], per_user: npt.NDArray[np.integer], item_groups: npt.NDArray[np.int64]
) -> GroupCounts:
    """How many of each user's items lie in the head, the middle and the tail, (n, 3).

    Args:
        items: the users' items, one user after the other.
        per_user: (n,) how many of them are each user's.
        item_groups: (n_items,) as of ``popularity_groups``.
    """
    n, width = len(per_user), len(POPULARITY_GROUPS)
    cell = width * np.repeat(np.arange(n), per_user) + item_groups[items]
    return np.bincount(cell, minlength=n * width).astype(np.int32).reshape(n, width)


def by_popularity(
    item_groups: npt.NDArray[np.int64], targets: GroupCounts, found: GroupCounts, recommended: ItemCounts, k: int
) -> list[Group]:
    """What the head, the middle and the tail of the catalogue get.

    Args:
        item_groups: (n_items,) as of ``popularity_groups``.
        targets: (n, 3) targets of each evaluated user.
        found: (n, 3) how many of them were among the user's first k.
        recommended: (n_items,) how many lists hold the item among their first k.
        k: the cut-off, for the name of the recall.

    Returns:
        ``group``, ``items``, ``targets``, ``recall_at_k`` (found / targets over all of the group's targets together;
        None without targets) and ``share_of_recommendations``, head first.
    """
    total = int(recommended.sum())
    rows: list[Group] = []
    for index, name in enumerate(POPULARITY_GROUPS):
        chosen = item_groups == index
        n_targets = int(targets[:, index].sum())
        rows.append(
            {
                "group": name,
                "items": int(chosen.sum()),
                "targets": n_targets,
                f"recall_at_{k}": int(found[:, index].sum()) / n_targets if n_targets else None,
                "share_of_recommendations": int(recommended[chosen].sum()) / total if total else 0.0,
            }
        )
    return rows
