"""Where the rows of an earlier split are in a later one, by the users' and items' own ids."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import numpy.typing as npt
import polars as pl

from freqd.data.ids import rows_of
from freqd.data.interactions import Interactions, Split


@dataclass(frozen=True, eq=False)
class Rows:
    """One side's rows, earlier and now.

    Attributes:
        source: (n,) int64, for each row of now its row before, −1 where it is new.
        n_before: rows before.
    """

    source: npt.NDArray[np.int64]
    n_before: int

    @classmethod
    def of(cls, before: pl.Series, now: pl.Series) -> Self:
        """Match ids: both hold distinct strings, in any order."""
        return cls(rows_of(now, before), len(before))

    @property
    def known(self) -> npt.NDArray[np.bool_]:
        """(n,): rows that were there before."""
        return self.source >= 0

    @property
    def new(self) -> npt.NDArray[np.int64]:
        """Rows of now that were not there before, ascending."""
        return np.flatnonzero(self.source < 0)

    @property
    def target(self) -> npt.NDArray[np.int64]:
        """(n_before,): for each row before its row now, −1 where it is gone."""
        target = np.full(self.n_before, -1, np.int64)
        target[self.source[self.known]] = np.flatnonzero(self.known)
        return target

    def move(self, table: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """The rows (n_before, d) of ``table`` in the order of now, (n, d); zeros where a row is new."""
        moved = np.zeros((len(self.source), table.shape[1]), np.float32)
        moved[self.known] = table[self.source[self.known]]
        return moved

    def counts(self) -> dict[str, int]:
        """How many rows are ``kept``, ``new`` and ``gone``."""
        kept = int(self.known.sum())
        return {"kept": kept, "new": len(self.source) - kept, "gone": self.n_before - kept}


def count_leaked_targets(before: Split, now: Split, users: Rows, items: Rows) -> int:
    """Validation and test pairs of ``now`` by which a model of ``before`` was trained or, for the test, chosen.

    A model that has seen them would be judged by what it knows already. In a later state of the same data, cut by time,
    there are none.
    """

    asked = np.concatenate([_pairs(now.valid), _pairs(now.test)])
    trained, chosen = _moved(before.train, users, items), _moved(before.valid, users, items)
    return int(np.isin(asked, trained).sum() + np.isin(_pairs(now.test), chosen).sum())


def without_leaked_targets(before: Split, now: Split) -> Split:
    """``now`` with a test split on which a model of ``before`` can be judged too: without what it was made of or chosen by.

    In a later state of the same data, cut by time, that is the whole test split; not where the data were split at random
    again. If nothing were left, ``now`` as it is.
    """
    users, items = Rows.of(before.user_ids, now.user_ids), Rows.of(before.item_ids, now.item_ids)
    known = np.concatenate([_moved(before.train, users, items), _moved(before.valid, users, items)])
    kept = ~np.isin(_pairs(now.test), known)
    if kept.all() or not kept.any():
        return now
    test = now.test
    time = None if test.time is None else test.time[kept]
    return replace(now, test=Interactions(test.user[kept], test.item[kept], now.n_users, now.n_items, time))


def _pairs(part: Interactions) -> npt.NDArray[np.int64]:
    return part.user.astype(np.int64) * part.n_items + part.item


def _moved(part: Interactions, users: Rows, items: Rows) -> npt.NDArray[np.int64]:
    """Pairs of an earlier part as pairs of now, without those that are gone."""
    user, item = users.target[part.user], items.target[part.item]
    there = (user >= 0) & (item >= 0)
    return user[there] * len(items.source) + item[there]
