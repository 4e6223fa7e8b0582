"""A list of users in a file: those for whom something is to be made."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from polars.exceptions import PolarsError

from freqd.data.columns import first_known, guess
from freqd.data.encode import matching_ids
from freqd.data.files import DataFile, check_count, check_layout, unreadable
from freqd.data.ids import rows_of
from freqd.data.interactions import IdArray
from freqd.data.quality import CleaningReport
from freqd.data.recognise import find_files
from freqd.errors import InputError


@dataclass(frozen=True, eq=False)
class UserList:
    """Users of a model that a file names.

    Attributes:
        rows: of the model's users, each once, in the order of the file.
        unknown: ids of the file that are no user of the model.
    """

    rows: IdArray
    unknown: pl.Series


def read_users(pattern: str, user_ids: pl.Series) -> UserList:
    """Read CSV, TSV or Parquet files with a column of users; one with a single column needs no name that says so.

    Args:
        pattern: the files.
        user_ids: (n_users,) the model's, as text; position is the row.

    Raises:
        InputError: a file is missing or damaged, has no column of users, a row has no id, or none is a user of the model.
    """
    files, ledger = find_files(pattern, "table"), CleaningReport()
    parts = [_read(file, ledger) for file in files]
    check_count(files, sum(len(part) for part in parts))
    wanted = pl.concat(parts).unique(maintain_order=True)
    rows = rows_of(matching_ids(user_ids, wanted), user_ids)
    if not (rows >= 0).any():
        theirs, ours = (", ".join(f"'{value}'" for value in ids.head(3)) for ids in (wanted, user_ids))
        raise InputError(
            f"{', '.join(file.label for file in files)}: none of its {len(wanted):,} users is one of the model (its ids are such as {theirs}, "
            f"those of the model {ours})",
            "name users with the ids of the interactions that the model was made of",
        )
    return UserList(rows[rows >= 0].astype(np.int32), wanted.filter(pl.Series(rows < 0)))


def _read(file: DataFile, ledger: CleaningReport) -> pl.Series:
    names = file.schema().names()
    file.check_rows()
    check_layout(file, ledger)
    column = names[0] if len(names) == 1 else guess("user", names) or first_known(("id",), names)
    if column is None:
        raise InputError(
            f"{file.label}: no column looks like the user; its columns are {', '.join(map(repr, names[:30]))}",
            "call the column user",
        )
    text = pl.col(column).cast(pl.String, strict=False).str.strip_chars()
    try:
        ids = file.scan().select(pl.when(text != "").then(text).alias("user")).collect()["user"]
    except (PolarsError, pl.exceptions.PanicException) as error:
        raise unreadable(file, error) from error
    if ids.null_count():
        raise InputError(
            f"{file.label}: row {int(ids.is_null().arg_max() or 0) + 1:,} (the header not counted) has no user in column '{column}'",
            "give every row a user, or take that row out",
        )
    return ids
