"""Ids of any type to dense integers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from freqd.data.ids import rows_of, sorted_ids
from freqd.data.interactions import IdArray
from freqd.data.timestamps import NULL_WORDS

_TABLE_SLACK = 8
_TABLE_MIN = 1 << 24


@dataclass(frozen=True, eq=False)
class Dictionary:
    """The distinct ids of a side, and which id each way of writing one stands for.

    The numbering depends on the set of ids only, not on their order, so that the order in which files are read does
    not matter.

    Attributes:
        ids: the distinct ids as strings, by number where all are integers, else by text.
        alike: pairs of texts that were taken for one id, such as 12 and 12.0.
        inexact: an id, and how it is written, that has lost digits: 1.2E+12, or 9007199254740993.0; None if there is none.
    """

    ids: pl.Series
    _coded: Callable[[pl.Series], IdArray]
    alike: tuple[tuple[str, str], ...] = ()
    inexact: tuple[str, str] | None = None

    @classmethod
    def of(cls, column: pl.Series) -> Dictionary:
        """Of an integer or categorical column that holds each id at least once."""
        return _of_integers(column) if column.dtype.is_integer() else _of_texts(column)

    def codes(self, column: pl.Series) -> IdArray:
        """(n,) int32: the place in ``ids`` of each of n ids, −1 where there is none. O(n) where integers are dense, else one hash join.

        Args:
            column: (n,) of the type of the column that the dictionary is of, with none but its ids.
        """
        return self._coded(column)


def _of_integers(column: pl.Series) -> Dictionary:
    low, high = column.min(), column.max()
    if low is None or high is None:
        return Dictionary(pl.Series("id", [], dtype=pl.String), lambda rows: np.full(len(rows), -1, np.int32))
    assert isinstance(low, int)
    assert isinstance(high, int)
    span = high - low + 1
    if span > max(_TABLE_SLACK * len(column), _TABLE_MIN):
        ids = column.drop_nulls().unique().sort()
        return Dictionary(ids.cast(pl.String).rename("id"), lambda rows: rows_of(rows, ids).astype(np.int32))
    seen = np.zeros(span, np.bool_)
    seen[_offsets(column.drop_nulls(), low)] = True
    table = np.cumsum(seen, dtype=np.int32) - 1
    named = pl.Series("id", np.flatnonzero(seen).astype(np.int64) + low).cast(pl.String)

    def coded(rows: pl.Series) -> IdArray:
        code: IdArray = table[_offsets(rows.fill_null(low), low)]
        if rows.null_count():
            code[rows.is_null().to_numpy()] = -1
        return code

    return Dictionary(named, coded)


def _offsets(numbers: pl.Series, low: int) -> npt.NDArray[Any]:
    """As int64: in a smaller type the difference to the lowest id may not fit."""
    return numbers.to_numpy().astype(np.int64) - low if low else numbers.to_numpy()


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


def _of_texts(column: pl.Series) -> Dictionary:
    """Texts are cleaned once per distinct id."""
    distinct = column.drop_nulls().unique()
    texts = distinct.cast(pl.String)
    clean = bool(texts.str.contains(_CLEAN).all())
    cleaned = texts if clean else clean_ids(texts)
    names = sorted_ids(cleaned.drop_nulls().unique().rename("id"))
    physical = distinct.to_physical().to_numpy()
    table = np.full(int(physical.max()) + 2 if len(physical) else 1, -1, np.int32)
    table[physical] = rows_of(cleaned, names)

    def coded(rows: pl.Series) -> IdArray:
        place: npt.NDArray[np.uint32] = rows.to_physical().fill_null(len(table) - 1).to_numpy()
        return table[place]

    if clean:
        return Dictionary(names, coded)
    written = texts.str.strip_chars()
    return Dictionary(names, coded, _alike(written, cleaned), _inexact(written, cleaned))


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
