"""Times in whatever form they come, to whole seconds since 1970 (UTC).

Texts and dates become seconds while a file is read. Numbers stay as they are until the whole column is there: whether
they count seconds, milliseconds or days is told by the unit in which most of them are plausible times, and a column
of two units is refused rather than read by one of them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Literal

import polars as pl

from freqd.errors import InputError

NULL_WORDS = ("", "na", "n/a", "nan", "null", "none", "nil", "-", "\\n", "nat", "<na>", "(null)", "#n/a")
"""Texts that mean "no value", compared in lower case."""

ORDINAL_BELOW = 1e8
"""1973 in seconds: smaller numbers count days, weeks or steps."""
USUAL_FROM = date(1990, 1, 1)
"""No earlier time is plausible, unless the settings say so."""
MOST = 0.9
"""Share of a column that has to be plausible in one unit."""
_OTHER_UNIT = 0.005
"""Share of a column that is a unit of its own, rather than a slip, if it is plausible in that one only."""

_YEAR = 365 * 86_400
_UNIX_OF_YEAR_1 = -62_135_596_800
_UNIX_OF_1601 = -11_644_473_600

_ISO = (
    *("%Y-%m-%d %H:%M:%S%.f%#z", "%Y-%m-%d %H:%M:%S%.f UTC", "%Y-%m-%d %H:%M:%S%.fZ", "%Y-%m-%d %H:%M:%S%.f"),
    *("%Y-%m-%dT%H:%M:%S%.f%#z", "%Y-%m-%dT%H:%M:%S%.fZ", "%Y-%m-%dT%H:%M:%S%.f"),
    *("%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M", "%Y-%m-%d", "%Y/%m/%d %H:%M:%S", "%Y/%m/%d %H:%M", "%Y/%m/%d"),
)
_CLOCKS = ("", " %H:%M", " %H:%M:%S")
PER_SECOND = {"ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}


def _days(*forms: str) -> tuple[str, ...]:
    return tuple(f"{day}{clock}" for day in forms for clock in _CLOCKS)


_DAY_FIRST = _days("%d/%m/%Y", "%d.%m.%Y", "%d-%m-%Y")
_MONTH_FIRST = _days("%m/%d/%Y", "%m-%d-%Y")
_SHORT_DAY_FIRST = _days("%d/%m/%y", "%d.%m.%y", "%d-%m-%y")
_SHORT_MONTH_FIRST = _days("%m/%d/%y", "%m-%d-%y")
_SHORT_ISO = _days("%y-%m-%d", "%y/%m/%d", "%y.%m.%d")
_FAMILIES = (_ISO, _DAY_FIRST, _MONTH_FIRST, _SHORT_DAY_FIRST, _SHORT_MONTH_FIRST, _SHORT_ISO)
_NARROWER = 8
"""Of two readings of the same texts one is right in all likelihood if its times lie that much closer together: taken as years,
the days of a month are spread over thirty of them."""
_FOUR_DIGITS, _TWO_DIGITS = r"(?:^|\D)\d{4}(?:\D|$)", r"^\d{1,2}[/.-]\d{1,2}[/.-]\d{1,2}(?:\s|$)"


@dataclass(frozen=True)
class TimeForm:
    """How the time column of a file is read.

    Attributes:
        value: expression: int64 seconds since 1970 (UTC) of texts and dates, numbers as they are (int64, or float64 where
            the file has fractions); null where there is no time or it is unreadable.
        numbers: whether they are numbers, whose unit is still to be found.
        text_in_numbers: expression, true where a column of numbers holds a text; None where that cannot be.
        label: the form in words.
        quick: expression, as ``value`` but null as well for some texts that ``value`` reads, and many times quicker; None where
            ``value`` is as quick.
        rivals: expression, true where a text is a time in a form that was not chosen; None where that cannot be.
        fractions: whether the numbers are float64.
    """

    value: pl.Expr
    numbers: bool
    text_in_numbers: pl.Expr | None
    label: str
    fractions: bool = False
    quick: pl.Expr | None = None
    rivals: pl.Expr | None = None


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


def absent(column: pl.Expr) -> pl.Expr:
    """True where a text means "no value"."""
    return column.is_null() | column.str.strip_chars().str.to_lowercase().is_in(list(NULL_WORDS))


def time_form(name: str, sample: pl.Series, place: str) -> TimeForm:
    """Decide from a sample of the column's values how all of it is read.

    Args:
        name: the column.
        sample: some of its values, without nulls.
        place: the file, for messages.

    Raises:
        InputError: the type or the values cannot be times, or day and month cannot be told apart.
    """
    column = pl.col(name)
    dtype = sample.dtype
    if dtype == pl.Date:  # as numbers: what lies beyond polars' calendar must not end the reading
        return TimeForm(column.to_physical().cast(pl.Int64) * 86_400, False, None, "days")
    if isinstance(dtype, pl.Datetime):
        return TimeForm(column.to_physical() // PER_SECOND[dtype.time_unit], False, None, "dates with times")
    if dtype == pl.Null:
        return TimeForm(column.cast(pl.Int64), True, None, "nothing")
    if dtype.is_integer():
        return TimeForm(column.cast(pl.Int64, strict=False), True, None, "whole numbers")
    if dtype.is_numeric():
        return TimeForm(column.cast(pl.Float64).fill_nan(None), True, None, "numbers", fractions=True)
    if dtype != pl.String:
        raise InputError(
            f"{place}: column '{name}' cannot be the time: its type is {dtype}",
            "name another column with data.columns.time, or ignore time with data.columns.time=none",
        )
    texts = sample.filter(~sample.to_frame().select(absent(pl.col(sample.name))).to_series())
    numbers = texts.str.strip_chars().cast(pl.Float64, strict=False)
    if len(texts) == 0 or numbers.count() > len(texts) / 2:
        return _number_texts(column, texts)
    return _texts(name, texts, place)


def _number_texts(column: pl.Expr, texts: pl.Series) -> TimeForm:
    text = column.str.strip_chars()
    whole = bool(texts.str.strip_chars().str.contains(r"^-?\d{1,19}$").all())
    # 0.1 s of 1.6e18 ns is more than float64 can tell: whole numbers are read as such, unless one of them has a fraction
    number = text.cast(pl.Float64, strict=False).fill_nan(None)
    quick = text.cast(pl.Int64, strict=False) if whole else number
    value = pl.coalesce(quick, number.floor().cast(pl.Int64, strict=False)) if whole else number
    label = "whole numbers" if whole else "numbers"
    return TimeForm(value, True, ~absent(column) & number.is_null(), label, fractions=not whole, quick=quick)


def numbers_to_seconds(numbers: pl.Series, span: Span, name: str, place: str) -> tuple[pl.Series, str, bool]:
    """Numbers as seconds since 1970, by the unit in which most of them are plausible.

    Args:
        numbers: (n,) a file's column, or that of all files; nulls are no times.
        span: what is plausible.
        name: of the column.
        place: the file, for messages.

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
    ranked = sorted(((_share(span, unit, positive), unit) for unit in UNITS), key=lambda pair: -pair[0])
    best, unit = ranked[0]
    only = [(_share(span, other, positive, besides=unit), other) for _, other in ranked[1:]]
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
            f"latter is {numbers[row]} in row {row + 1:,}",
            "write all times in one unit, or ignore the column with data.columns.time=none",
        )
    middle = known.median()
    raise InputError(
        f"{place}: column '{name}' holds numbers that are no times in any unit that freqd knows (epoch s, ms, us or ns, "
        f".NET ticks, YYYYMMDD...): from {known.min()!r} to {known.max()!r}, half of them below {middle!r}",
        "write times as YYYY-MM-DD HH:MM:SS or epoch seconds; if they are right, widen data.min_time and data.max_time; or "
        "ignore the column with data.columns.time=none",
    )


def _share(span: Span, unit: Unit, numbers: pl.Series, besides: Unit | None = None) -> float:
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


def _parse(column: pl.Expr, form: str) -> pl.Expr:
    text = column.str.strip_chars()
    short = "%y" in form
    text = pl.when(text.str.contains(_TWO_DIGITS if short else _FOUR_DIGITS)).then(text)
    if "%H" not in form:
        moment = text.str.to_date(form, strict=False).cast(pl.Datetime("us"))
    else:
        moment = text.str.to_datetime(form, strict=False, time_unit="us")
    return moment.dt.epoch("s").cast(pl.Int64)


def _texts(name: str, sample: pl.Series, place: str) -> TimeForm:
    frame = sample.alias(name).to_frame()
    column = pl.col(name)
    read = [frame.select(pl.coalesce(_parse(column, form) for form in forms)).to_series() for forms in _FAMILIES]
    most = max(times.count() for times in read)
    if most:
        best = [place for place, times in enumerate(read) if times.count() == most]
        chosen = best[0] if len(best) == 1 else _narrowest({place: read[place] for place in best})
        if chosen is None and "." in sample[0] and {_FAMILIES[k] for k in best} == {_SHORT_DAY_FIRST, _SHORT_ISO}:
            chosen = _FAMILIES.index(_SHORT_DAY_FIRST)  # with points the day comes first, as a rule
        if chosen is None:
            raise InputError(
                f"{place}: in column '{name}' day, month and year cannot be told apart (for example {sample[0]!r})",
                "write the dates as YYYY-MM-DD",
            )
        family = _FAMILIES[chosen]
        counts = frame.select(_parse(column, form).count().alias(form) for form in family).row(0)
        hits = {form: count for form, count in zip(family, counts, strict=True) if count}
    else:
        raise InputError(
            f"{place}: column '{name}' does not hold times (for example {sample[0]!r})",
            "write times as YYYY-MM-DD HH:MM:SS or epoch seconds, name another column with data.columns.time, "
            "or ignore it with data.columns.time=none",
        )
    # Which forms occur is known from the sample only, so related forms are tried as well on every row.
    ordered = [*sorted(hits, key=lambda form: -hits[form]), *(form for form in family if form not in hits)]
    value = pl.coalesce(_parse(column, form) for form in ordered)
    others = pl.any_horizontal(
        _parse(column, form).is_not_null() for forms in _FAMILIES for form in forms if forms is not family
    )
    return TimeForm(value, False, None, f"text such as {sample[0]!r}", quick=_parse(column, ordered[0]), rivals=others)


def _narrowest(read: dict[int, pl.Series]) -> int | None:
    """The reading whose times lie by far the closest together, or None."""
    spread = sorted((int(times.max()) - int(times.min()), place) for place, times in read.items())  # type: ignore[arg-type]
    (narrow, place), (wide, _) = spread[:2]
    return place if wide >= max(narrow, 86_400) * _NARROWER and wide >= _YEAR else None


def looks_like_times(sample: pl.Series, name: str, span: Span) -> bool:
    """Whether a column that nobody named holds times in all likelihood: dates, or numbers that are plausible epochs.

    Numbers need a name that speaks of a time as well, for an id may have ten digits too.
    """
    if sample.dtype == pl.Date or isinstance(sample.dtype, pl.Datetime):
        return True
    speaks = re.search(r"time|date|_at$|_on$|stamp|epoch|datum|zeit|when", name.lower()) is not None
    if not (sample.dtype.is_numeric() or sample.dtype == pl.String) or not len(sample):
        return False
    numbers = sample.cast(pl.Float64, strict=False).drop_nulls()
    if len(numbers) > len(sample) / 2:
        return speaks and any(_share(span, unit, numbers) > MOST for unit in UNITS)
    frame = sample.alias("text").to_frame()
    best = max(
        frame.select(pl.coalesce(_parse(pl.col("text"), form) for form in forms).count()).item() for forms in _FAMILIES
    )
    return bool(best > MOST * len(sample))
