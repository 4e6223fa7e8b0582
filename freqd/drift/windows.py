"""Which interactions are new to a model, and which of its own they are to be held against.

A (user, item) pair counts once, at its earliest time, in training as well as here. So what the model has seen already
is no new interaction, and new ones are compared with the last as many that the model knew of: over a longer stretch
users run out of popular items that they have not met, and any two stretches of different length would differ.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy import sparse

from freqd.data.ids import rows_of
from freqd.data.interactions import PARTS, Interactions, Observed, Split

ORDER_SEED = 0
"""Of the order among interactions of the same age."""


@dataclass(frozen=True, eq=False)
class Fresh:
    """New interactions, by what the model knows of them.

    Attributes:
        known: those between users and items that the model knows, over its rows, oldest first as in ``Known``.
        pairs: all of them, strangers included.
        unknown_user_pairs, unknown_item_pairs: those of a user, of an item that the model does not know.
        unknown_users, unknown_items: how many different ones.
        passed_over: interactions that are no news: not later than the model's, or a pair that it has seen.
        first, last: earliest and latest time in seconds; None without times or without pairs.
    """

    known: Interactions
    pairs: int
    unknown_user_pairs: int
    unknown_item_pairs: int
    unknown_users: int
    unknown_items: int
    passed_over: int
    first: int | None
    last: int | None


def find_fresh(
    observed: Observed, user_ids: pl.Series, item_ids: pl.Series, seen: sparse.csr_array, *, after: int | None
) -> Fresh:
    """The interactions in ``observed`` that are new to a model.

    Args:
        observed: what is there now, over its own ids.
        user_ids, item_ids: the model's own ids as strings; position is the row.
        seen: (n_users, n_items) CSR of the pairs that the model knows.
        after: seconds; only what is later is new. Without it, or without times, everything that was not seen is.
    """
    found = observed.interactions
    shape = (len(user_ids), len(item_ids))
    user = rows_of(observed.user_ids, user_ids)[found.user]
    item = rows_of(observed.item_ids, item_ids)[found.item]
    known = (user >= 0) & (item >= 0)
    late = np.ones(len(found), np.bool_) if after is None or found.time is None else found.time > after
    rows = np.repeat(np.arange(shape[0], dtype=np.int64), np.diff(seen.indptr))
    met = known & np.isin(user * shape[1] + item, rows * shape[1] + seen.indices)
    new = late & ~met
    both = new & known
    strangers = {"user": new & (user < 0), "item": new & (item < 0)}
    pairs = Interactions(
        user[both].astype(np.int32),
        item[both].astype(np.int32),
        *shape,
        None if found.time is None else found.time[both],
    )
    age = np.zeros(len(pairs)) if pairs.time is None else pairs.time
    times = None if found.time is None or not new.any() else found.time[new]
    return Fresh(
        known=_rows(pairs, _oldest_first(pairs.user, pairs.item, age)),
        pairs=int(new.sum()),
        unknown_user_pairs=int(strangers["user"].sum()),
        unknown_item_pairs=int(strangers["item"].sum()),
        unknown_users=len(np.unique(found.user[strangers["user"]])),
        unknown_items=len(np.unique(found.item[strangers["item"]])),
        passed_over=int((~new).sum()),
        first=None if times is None else int(times.min()),
        last=None if times is None else int(times.max()),
    )


@dataclass(frozen=True, eq=False)
class Known:
    """What a model knows of, oldest first: by time, else by part; where that is equal, in an order drawn at random.

    At random, since by id the cut through a day would always go through the same users. The order does not depend on the
    order in which the interactions come.

    Attributes:
        interactions: all of them; without times those of validation and test count as the latest.
        held_out: those that the model was not trained on; None where that is not known.
    """

    interactions: Interactions
    held_out: Interactions | None

    @classmethod
    def of(cls, split: Split) -> Known:
        """All parts of the split that the model was made of."""
        parts = [split.part(name) for name in PARTS]
        code = np.repeat(np.arange(len(parts), dtype=np.int8), [len(part) for part in parts])
        user, item = (np.concatenate([getattr(part, side) for part in parts]) for side in ("user", "item"))
        times = [part.time.astype(np.int64, copy=False) for part in parts if part.time is not None]
        time = np.concatenate(times) if len(times) == len(parts) else None
        order = _oldest_first(user, item, code if time is None else time)
        ordered = Interactions(
            user[order], item[order], split.n_users, split.n_items, None if time is None else time[order]
        )
        return cls(ordered, _rows(ordered, code[order] > 0))

    @classmethod
    def of_seen(cls, seen: sparse.csr_array) -> Known:
        """The pairs that a model has seen, when nothing else is known of them."""
        user = np.repeat(np.arange(seen.shape[0], dtype=np.int32), np.diff(seen.indptr))
        order = _oldest_first(user, seen.indices, np.zeros(len(user)))
        return cls(Interactions(user[order], seen.indices[order].astype(np.int32), *seen.shape), None)


def _oldest_first(
    user: npt.NDArray[np.int32], item: npt.NDArray[np.int32], age: npt.NDArray[Any]
) -> npt.NDArray[np.int64]:
    pairs = np.lexsort((item, user))
    lot = np.empty(len(user))
    lot[pairs] = np.random.default_rng(ORDER_SEED).random(len(user))
    return np.lexsort((lot, age))


def latest(known: Interactions, count: int) -> Interactions:
    """The last ``count`` of interactions that stand in order; all, if they are fewer."""
    return _rows(known, slice(max(len(known) - count, 0), None))


def _rows(found: Interactions, rows: slice | npt.NDArray[Any]) -> Interactions:
    time = None if found.time is None else found.time[rows]
    return Interactions(found.user[rows], found.item[rows], found.n_users, found.n_items, time)
