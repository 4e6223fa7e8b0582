"""Stable numbering of ids over runs."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import polars as pl
from filelock import FileLock
from polars.exceptions import PolarsError

from freqd.errors import InputError
from freqd.storage.files import replacing, storage_error

Side = Literal["user", "item"]


def sorted_ids(ids: pl.Series) -> pl.Series:
    """Ids in order: by number where all are integers (equal numbers such as 7 and 007 by text), else by text."""
    numbers = ids.cast(pl.Int64, strict=False)
    if numbers.null_count() == 0:
        return pl.DataFrame({"number": numbers, "id": ids}).sort("number", "id")["id"]
    return ids.sort()


def rows_of(wanted: pl.Series, ids: pl.Series) -> npt.NDArray[np.int64]:
    """(n,) int64: the row of each of n wanted ids among m others, −1 where it is not there or null. O(n + m), a hash join.

    Args:
        wanted: (n,) ids.
        ids: (m,) distinct ids of the same type; nulls do not count.
    """
    rows = pl.DataFrame({"id": ids}).with_row_index("row")
    found = pl.DataFrame({"id": wanted}).join(rows, on="id", how="left", maintain_order="left")["row"]
    return found.cast(pl.Int64).fill_null(-1).to_numpy()


class IdRegistry:
    """All ids that any run has kept, in the order in which they were first seen.

    A run numbers its users and items by their order here, so that an id that was known before never moves past another:
    features of an earlier run line up with those of a later one. The registry only grows. Two runs may share it: an
    update holds a lock, and the file is replaced as a whole.

    Args:
        path: folder of the registry; made when first written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def known(self, side: Side) -> pl.Series:
        """All ids of a side, in their order.

        Raises:
            InputError: the registry's file is damaged.
        """
        file = self.path / f"{side}s.parquet"
        if not file.is_file():
            return pl.Series("id", [], dtype=pl.String)
        try:
            return pl.read_parquet(file)["id"]
        except (PolarsError, pl.exceptions.PanicException) as error:
            raise InputError(
                f"the id registry {file} is damaged", "restore it from a backup, or delete it to number ids anew"
            ) from error

    def order(self, side: Side, ids: pl.Series) -> npt.NDArray[np.int64]:
        """Positions of ``ids`` (n distinct strings) in the registry, (n,) int64; unknown ids are appended, sorted.

        Raises:
            InputError: the registry cannot be read or written.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            with FileLock(self.path / ".lock"):
                known = self.known(side)
                new = ids.filter(pl.Series(rows_of(ids, known) < 0))
                if len(new):
                    known = pl.concat([known, sorted_ids(new.rename("id"))])
                    self._replace(side, known)
        except OSError as error:
            raise storage_error(error, self.path) from error
        return rows_of(ids, known)

    def _replace(self, side: Side, ids: pl.Series) -> None:
        with replacing(self.path / f"{side}s.parquet") as made:
            pl.DataFrame({"id": ids}).write_parquet(made, statistics=False)
