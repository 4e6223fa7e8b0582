"""The column of times: of all files, as seconds, with what is missing, unreadable or implausible found and reported."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import polars as pl
from polars.exceptions import PolarsError

from freqd.data.files import DataFile, unreadable
from freqd.data.plan import SAMPLE, Plan, shown
from freqd.data.quality import CleaningReport
from freqd.data.splits import iso
from freqd.data.time_units import Span, numbers_to_seconds
from freqd.data.timestamps import absent, looks_like_times
from freqd.errors import InputError

_UNREADABLE_TIMES = 0.1
"""Share of the times that may be unreadable or implausible: those rows are dropped and counted."""
_MISSING_TIMES = 0.5
"""Share of the times that may be missing."""
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class TimeColumn:
    """The times of all rows.

    Attributes:
        seconds: (n,) int64 seconds since 1970 (UTC); null where a time is missing or unreadable.
        read_as: how they were read, in words.
        ordinal: whether they are no dates but numbers that only order the interactions.
        odd: (n,) bool, true where a time is not plausible; None if all are.
        example: an implausible time and its place, in words; empty if there is none.
    """

    seconds: pl.Series
    read_as: str
    ordinal: bool = False
    odd: pl.Series | None = None
    example: str = ""


@dataclass(frozen=True, eq=False)
class Origin:
    """Where the times of all rows come from.

    Attributes:
        plans: of the files.
        name: of the column.
        starts: (files + 1,) the row at which each file begins, and the number of rows.
    """

    plans: Sequence[Plan]
    name: str
    starts: IntArray

    def files(self) -> Iterator[tuple[Plan, int, int]]:
        """Each file's plan, its first row and the one after its last."""
        return zip(self.plans, self.starts[:-1], self.starts[1:], strict=True)


def read_left_times(times: pl.Series, left: pl.Series, origin: Origin) -> pl.Series:
    """(n,) times, with those read in all their forms that the quick reading left out.

    Args:
        times: (n,) as read quickly.
        left: (n,) bool, true where that found no time.
        origin: where the times come from.
    """
    parts = []
    for plan, first, last in origin.files():
        part, lacking = times.slice(first, last - first), left.slice(first, last - first)
        if plan.time is not None and lacking.any():
            rows = pl.Series(np.flatnonzero(lacking.to_numpy()))
            texts = plan.file.scan().select(origin.name).collect(engine="streaming")[rows]
            part = part.scatter(rows, texts.select(plan.time.value.cast(part.dtype)).to_series())
        parts.append(part)
    return pl.concat(parts)


def read_times(times: pl.Series, origin: Origin, span: Span, ledger: CleaningReport) -> TimeColumn:
    """Numbers become seconds, and what is no plausible time is marked.

    Args:
        times: (n,) seconds, or numbers whose unit is to be found.
        origin: where they come from.
        span: what is plausible.
        ledger: takes warnings.

    Raises:
        InputError: too many times are missing, unreadable or implausible, or they are of two kinds.
    """
    plans, name = origin.plans, origin.name
    parts, labels, ordinals = [], [], []
    for plan, first, last in origin.files():
        assert plan.time is not None
        part, label, ordinal = times.slice(first, last - first), plan.time.label, False
        if plan.time.numbers:
            part, label, ordinal = numbers_to_seconds(part, span, name, plan.file.label)
        elif part.dtype != pl.Int64:
            part = part.cast(pl.Int64)
        parts.append(part)
        if part.null_count() < len(part):
            labels.append(label)
            ordinals.append(ordinal)
    seconds = parts[0] if len(parts) == 1 else pl.concat(parts)
    if seconds.null_count():
        _check_missing(seconds, plans, name, ledger)
        _refuse_rivals(plans, name)
    if any(ordinals):
        if not all(ordinals):
            raise InputError(
                f"column '{name}' holds dates in some files and small numbers in others",
                "write all times in one way, or ignore the column with data.columns.time=none",
            )
        ledger.warnings.append(
            f"column '{name}' holds small numbers, not dates: it orders the interactions, "
            "but the times shown for the cuts mean nothing"
        )
        return TimeColumn(seconds, "numbers in order, not dates", ordinal=True)
    read_as = " and ".join(dict.fromkeys(labels))
    low, high = seconds.min(), seconds.max()
    if low is None or (span.low <= int(low) and int(high) < span.high):  # type: ignore[arg-type]
        return TimeColumn(seconds, read_as)
    return _with_odd(TimeColumn(seconds, read_as), origin, span)


def _with_odd(found: TimeColumn, origin: Origin, span: Span) -> TimeColumn:
    """Mark the times that are not plausible.

    Raises:
        InputError: they are too many.
    """
    seconds, plans, name, starts = found.seconds, origin.plans, origin.name, origin.starts
    odd = ~span.holds(seconds) & seconds.is_not_null()
    row = int(odd.arg_max() or 0)
    which = next(place for place in range(len(starts) - 1) if row < starts[place + 1])
    plan, row = plans[which], row - int(starts[which])
    value = plan.file.scan().select(name).slice(row, 1).collect()[name]
    example = f"{repr(shown(value)) if len(value) else '?'} in row {row + 1:,}"
    count = int(odd.sum())
    if count > _UNREADABLE_TIMES * len(seconds):
        raise InputError(
            f"{plan.file.label}: {count:,} of {len(seconds):,} times in column '{name}' (read as {found.read_as}) lie before "
            f"{iso(span.low)[:10]} or after {iso(span.high - 1)[:10]}; the first is {example}",
            "if they are right, widen data.min_time and data.max_time; if they stand for a missing time, leave those rows out; or "
            "set data.columns.time=none",
        )
    return replace(found, odd=odd, example=example)


def _refuse_rivals(plans: Sequence[Plan], name: str) -> None:
    """Raise ``InputError`` if a time that could not be read is one in another form: the rows are of two kinds."""
    for plan in plans:
        if plan.time is None or plan.time.rivals is None:
            continue
        raw = pl.col(name)
        rows = plan.file.scan().select(raw, value=plan.time.value).with_row_index("row", offset=1)
        left = rows.filter(~absent(raw) & pl.col("value").is_null()).collect(engine="streaming")
        other = left.filter(plan.time.rivals).head(1)
        if other.height:
            raise InputError(
                f"{plan.file.label}: row {other['row'][0]:,} (the header not counted) has {shown(other[name])!r} in column "
                f"'{name}', a date in another form than the others ({plan.time.label})",
                "write all dates as YYYY-MM-DD, or set data.columns.time=none",
            )


def _check_missing(times: pl.Series, plans: Sequence[Plan], name: str, ledger: CleaningReport) -> None:
    """Raise ``InputError`` if most times are missing or many are unreadable; single ones are dropped later."""
    missing = times.null_count()
    if missing <= _UNREADABLE_TIMES * len(times):
        return
    for plan in plans:
        assert plan.time is not None
        raw = pl.col(name)
        there = ~absent(raw) if plan.file.schema()[name] == pl.String else raw.is_not_null()
        if (hit := plan.locate(name, there & plan.time.value.is_null())) is not None:
            row, value = hit
            raise InputError(
                f"{plan.file.label}: {missing:,} of {len(times):,} times in column '{name}' cannot be read; "
                f"the first is {value!r} in row {row:,} (most look like {plan.time.label})",
                "write times in one form, such as YYYY-MM-DD HH:MM:SS, or set data.columns.time=none",
            )
    if missing == len(times):
        raise InputError(
            f"column '{name}' holds no time at all", "name another column with data.columns.time, or set it to none"
        )
    if missing > _MISSING_TIMES * len(times):
        raise InputError(
            f"{missing:,} of {len(times):,} rows have no time in column '{name}'",
            "set data.columns.time=none to do without times, or leave out the rows that have none",
        )
    ledger.warnings.append(
        f"{missing:,} of {len(times):,} rows ({missing / len(times):.0%}) have no time in column '{name}' and are dropped: "
        "data.columns.time=none would keep them"
    )


def warn_of_unused_times(file: DataFile, used: set[str | None], span: Span, ledger: CleaningReport) -> None:
    """A column of times that nobody named would have been the better way to split."""
    try:
        sample = file.scan().head(SAMPLE).collect()
    except (PolarsError, pl.exceptions.PanicException) as error:
        raise unreadable(file, error) from error
    for name in sample.columns:
        if name not in used and looks_like_times(sample[name].drop_nulls(), name, span):
            ledger.warnings.append(
                f"column '{name}' looks like times and is not used, so the split cannot be by time: name it with "
                f"data.columns.time={name}, or say with data.columns.time=none that there are none"
            )
            return
