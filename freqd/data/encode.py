"""Ids of any type to dense integers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from freqd.data.ids import sorted_ids
from freqd.data.types import IdArray

_TABLE_SLACK = 8
_TABLE_MIN = 1 << 24


@dataclass(frozen=True, eq=False)
class Codes:
    """A column of ids as dense codes.

    Attributes:
        code: (n,) int32 in [0, len(ids)); -1 where there is no id.
        ids: the distinct ids as strings, by number where all are integers, else by text.
    """

    code: IdArray
    ids: pl.Series


def encode(column: pl.Series) -> Codes:
    """Number the ids of an integer or categorical column.

    The numbering depends on the set of ids only, not on their order, so that the order in which files are read does
    not matter. O(n) where integer ids are dense, else one hash join.
    """
    return _integers(column) if column.dtype.is_integer() else _texts(column)


def _integers(column: pl.Series) -> Codes:
    low, high = column.min(), column.max()
    if low is None or high is None:
        return Codes(np.full(len(column), -1, np.int32), pl.Series("id", [], dtype=pl.String))
    assert isinstance(low, int)
    assert isinstance(high, int)
    span = high - low + 1
    if span <= max(_TABLE_SLACK * len(column), _TABLE_MIN):
        valid = None if column.null_count() == 0 else column.is_not_null().to_numpy()
        offset = (column.fill_null(low) if valid is not None else column).to_numpy()
        offset = offset - np.asarray(low, offset.dtype) if low else offset
        seen = np.zeros(span, np.bool_)
        seen[offset if valid is None else offset[valid]] = True
        table = np.cumsum(seen, dtype=np.int32) - 1
        code: IdArray = table[offset]
        if valid is not None:
            code[~valid] = -1
        ids = pl.Series("id", np.flatnonzero(seen).astype(np.int64) + low)
        return Codes(code, ids.cast(pl.String))
    ids = column.drop_nulls().unique().sort()
    places = pl.DataFrame({"id": ids, "code": np.arange(len(ids), dtype=np.int32)})
    joined = pl.DataFrame({"id": column}).join(places, on="id", how="left", maintain_order="left")
    return Codes(joined["code"].fill_null(-1).to_numpy(), ids.cast(pl.String).rename("id"))


def _texts(column: pl.Series) -> Codes:
    """Texts are cleaned once per distinct id: outer blanks go, and 12.0 (a number that passed through pandas) is 12."""
    distinct = column.drop_nulls().unique()
    cleaned = distinct.cast(pl.String).str.strip_chars().str.replace(r"^(-?\d+)\.0+$", "$1")
    names = sorted_ids(cleaned.filter(cleaned != "").unique().rename("id"))
    places = pl.DataFrame({"id": names, "code": np.arange(len(names), dtype=np.int32)})
    codes = pl.DataFrame({"id": cleaned}).join(places, on="id", how="left", maintain_order="left")["code"]
    physical = distinct.to_physical().to_numpy()
    table = np.full(int(physical.max()) + 2 if len(physical) else 1, -1, np.int32)
    table[physical] = codes.fill_null(-1).to_numpy()
    rows: npt.NDArray[np.uint32] = column.to_physical().fill_null(len(table) - 1).to_numpy()
    code: IdArray = table[rows]
    return Codes(code, names)
