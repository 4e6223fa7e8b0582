"""Times in whatever form they come, to whole seconds since 1970 (UTC).

Texts and dates become seconds while a file is read. Numbers stay as they are until the whole column is there, see
``freqd.data.time_units``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import polars as pl

from freqd.data.time_units import MOST, UNITS, Span, plausible_share
from freqd.errors import InputError

NULL_WORDS = ("", "na", "n/a", "nan", "null", "none", "nil", "-", "\\n", "nat", "<na>", "(null)", "#n/a")
"""Texts that mean "no value", compared in lower case."""

_YEAR = 365 * 86_400

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
    # 0.1 s of 1.6e18 ns is more than float64 can resolve: whole numbers are read as such, unless one of them has a fraction
    number = text.cast(pl.Float64, strict=False).fill_nan(None)
    quick = text.cast(pl.Int64, strict=False) if whole else number
    value = pl.coalesce(quick, number.floor().cast(pl.Int64, strict=False)) if whole else number
    label = "whole numbers" if whole else "numbers"
    return TimeForm(value, True, ~absent(column) & number.is_null(), label, fractions=not whole, quick=quick)


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
        return speaks and any(plausible_share(span, unit, numbers) > MOST for unit in UNITS)
    frame = sample.alias("text").to_frame()
    best = max(
        frame.select(pl.coalesce(_parse(pl.col("text"), form) for form in forms).count()).item() for forms in _FAMILIES
    )
    return bool(best > MOST * len(sample))
