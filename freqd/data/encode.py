"""Ids of any type to dense integers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from freqd.data.ids import rows_of, sorted_ids
from freqd.data.interactions import IdArray
from freqd.data.timestamps import NULL_WORDS

_TABLE_SLACK = 8
_TABLE_MIN = 1 << 24


@dataclass(frozen=True, eq=False)
class Codes:
    """A column of ids as dense codes.

    Attributes:
        code: (n,) int32 in [0, len(ids)); -1 where there is no id.
        ids: the distinct ids as strings, by number where all are integers, else by text.
        alike: pairs of texts that were taken for one id, such as 12 and 12.0.
        inexact: an id, and how it is written, that has lost digits: 1.2E+12, or 9007199254740993.0; None if there is none.
    """

    code: IdArray
    ids: pl.Series
    alike: tuple[tuple[str, str], ...] = ()
    inexact: tuple[str, str] | None = None


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
        # as int64: in a smaller type the difference to the lowest id may not fit
        offset = (column.fill_null(low) if valid is not None else column).to_numpy()
        offset = offset.astype(np.int64) - low if low else offset
        seen = np.zeros(span, np.bool_)
        seen[offset if valid is None else offset[valid]] = True
        table = np.cumsum(seen, dtype=np.int32) - 1
        code: IdArray = table[offset]
        if valid is not None:
            code[~valid] = -1
        ids = pl.Series("id", np.flatnonzero(seen).astype(np.int64) + low)
        return Codes(code, ids.cast(pl.String))
    ids = column.drop_nulls().unique().sort()
    return Codes(rows_of(column, ids).astype(np.int32), ids.cast(pl.String).rename("id"))


def clean_ids(texts: pl.Series) -> pl.Series:
    """Distinct ids of text as they are meant: without outer blanks, null for a word such as NULL, and 12 for 12.0.

    A column of whole numbers that passed through floating point (pandas, with a value missing) ends in .0 everywhere.
    Where some ids have other digits after a point they are versions or the like, and all stay as they are.
    """
    bare = texts.str.strip_chars().str.strip_prefix(_BOM)  # two files made one have it in their midst
    bare = bare.set(bare.str.to_lowercase().is_in(_MISSING), None)
    dotted = bare.str.contains(r"^-?\d+(\.\d+)+$").fill_null(False)
    floats = bare.str.contains(r"^-?\d+\.0+$").fill_null(False)
    return bare.str.replace(r"^(-?\d+)\.0+$", "$1") if floats.any() and not (dotted & ~floats).any() else bare


def matching_ids(wanted: pl.Series, ids: pl.Series) -> pl.Series:
    """``ids`` as they are, or cleaned by the rule of the interactions' ids where more of ``wanted`` are then among them."""
    cleaned = clean_ids(ids)
    as_they_are, otherwise = (wanted.is_in(form.drop_nulls().implode()).sum() for form in (ids, cleaned))
    return cleaned if otherwise > as_they_are else ids


_BOM = "\ufeff"
_MISSING = [word for word in NULL_WORDS if word != "-"]
_CLEAN = r"^(?:[0-9]+|[0-9A-Za-z_-]{5,})$"
"""Ids that ``clean_ids`` leaves as they are: without blanks and points, and longer than any word for none without them."""


def _texts(column: pl.Series) -> Codes:
    """Texts are cleaned once per distinct id."""
    distinct = column.drop_nulls().unique()
    texts = distinct.cast(pl.String)
    clean = bool(texts.str.contains(_CLEAN).all())
    cleaned = texts if clean else clean_ids(texts)
    names = sorted_ids(cleaned.drop_nulls().unique().rename("id"))
    physical = distinct.to_physical().to_numpy()
    table = np.full(int(physical.max()) + 2 if len(physical) else 1, -1, np.int32)
    table[physical] = rows_of(cleaned, names)
    rows: npt.NDArray[np.uint32] = column.to_physical().fill_null(len(table) - 1).to_numpy()
    code: IdArray = table[rows]
    if clean:
        return Codes(code, names)
    written = texts.str.strip_chars()
    return Codes(code, names, _alike(written, cleaned), _inexact(written, cleaned))


def _inexact(written: pl.Series, cleaned: pl.Series) -> tuple[str, str] | None:
    """The first id that a spreadsheet or a floating point has rounded."""
    rounded = written.str.contains(r"^\d(\.\d+)?[eE]\+\d{2,3}$") | (
        written.str.contains(r"^\d{16,}\.0+$") & (written.cast(pl.Float64, strict=False) >= 2.0**53).fill_null(False)
    )
    place = int(rounded.fill_null(False).arg_max() or 0)
    return (str(cleaned[place]), str(written[place])) if len(rounded) and rounded[place] else None


def _alike(written: pl.Series, cleaned: pl.Series) -> tuple[tuple[str, str], ...]:
    """Texts that differ by more than blanks and were taken for one id."""
    frame = pl.DataFrame({"written": written, "cleaned": cleaned}).drop_nulls().unique()
    if frame.height == frame["cleaned"].n_unique():
        return ()
    groups = frame.sort("written").group_by("cleaned", maintain_order=True).agg("written")
    return tuple((texts[0], texts[1]) for texts in groups["written"] if len(texts) > 1)
