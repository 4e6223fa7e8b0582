"""All interactions as one train split: what a model is refitted on once it has been judged."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import polars as pl

from freqd.data.ids import rows_of, sorted_ids
from freqd.data.info import Counts
from freqd.data.interactions import PARTS, IdArray, Interactions, Split


def everything(split: Split) -> Split:
    """Train, validation, test and the latecomers of ``split`` as train; nothing is left to choose or to judge by.

    Users and items of ``split`` keep their rows; those that only the latecomers have follow in the order of their ids.
    A model of the result has seen all that ``split`` is judged by, so it must never be judged on it, nor be started from.
    """
    late = split.latecomers
    user_ids, late_users = _extended(split.user_ids, late["user"])
    item_ids, late_items = _extended(split.item_ids, late["item"])
    parts = [split.part(name) for name in PARTS]
    times = [part.time.astype(np.int64, copy=False) for part in parts if part.time is not None]
    if len(late) and "time" in late.columns:
        times.append(late["time"].to_numpy())
    train = Interactions(
        np.concatenate([*(part.user for part in parts), late_users]),
        np.concatenate([*(part.item for part in parts), late_items]),
        len(user_ids),
        len(item_ids),
        np.concatenate(times) if split.train.time is not None else None,
    )
    nothing = np.empty(0, np.int32)
    time: npt.NDArray[np.int64] | None = None if train.time is None else np.empty(0, np.int64)
    empty = Interactions(nothing, nothing, len(user_ids), len(item_ids), time)
    info = split.info.model_copy(
        update={
            "cuts": None,
            "kept": Counts(users=len(user_ids), items=len(item_ids), interactions=len(train)),
            "parts": {"train": len(train), "valid": 0, "test": 0},
            "density": len(train) / (len(user_ids) * len(item_ids)),
            "users_without_test": len(user_ids),
        }
    )
    return replace(
        split,
        train=train,
        valid=empty,
        test=empty,
        user_ids=user_ids,
        item_ids=item_ids,
        info=info,
        latecomers=late.clear(),
    )


def _extended(ids: pl.Series, wanted: pl.Series) -> tuple[pl.Series, IdArray]:
    """The ids followed by those of ``wanted`` that are not among them, and the place of each of ``wanted``."""
    new = wanted.filter(pl.Series(rows_of(wanted, ids) < 0, dtype=pl.Boolean)).unique()
    longer = pl.concat([ids, sorted_ids(new).rename(ids.name)])
    return longer, rows_of(wanted, longer).astype(np.int32)
