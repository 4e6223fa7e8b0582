"""Gowalla scaled up: many copies of it, tied together, with the degrees of the original.

A copy repeats every pair (u, i) of the original under labels of its own. Two things make one graph of the copies: the
users of several copies may share one copy of the items, and a pair goes with the chance ``TIE`` to the item of a copy
drawn at random instead of its own copy's. A user then keeps the number of items, and an item gets on average
(copies of users / copies of items) times its users, the popular ones as the rare ones: both distributions keep the shape
that they have in Gowalla. A pair cannot repeat, since a user meets each original item once. If that is more than was
asked for, pairs are left out at random. All labels are shuffled, so that no memory is near to another by construction,
and so is the order of the rows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from freqd.data import Interactions

TIE = 0.1
"""Share of the pairs that lead to another copy's item."""


@dataclass(frozen=True)
class Scale:
    """How much of it.

    Attributes:
        user_copies, item_copies: of the original's users and items.
        interactions: at the most.
    """

    user_copies: int
    item_copies: int
    interactions: int


def scaled(original: Interactions, scale: Scale, *, seed: int) -> Interactions:
    """Copies of ``original`` as described above; about 30 bytes a pair while it is made.

    Args:
        original: its pairs, each once.
        scale: how many copies.
        seed: of ties, labels, what is left out and the order.
    """
    rng = np.random.default_rng(seed)
    n_users, n_items = scale.user_copies * original.n_users, scale.item_copies * original.n_items
    user_label, item_label = (rng.permutation(np.arange(n, dtype=np.int32)) for n in (n_users, n_items))
    ends = np.linspace(0, min(scale.interactions, scale.user_copies * len(original)), scale.user_copies + 1).astype(int)
    user, item = np.empty(ends[-1], np.int32), np.empty(ends[-1], np.int32)
    for copy in range(scale.user_copies):
        place = slice(ends[copy], ends[copy + 1])
        kept = rng.permutation(len(original))[: place.stop - place.start]
        home = np.full(len(kept), copy % scale.item_copies)
        tied = rng.random(len(kept)) < TIE
        home[tied] = rng.integers(0, scale.item_copies, int(tied.sum()))
        user[place] = user_label[copy * original.n_users + original.user[kept]]
        item[place] = item_label[home * original.n_items + original.item[kept]]
    order = rng.permutation(np.arange(len(user), dtype=np.int32))
    return Interactions(user[order], item[order], n_users, n_items)


def counted_pairs(interactions: Interactions) -> float:
    """Σ degree² of both sides: the increments that exact co-occurrence counts take."""
    degrees: list[npt.NDArray[np.int64]] = [np.bincount(side) for side in (interactions.user, interactions.item)]
    return sum(float((degree.astype(np.float64) ** 2).sum()) for degree in degrees)
