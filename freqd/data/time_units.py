"""Numbers as times: whether they count seconds, milliseconds or days.

Recognised by the unit in which most of a column are plausible times; a column of two units is refused rather than read by one
of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Literal

import polars as pl

from freqd.errors import InputError

ORDINAL_BELOW = 1e8
"""1973 in seconds: smaller numbers count days, weeks or steps."""
USUAL_FROM = date(1990, 1, 1)
"""No earlier time is plausible, unless the settings say so."""
MOST = 0.9
"""Share of a column that has to be plausible in one unit."""
_OTHER_UNIT = 0.005
"""Share of a column that is a unit of its own, rather than a slip, if it is plausible in that one only."""

_UNIX_OF_YEAR_1 = -62_135_596_800
_UNIX_OF_1601 = -11_644_473_600


@dataclass(frozen=True)
class Unit:
    """What numbers may mean.

    Attributes:
        label: in words.
        seconds: from numbers to int64 seconds since 1970.
    """

    label: str
    kind: Literal["epoch", "digits"]
    scale: float = 1.0
    offset: int = 0
    form: str = ""

    def seconds(self, numbers: pl.Series) -> pl.Series:
        """Seconds since 1970 (UTC), null where a number is none of this unit."""
        if self.kind == "digits":
            texts = numbers.cast(pl.Int64, strict=False).cast(pl.String)
            pattern = rf"^\d{{{len(datetime(2000, 1, 1).strftime(self.form))}}}$"
            frame = pl.DataFrame({"text": texts.set(~texts.str.contains(pattern).fill_null(True), None)})
            day = self.form == "%Y%m%d"
            parsed = (
                pl.col("text").str.to_date(self.form, strict=False).cast(pl.Datetime("us"))
                if day
                else (pl.col("text").str.to_datetime(self.form, strict=False, time_unit="us"))
            )
            return frame.select(parsed.dt.epoch("s").cast(pl.Int64))["text"]
        if self.scale == 1.0:
            whole = numbers.floor().cast(pl.Int64, strict=False) if numbers.dtype.is_float() else numbers
        elif self.scale > 1.0 and numbers.dtype.is_integer():
            whole = numbers // int(self.scale)
        else:
            whole = (numbers.cast(pl.Float64) / self.scale).floor().cast(pl.Int64, strict=False)
        return whole + self.offset if self.offset else whole


UNITS = (
    Unit("epoch seconds", "epoch"),
    Unit("epoch milliseconds", "epoch", 1e3),
    Unit("epoch microseconds", "epoch", 1e6),
    Unit(".NET ticks", "epoch", 1e7, _UNIX_OF_YEAR_1),
    Unit("epoch nanoseconds", "epoch", 1e9),
    Unit("Windows file times", "epoch", 1e7, _UNIX_OF_1601),
    Unit("day numbers such as 20170131", "digits", form="%Y%m%d"),
    Unit("numbers such as 201701312359 (YYYYMMDDHHMM)", "digits", form="%Y%m%d%H%M"),
    Unit("numbers such as 20170131235959 (YYYYMMDDHHMMSS)", "digits", form="%Y%m%d%H%M%S"),
)
"""What numbers may mean, the likeliest first: of two that fit equally the earlier one is taken."""


@dataclass(frozen=True)
class Span:
    """Seconds since 1970 between which a time is plausible: from ``low`` on, before ``high``."""

    low: int
    high: int

    @classmethod
    def of(cls, first: date, last: date | None, now: datetime | None = None) -> Span:
        """From the beginning of ``first`` to the end of ``last``, by default of tomorrow."""
        end = last or ((now or datetime.now(UTC)).date() + timedelta(days=1))
        return cls(_midnight(first), _midnight(end) + 86_400)

    def holds(self, seconds: pl.Series) -> pl.Series:
        """(n,) bool: which of them are plausible; a missing one is not."""
        return ((seconds >= self.low) & (seconds < self.high)).fill_null(False)


def _midnight(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())


def numbers_to_seconds(
    numbers: pl.Series, span: Span, name: str, place: str, first: int = 0
) -> tuple[pl.Series, str, bool]:
    """Numbers as seconds since 1970, by the unit in which most of them are plausible.

    Args:
        numbers: (n,) a file's column, or that of all files; nulls are no times.
        span: what is plausible.
        name: of the column.
        place: the file, for messages.
        first: the row of the file, from 0, at which they begin.

    Returns:
        (n,) int64 seconds with nulls where there were some; how they were read, in words; whether they are no dates but
        numbers that only order the interactions.

    Raises:
        InputError: no unit fits, or two do, for different rows.
    """
    if numbers.dtype.is_float():
        numbers = numbers.set(numbers.is_infinite().fill_null(False), None)
    known = numbers.drop_nulls()
    if not len(known):
        return numbers.cast(pl.Int64, strict=False), "", False
    low, high = float(known.min()), float(known.max())  # type: ignore[arg-type]
    # a span that the user made wide may hold the numbers in several units: the usual one decides, if it can
    for among in dict.fromkeys((Span.of(USUAL_FROM, None), span)):
        for unit in UNITS:
            if _all_plausible(unit, among, known):
                return unit.seconds(numbers).cast(pl.Int64), unit.label, False
    positive = known.filter(known > 0) if low <= 0 else known  # 0 and -1 stand for a missing time
    ranked = sorted(((plausible_share(span, unit, positive), unit) for unit in UNITS), key=lambda pair: -pair[0])
    best, unit = ranked[0]
    only = [(plausible_share(span, other, positive, besides=unit), other) for _, other in ranked[1:]]
    second, other = max(only, key=lambda pair: pair[0])
    if best >= MOST and second < _OTHER_UNIT:
        return unit.seconds(numbers).cast(pl.Int64), unit.label, False
    if not len(positive) or high < ORDINAL_BELOW:
        fractions = known.dtype.is_float() and bool(((known > 0) & (known < 1)).any())
        if fractions and low >= 0 and high <= 1:
            raise InputError(
                f"{place}: column '{name}' cannot be the time: all its numbers lie between {low:g} and {high:g}",
                "give times as they were, not scaled to 0..1, or ignore the column with data.columns.time=none",
            )
        return numbers.floor().cast(pl.Int64, strict=False) if numbers.dtype.is_float() else numbers, "", True
    if best + second >= MOST:
        row = int((span.holds(other.seconds(numbers)) & ~span.holds(unit.seconds(numbers))).arg_max() or 0)
        raise InputError(
            f"{place}: column '{name}' mixes {unit.label} ({best:.0%}) with {other.label} ({second:.0%}); the first of the "
            f"latter is {numbers[row]} in row {first + row + 1:,}",
            "write all times in one unit, or ignore the column with data.columns.time=none",
        )
    middle = known.median()
    raise InputError(
        f"{place}: column '{name}' holds numbers that are no times in any unit that freqd knows (epoch s, ms, us or ns, "
        f".NET ticks, YYYYMMDD...): from {known.min()!r} to {known.max()!r}, half of them below {middle!r}",
        "write times as YYYY-MM-DD HH:MM:SS or epoch seconds; if they are right, widen data.min_time and data.max_time; or "
        "ignore the column with data.columns.time=none",
    )


def plausible_share(span: Span, unit: Unit, numbers: pl.Series, besides: Unit | None = None) -> float:
    """Share of the numbers that are plausible times in this unit, and not in the one ``besides`` it."""
    found = span.holds(unit.seconds(numbers))
    if besides is not None:
        found &= ~span.holds(besides.seconds(numbers))
    return float(found.sum()) / max(len(numbers), 1)


def _all_plausible(unit: Unit, span: Span, known: pl.Series) -> bool:
    """Whether the smallest and the greatest number are plausible, and with them all between."""
    ends = pl.Series([known.min(), known.max()], dtype=known.dtype)
    if not span.holds(unit.seconds(ends)).all():
        return False
    return unit.kind == "epoch" or bool(span.holds(unit.seconds(known)).all())
