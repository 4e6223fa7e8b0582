"""Are two data sets states of the same thing? A model may only be judged against one that was made for the same users and items."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from freqd.data.interactions import PARTS, Interactions, Split
from freqd.data.realign import Rows

ENOUGH_PAIRS = 100
"""Interactions of the time that both have, from which on their share says something."""
DENSE = 10
"""Whole numbers up to so many times their count are what anybody gets who numbers from 1: equal ones prove nothing."""


@dataclass(frozen=True)
class DatasetOverlap:
    """What an earlier state and a present one have in common.

    Attributes:
        users, items: share of the earlier users and items that are there now.
        pairs: share of the earlier interactions, of the time that both have, that are there now; None if that are fewer than
            ``ENOUGH_PAIRS``, so that nothing can be said.
        telling_users, telling_items: whether the ids are more than numbers from 1 on, so that equal ones prove something.
    """

    users: float
    items: float
    pairs: float | None
    telling_users: bool
    telling_items: bool

    def holds(self, min_known: float, min_pairs: float) -> bool:
        """Whether they are states of the same data."""
        users, items = self.users >= min_known, self.items >= min_known
        if self.pairs is None:
            return (users and self.telling_users) or (items and self.telling_items)
        return (users or items) and self.pairs >= min_pairs

    def __str__(self) -> str:
        pairs = "no interaction can be compared" if self.pairs is None else f"{self.pairs:.0%} of its interactions"
        return f"{self.items:.0%} of its items, {self.users:.0%} of its users, and {pairs} are in the data"


def dataset_overlap(before: Split, now: Split) -> DatasetOverlap:
    """Compare an earlier state with a present one, by ids, times and pairs. O(n log n) for n interactions."""
    users, items = Rows.of(before.user_ids, now.user_ids), Rows.of(before.item_ids, now.item_ids)
    shares = {"users": float((users.target >= 0).mean()), "items": float((items.target >= 0).mean())}
    old, new = _all(before), _all(now)
    user, item = users.target[old.user], items.target[old.item]
    both = np.ones(len(user), np.bool_)
    if old.time is not None and new.time is not None:
        both = (old.time >= new.time.min()) & (old.time <= new.time.max())
    known = both & (user >= 0) & (item >= 0)
    pairs = user[known] * now.n_items + item[known]
    there = np.isin(pairs, new.user.astype(np.int64) * now.n_items + new.item).sum()
    total = int(both.sum())
    return DatasetOverlap(
        **shares,
        pairs=float(there) / total if total >= ENOUGH_PAIRS else None,
        telling_users=not _dense(before.user_ids),
        telling_items=not _dense(before.item_ids),
    )


def _all(split: Split) -> Interactions:
    parts = [split.part(name) for name in PARTS]
    times = [part.time.astype(np.int64, copy=False) for part in parts if part.time is not None]
    return Interactions(
        np.concatenate([part.user for part in parts]),
        np.concatenate([part.item for part in parts]),
        split.n_users,
        split.n_items,
        np.concatenate(times) if len(times) == len(parts) else None,
    )


def _dense(ids: pl.Series) -> bool:
    numbers = ids.cast(pl.String).cast(pl.Int64, strict=False)
    most = numbers.max()
    return numbers.null_count() == 0 and isinstance(most, int) and most <= DENSE * len(ids)
