"""Rows to distinct pairs: rules 1 and 2 of ``freqd.data.ingest``, and what seems wrong with the ids."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from freqd.config import DataConfig
from freqd.data.encode import Dictionary
from freqd.data.ids import Side
from freqd.data.info import How
from freqd.data.interactions import PARTS, IdArray, Part
from freqd.data.pairs import Pairs, PairsInMaking, PartArray, TimeArray, distinct
from freqd.data.quality import CleaningReport
from freqd.data.scan import RawRows, Reading, portions
from freqd.errors import InputError
from freqd.progress import Progress, silent
from freqd.pseudonym import shape

BoolArray = npt.NDArray[np.bool_]
GIB = 1 << 30
ROW_BYTES = 60
"""Of memory that a row takes at the peak while it is read and cleaned."""
KEPT_BYTES = 14
"""Of memory that a row takes from when it is read until the split is made, where rows are read some after the others."""
LEAST_ROWS = 1_000_000
"""That are read at a time, however little memory there is."""


@dataclass(frozen=True, eq=False)
class CleanPairs:
    """Distinct pairs over provisional codes, and what the codes mean."""

    pairs: Pairs
    user_ids: pl.Series
    item_ids: pl.Series


def clean(
    reading: Reading,
    config: DataConfig,
    how: How,
    ledger: CleaningReport,
    memory: int | None = None,
    progress: Progress = silent,
) -> CleanPairs:
    """Read the rows, number the ids, drop rows that cannot be used, and count each pair once.

    Args:
        reading: the files.
        config: the settings.
        how: how the data are split.
        ledger: takes what was read and dropped, and warnings.
        memory: bytes that may be taken meanwhile; None: as many as it takes.
        progress: called with the share that is done.

    Raises:
        InputError: rows cannot be read, nothing is left, all rows are one pair, ids have lost digits, or the memory is too little.
    """
    lengths = [] if memory is None else reading.lengths()
    if memory is None or sum(lengths) * ROW_BYTES <= memory:
        progress(0.05, "reading")
        rows = reading.read(reading.whole())
        reading.judge()
        progress(0.4, f"cleaning {ledger.rows_read:,} rows")
        users, items = Dictionary.of(rows.frame["user"]), Dictionary.of(rows.frame["item"])
        good = _good_rows(rows, users, items, config, how, ledger)
        del rows
        _require_some(len(good.user), ledger)
        count, sizes = len(good.user), (len(users.ids), len(items.ids))
        found = distinct(good.user, good.item, sizes, part=good.part, time=good.time)
        del good
    else:
        users, items, making = _dictionaries(reading, how, sum(lengths), memory, progress)
        count = 0
        for rows in _in_portions(reading, lengths, memory, progress):
            good = _good_rows(rows, users, items, config, how, ledger)
            making.add(*good)
            count += len(good.user)
            del rows, good
        reading.judge()
        _require_some(count, ledger)
        found = making.finish()
    pairs, repeated, overlap = found
    ledger.drop("repeats a pair (counted once, at its earliest time)", repeated, "none needed: a pair counts once")
    overlaps: tuple[tuple[Part, str], ...] = (("valid", "train"), ("test", "train or valid"))
    for later, earlier in overlaps:
        ledger.drop(
            f"{later} pair that {earlier} holds as well",
            int(overlap[PARTS.index(later)]),
            "none needed; check how the parts were made, for the test would be too easy",
        )
    sides: tuple[tuple[Side, Dictionary], ...] = (("user", users), ("item", items))
    for side, known in sides:
        _warn_of_mixed_ids(side, known.ids, reading, ledger)
        _refuse_inexact(side, known, reading)
        if known.alike:
            one, other = known.alike[0]
            ledger.warnings.append(
                f"{len(known.alike):,} {side} ids are written in two ways, for example {_told(side, one)} and "
                f"{_told(side, other)}, and taken for the same; if they are not, write them with a letter in front"
            )
    _require_variety(pairs, count, ledger)
    return CleanPairs(pairs, users.ids, items.ids)


def _dictionaries(
    reading: Reading, how: How, rows: int, memory: int, progress: Progress
) -> tuple[Dictionary, Dictionary, PairsInMaking]:
    """The ids of all rows, and room for the pairs of each user.

    Raises:
        InputError: the memory does not hold the pairs.
    """
    needed = rows * KEPT_BYTES
    if needed > memory:
        raise InputError(
            f"{rows:,} rows take {needed / GIB:.1f} GiB of memory while they are read, {memory / GIB:.1f} are there (data.memory_gb)",
            "raise data.memory_gb, or read them on a machine with more memory",
        )
    progress(0.05, f"counting the users and items of {rows:,} rows")
    found = reading.ids("user")
    users = Dictionary.of(found["user"])
    code = users.codes(found["user"])
    rows_of = np.bincount(code[code >= 0], found["rows"].to_numpy()[code >= 0], len(users.ids)).astype(np.int64)
    del found, code
    items = Dictionary.of(reading.ids("item")["item"])
    time = None if reading.times is None else np.int32
    return users, items, PairsInMaking(rows_of, len(items.ids), parted=how == "given", time=time)


def _in_portions(reading: Reading, lengths: list[int], memory: int, progress: Progress) -> Iterator[RawRows]:
    """All rows, so many at a time as there is memory for beside the pairs."""
    total, done = sum(lengths), 0
    at_a_time = max((memory - total * KEPT_BYTES) // ROW_BYTES, LEAST_ROWS)
    for pieces in portions(reading.plans, lengths, at_a_time):
        progress(0.1 + 0.4 * done / total, f"reading: {done:,} of {total:,} rows")
        yield reading.read(pieces)
        done += sum(piece.rows or 0 for piece in pieces)


class _Good(NamedTuple):
    """Rows that can be used: (n,) each."""

    user: IdArray
    item: IdArray
    part: PartArray | None
    time: TimeArray | None


def _good_rows(
    rows: RawRows, users: Dictionary, items: Dictionary, config: DataConfig, how: How, ledger: CleaningReport
) -> _Good:
    """The rows to keep; one that is dropped is counted under its first reason."""
    user, item = users.codes(rows.frame["user"]), items.codes(rows.frame["item"])
    part = rows.frame["part"].to_numpy() if how == "given" else None
    seconds = None if rows.times is None else rows.times.seconds.fill_null(0).to_numpy()
    good: BoolArray | None = None

    def drop(bad: BoolArray, reason: str, remedy: str, check: str | None = None) -> None:
        nonlocal good
        fresh = bad if good is None else bad & good
        count = int(np.count_nonzero(fresh))
        ledger.drop(reason, count, remedy, check)
        if count:
            good = ~bad if good is None else good & ~bad

    columns = rows.columns
    missing = "empty, or a word such as NULL"
    drop(user < 0, f"no user in column '{columns.user}' ({missing})", "fill the column, or leave anonymous rows out")
    drop(item < 0, f"no item in column '{columns.item}' ({missing})", "fill the column")
    if (times := rows.times) is not None:
        drop(
            times.seconds.is_null().to_numpy(),
            f"time missing or unreadable in column '{columns.time}'",
            "fill the column, or set data.columns.time=none to do without time",
        )
        reason = f"time in column '{columns.time}' before {config.min_time} or in the future, the first of them {times.example}"
        odd = np.zeros(len(user), np.bool_) if times.odd is None else times.odd.to_numpy()
        drop(odd, reason, "if they are right, widen data.min_time and data.max_time", "odd times")
        if config.as_of is not None:
            end = datetime.combine(config.as_of, datetime.min.time(), UTC) + timedelta(days=1)
            drop(
                (times.seconds >= int(end.timestamp())).fill_null(False).to_numpy(),
                f"after {config.as_of} (data.as_of)",
                "set a later data.as_of, in a backfill a later first date",
            )
    if "heavy" in rows.frame.columns:
        reason = f"weight in column '{columns.weight}' missing or below {config.min_weight:g} (data.min_weight)"
        drop((~rows.frame["heavy"]).to_numpy(), reason, "set a lower data.min_weight")
    if good is None:
        return _Good(user, item, part, seconds)
    return _Good(
        user[good], item[good], None if part is None else part[good], None if seconds is None else seconds[good]
    )


def _require_some(rows: int, ledger: CleaningReport) -> None:
    if rows == 0:
        worst = max(ledger.dropped, key=lambda dropped: dropped.rows)
        ledger.require(rows, "no interaction is left after cleaning", worst.remedy)


def _warn_of_mixed_ids(side: Side, ids: pl.Series, reading: Reading, ledger: CleaningReport) -> None:
    """A few texts among thousands of numbers are often a repeated header or a footer."""
    numeric = ids.str.contains(r"^-?\d+$")
    odd = int((~numeric).sum())
    if 0 < odd <= len(ids) // 20:
        text = ids[int(np.flatnonzero(~numeric.to_numpy())[0])]
        ledger.warnings.append(
            f"{odd:,} of {len(ids):,} {side} ids are not numbers while the others are; "
            f"for example {_told(side, text)} in {reading.find(side, text)}"
        )


def _refuse_inexact(side: Side, known: Dictionary, reading: Reading) -> None:
    """Raise ``InputError`` if ids went through a spreadsheet or a floating point that merged several to one."""
    if known.inexact is None:
        return
    _, written = known.inexact
    raise InputError(
        f"{reading.find(side, written)} has {written!r} in column "
        f"'{reading.columns.user if side == 'user' else reading.columns.item}': digits of that id were "
        f"lost before the file was written, so {side}s may be merged already",
        "write the ids as texts or integers where the file is made (in a spreadsheet: format the column as text before it is "
        "filled); if they are meant so, put a letter in front",
    )


def _told(side: str, identity: str) -> str:
    """An id in a message: an item's as it is, of a user's how it is built."""
    return repr(identity if side == "item" else shape(identity))


def _require_variety(pairs: Pairs, rows: int, ledger: CleaningReport) -> None:
    n_users, n_items = (int(there.sum()) for there in pairs.present())
    if len(pairs) == 1 and rows > 1:
        raise InputError(
            f"all {rows:,} rows are the same (user, item) pair: duplicates only ({ledger.history()})",
            "check that data.columns.user and data.columns.item name the right columns",
        )
    for count, role, other in ((n_users, "user", "users"), (n_items, "item", "items")):
        if count < 2:
            raise InputError(
                f"there is only one {role} in {rows:,} rows ({ledger.history()})",
                f"give interactions of many {other}; check that data.columns.{role} names the right column",
            )
