"""Rows to distinct pairs: rules 1 and 2 of ``freqd.data.ingest``, and what seems wrong with the ids."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import numpy.typing as npt
import polars as pl

from freqd.config import DataConfig
from freqd.data.encode import Codes, encode
from freqd.data.ids import Side
from freqd.data.info import How
from freqd.data.interactions import PARTS, IdArray, Part
from freqd.data.pairs import Pairs, distinct
from freqd.data.quality import CleaningReport
from freqd.data.scan import RawRows
from freqd.errors import InputError
from freqd.pseudonym import shape

BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class CleanPairs:
    """Distinct pairs over provisional codes, and what the codes mean."""

    pairs: Pairs
    user_ids: pl.Series
    item_ids: pl.Series


def clean(rows: RawRows, config: DataConfig, how: How, ledger: CleaningReport) -> CleanPairs:
    """Number the ids, drop rows that cannot be used, and count each pair once.

    Raises:
        InputError: nothing is left, all rows are one pair, or ids have lost digits.
    """
    frame = rows.frame
    users, items = encode(frame["user"]), encode(frame["item"])
    keepers = _good_rows(users.code, items.code, config, rows, ledger)
    part = frame["part"].to_numpy() if how == "given" else None
    seconds = None if rows.times is None else rows.times.seconds.fill_null(0).to_numpy()
    user, item = users.code, items.code
    if keepers is not None:
        user, item = user[keepers], item[keepers]
        part = None if part is None else part[keepers]
        seconds = None if seconds is None else seconds[keepers]
    pairs, repeated, overlap = distinct(user, item, (len(users.ids), len(items.ids)), part=part, time=seconds)
    ledger.drop("repeats a pair (counted once, at its earliest time)", repeated, "none needed: a pair counts once")
    overlaps: tuple[tuple[Part, str], ...] = (("valid", "train"), ("test", "train or valid"))
    for later, earlier in overlaps:
        ledger.drop(
            f"{later} pair that {earlier} holds as well",
            int(overlap[PARTS.index(later)]),
            "none needed; check how the parts were made, for the test would be too easy",
        )
    sides: tuple[tuple[Side, Codes], ...] = (("user", users), ("item", items))
    for side, found in sides:
        _warn_of_mixed_ids(side, found.code, found.ids, rows, ledger)
        _refuse_inexact(side, found, rows)
        if found.alike:
            one, other = found.alike[0]
            ledger.warnings.append(
                f"{len(found.alike):,} {side} ids are written in two ways, for example {_told(side, one)} and "
                f"{_told(side, other)}, and taken for the same; if they are not, write them with a letter in front"
            )
    _require_variety(pairs, len(user), ledger)
    return CleanPairs(pairs, users.ids, items.ids)


def _good_rows(
    user: IdArray, item: IdArray, config: DataConfig, rows: RawRows, ledger: CleaningReport
) -> BoolArray | None:
    """(n,) bool of the rows to keep, or None if all are good; a row is counted under its first reason."""
    good: BoolArray | None = None

    def drop(bad: BoolArray, reason: str, remedy: str) -> None:
        nonlocal good
        fresh = bad if good is None else bad & good
        count = int(np.count_nonzero(fresh))
        if count == 0:
            return
        ledger.drop(reason, count, remedy)
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
        if times.odd is not None:
            reason = f"time in column '{columns.time}' before {config.min_time} or in the future, the first of them {times.example}"
            drop(times.odd.to_numpy(), reason, "if they are right, widen data.min_time and data.max_time")
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
    if good is not None:
        worst = max(ledger.dropped, key=lambda dropped: dropped.rows)
        ledger.require(int(np.count_nonzero(good)), "no interaction is left after cleaning", worst.remedy)
    return good


def _warn_of_mixed_ids(side: str, codes: IdArray, ids: pl.Series, rows: RawRows, ledger: CleaningReport) -> None:
    """A few texts among thousands of numbers are often a repeated header or a footer."""
    numeric = ids.str.contains(r"^-?\d+$")
    odd = int((~numeric).sum())
    if 0 < odd <= len(ids) // 20:
        code = int(np.flatnonzero(~numeric.to_numpy())[0])
        place = rows.place(int(np.flatnonzero(codes == code)[0]))
        ledger.warnings.append(
            f"{odd:,} of {len(ids):,} {side} ids are not numbers while the others are; "
            f"for example {_told(side, ids[code])} in {place}"
        )


def _refuse_inexact(side: Side, codes: Codes, rows: RawRows) -> None:
    """Raise ``InputError`` if ids went through a spreadsheet or a floating point that merged several to one."""
    if codes.inexact is None:
        return
    text, written = codes.inexact
    place = rows.place(int(np.flatnonzero(codes.code == int((codes.ids == text).arg_max() or 0))[0]))
    raise InputError(
        f"{place} has {written!r} in column '{rows.columns.user if side == 'user' else rows.columns.item}': digits of that id were "
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
