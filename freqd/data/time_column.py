"""The column of times: of all files, as seconds, with what is missing, unreadable or implausible found and reported."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl
from polars.exceptions import PolarsError

from freqd.data.files import DataFile, unreadable
from freqd.data.plan import SAMPLE, Piece, Plan, shown
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
    """The times of rows that were read together.

    Attributes:
        seconds: (n,) int64 seconds since 1970 (UTC); null where a time is missing or unreadable.
        odd: (n,) bool, true where a time is not plausible; None if all are.
        example: an implausible time and its place, in words, as soon as there is one.
    """

    seconds: pl.Series
    odd: pl.Series | None = None
    example: str = ""


@dataclass(frozen=True, eq=False)
class Origin:
    """Where the times of rows that were read together come from.

    Attributes:
        pieces: of files.
        name: of the column.
        starts: (pieces + 1,) the row at which each piece begins, and the number of rows.
    """

    pieces: Sequence[Piece]
    name: str
    starts: IntArray

    def parts(self) -> Iterator[tuple[Piece, int, int]]:
        """Each piece, its first row and the one after its last."""
        return zip(self.pieces, self.starts[:-1], self.starts[1:], strict=True)


def read_left_times(times: pl.Series, left: pl.Series, origin: Origin) -> pl.Series:
    """(n,) times, with those read in all their forms that the quick reading left out.

    Args:
        times: (n,) as read quickly.
        left: (n,) bool, true where that found no time.
        origin: where the times come from.
    """
    parts = []
    for piece, first, last in origin.parts():
        part, lacking = times.slice(first, last - first), left.slice(first, last - first)
        if piece.plan.time is not None and lacking.any():
            rows = pl.Series(np.flatnonzero(lacking.to_numpy()))
            texts = piece.scan().select(origin.name).collect(engine="streaming")[rows]
            part = part.scatter(rows, texts.select(piece.plan.time.value.cast(part.dtype)).to_series())
        parts.append(part)
    return pl.concat(parts)


class Times:
    """Reads the times of some rows after the others, and judges them once all are there.

    Args:
        plans: of all files.
        name: of the column.
        span: what is plausible.
    """

    def __init__(self, plans: Sequence[Plan], name: str, span: Span) -> None:
        self.plans, self.name, self.span = plans, name, span
        self.rows = self.missing = self.odd = 0
        self.example, self._odd_file = "", ""
        self._read: dict[int, tuple[str, bool]] = {}
        """By the plan's ``id``: how its times were read, and whether they only order the interactions."""

    @property
    def read_as(self) -> str:
        """How they were read, in words; empty if they are no dates."""
        return "" if self.ordinal else " and ".join(dict.fromkeys(label for label, _ in self._read.values()))

    @property
    def ordinal(self) -> bool:
        """Whether they are no dates but numbers that only order the interactions."""
        return any(ordinal for _, ordinal in self._read.values())

    def read(self, times: pl.Series, origin: Origin) -> TimeColumn:
        """Numbers become seconds, and what is no plausible time is marked.

        Args:
            times: (n,) seconds, or numbers whose unit is to be found.
            origin: where they come from.

        Raises:
            InputError: numbers are in no unit, or in two.
        """
        parts = [self._seconds(times.slice(first, last - first), piece) for piece, first, last in origin.parts()]
        seconds = parts[0] if len(parts) == 1 else pl.concat(parts)
        self.rows += len(seconds)
        self.missing += seconds.null_count()
        low, high = seconds.min(), seconds.max()
        if self.ordinal or low is None or (self.span.low <= int(low) and int(high) < self.span.high):  # type: ignore[arg-type]
            return TimeColumn(seconds, example=self.example)
        return self._with_odd(seconds, origin)

    def _seconds(self, part: pl.Series, piece: Piece) -> pl.Series:
        form, label = piece.plan.time, piece.plan.file.label
        assert form is not None
        read_as, ordinal = form.label, False
        if form.numbers:
            part, read_as, ordinal = numbers_to_seconds(part, self.span, self.name, label, piece.first)
        elif part.dtype != pl.Int64:
            part = part.cast(pl.Int64)
        if part.null_count() < len(part):
            known = self._read.setdefault(id(piece.plan), (read_as, ordinal))
            if known != (read_as, ordinal):
                raise InputError(
                    f"{label}: column '{self.name}' holds {known[0] or 'small numbers'} up to row {piece.first:,} and "
                    f"{read_as or 'small numbers'} after it",
                    "write all times in one unit, or ignore the column with data.columns.time=none",
                )
        return part

    def _with_odd(self, seconds: pl.Series, origin: Origin) -> TimeColumn:
        """Mark the times that are not plausible."""
        odd = ~self.span.holds(seconds) & seconds.is_not_null()
        self.odd += int(odd.sum())
        if not self.example:
            row = int(odd.arg_max() or 0)
            which = int(np.searchsorted(origin.starts, row, side="right")) - 1
            piece, place = origin.pieces[which], row - int(origin.starts[which])
            value = piece.scan().select(self.name).slice(place, 1).collect()[self.name]
            self._odd_file = piece.plan.file.label
            self.example = f"{repr(shown(value)) if len(value) else '?'} in row {piece.first + place + 1:,}"
        return TimeColumn(seconds, odd, self.example)

    def judge(self, ledger: CleaningReport) -> None:
        """See, now that all rows are read, that times can be used; warn of those that are missing or no dates.

        Raises:
            InputError: too many times are missing, unreadable or implausible, or they are of two kinds.
        """
        if self.missing:
            self._check_missing(ledger)
            _refuse_rivals(self.plans, self.name)
        if self.ordinal:
            if not all(ordinal for _, ordinal in self._read.values()):
                raise InputError(
                    f"column '{self.name}' holds dates in some files and small numbers in others",
                    "write all times in one way, or ignore the column with data.columns.time=none",
                )
            ledger.warnings.append(
                f"column '{self.name}' holds small numbers, not dates: it orders the interactions, "
                "but the times shown for the cuts mean nothing"
            )
        elif self.odd > _UNREADABLE_TIMES * self.rows:
            raise InputError(
                f"{self._odd_file}: {self.odd:,} of {self.rows:,} times in column '{self.name}' (read as {self.read_as}) lie before "
                f"{iso(self.span.low)[:10]} or after {iso(self.span.high - 1)[:10]}; the first is {self.example}",
                "if they are right, widen data.min_time and data.max_time; if they stand for a missing time, leave those rows out; or "
                "set data.columns.time=none",
            )

    def _check_missing(self, ledger: CleaningReport) -> None:
        """Raise ``InputError`` if most times are missing or many are unreadable; single ones are dropped later."""
        missing, name = self.missing, self.name
        if missing <= _UNREADABLE_TIMES * self.rows:
            return
        for plan in self.plans:
            assert plan.time is not None
            raw = pl.col(name)
            there = ~absent(raw) if plan.file.schema()[name] == pl.String else raw.is_not_null()
            if (hit := plan.locate(name, there & plan.time.value.is_null())) is not None:
                row, value = hit
                raise InputError(
                    f"{plan.file.label}: {missing:,} of {self.rows:,} times in column '{name}' cannot be read; "
                    f"the first is {value!r} in row {row:,} (most look like {plan.time.label})",
                    "write times in one form, such as YYYY-MM-DD HH:MM:SS, or set data.columns.time=none",
                )
        if missing == self.rows:
            raise InputError(
                f"column '{name}' holds no time at all", "name another column with data.columns.time, or set it to none"
            )
        if missing > _MISSING_TIMES * self.rows:
            raise InputError(
                f"{missing:,} of {self.rows:,} rows have no time in column '{name}'",
                "set data.columns.time=none to do without times, or leave out the rows that have none",
            )
        ledger.warnings.append(
            f"{missing:,} of {self.rows:,} rows ({missing / self.rows:.0%}) have no time in column '{name}' and are dropped: "
            "data.columns.time=none would keep them"
        )


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
