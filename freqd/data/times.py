"""Times in whatever form they come, to whole seconds since 1970 (UTC)."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from freqd.errors import InputError

NULL_WORDS = ("", "na", "n/a", "nan", "null", "none", "nil", "-", "\\n")
"""Texts that mean "no value", compared in lower case."""

_UNITS = ((1e11, 1), (1e14, 10**3), (1e17, 10**6), (float("inf"), 10**9))
ORDINAL_BELOW = 1e8
"""1973 in seconds: smaller numbers count days, weeks or steps."""
_DAY_NUMBERS = (19_000_101, 22_001_231)  # 20170131 and the like

_ISO = (
    *("%Y-%m-%d %H:%M:%S%.f%#z", "%Y-%m-%d %H:%M:%S%.f UTC", "%Y-%m-%d %H:%M:%S%.fZ", "%Y-%m-%d %H:%M:%S%.f"),
    *("%Y-%m-%dT%H:%M:%S%.f%#z", "%Y-%m-%dT%H:%M:%S%.fZ", "%Y-%m-%dT%H:%M:%S%.f"),
    *("%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M", "%Y-%m-%d", "%Y/%m/%d %H:%M:%S", "%Y/%m/%d %H:%M", "%Y/%m/%d"),
)
_DAY_FIRST = ("%d/%m/%Y %H:%M:%S", "%d/%m/%Y %H:%M", "%d/%m/%Y", "%d.%m.%Y %H:%M:%S", "%d.%m.%Y %H:%M", "%d.%m.%Y")
_MONTH_FIRST = ("%m/%d/%Y %H:%M:%S", "%m/%d/%Y %H:%M", "%m/%d/%Y")


@dataclass(frozen=True)
class TimeForm:
    """How the time column is read.

    Attributes:
        seconds: expression for int64 seconds since 1970 (UTC); null where there is no time or it is unreadable.
        text_in_numbers: expression, true where a column of numbers holds a text; None where that cannot be.
        ordinal: the numbers are too small for dates: they give an order only.
        label: the form in words.
    """

    seconds: pl.Expr
    text_in_numbers: pl.Expr | None
    ordinal: bool
    label: str


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
    if dtype == pl.Date or isinstance(dtype, pl.Datetime):
        return TimeForm(column.cast(pl.Datetime("us")).dt.epoch("s").cast(pl.Int64), None, False, str(dtype))
    if dtype.is_numeric():
        return _numbers(column, sample.cast(pl.Float64), None)
    if dtype != pl.String:
        raise InputError(
            f"{place}: column '{name}' cannot be the time: its type is {dtype}",
            "name another column with data.columns.time, or ignore time with data.columns.time=none",
        )
    texts = sample.filter(~sample.to_frame().select(absent(pl.col(sample.name))).to_series())
    numbers = texts.cast(pl.Float64, strict=False)
    if len(texts) == 0 or numbers.count() > len(texts) / 2:
        as_number = column.str.strip_chars().cast(pl.Float64, strict=False)
        return _numbers(as_number, numbers.drop_nulls(), ~absent(column) & as_number.is_null())
    return _texts(name, texts, place)


def _numbers(column: pl.Expr, sample: pl.Series, text_in_numbers: pl.Expr | None) -> TimeForm:
    middle = sample.filter(sample.is_finite()).median()
    size = abs(float(middle)) if isinstance(middle, int | float) else 0.0
    low, high = _DAY_NUMBERS
    if sample.len() and bool(sample.is_between(low, high).all()):
        days = column.cast(pl.Int64, strict=False).cast(pl.String).str.to_date("%Y%m%d", strict=False)
        seconds = days.cast(pl.Datetime("us")).dt.epoch("s").cast(pl.Int64)
        return TimeForm(seconds, text_in_numbers, False, "day numbers such as 20170131")
    divisor = next(unit for limit, unit in _UNITS if size < limit)
    whole = column.cast(pl.Float64).floor().cast(pl.Int64, strict=False) if text_in_numbers is not None else column
    seconds = whole.cast(pl.Int64, strict=False)
    if divisor > 1:
        seconds = seconds // divisor
    ordinal = size < ORDINAL_BELOW
    unit = {1: "s", 10**3: "ms", 10**6: "us", 10**9: "ns"}[divisor]
    label = "numbers in order, not dates" if ordinal else f"epoch {unit}"
    return TimeForm(seconds, text_in_numbers, ordinal, label)


def _parse(column: pl.Expr, form: str) -> pl.Expr:
    text = column.str.strip_chars()
    if form in {"%Y-%m-%d", "%Y/%m/%d", "%d/%m/%Y", "%d.%m.%Y", "%m/%d/%Y"}:
        moment = text.str.to_date(form, strict=False).cast(pl.Datetime("us"))
    else:
        moment = text.str.to_datetime(form, strict=False, time_unit="us")
    return moment.dt.epoch("s").cast(pl.Int64)


def _texts(name: str, sample: pl.Series, place: str) -> TimeForm:
    frame = sample.alias(name).to_frame()
    column = pl.col(name)

    def read(forms: tuple[str, ...]) -> dict[str, int]:
        counts = frame.select(_parse(column, form).count().alias(form) for form in forms).row(0)
        return {form: count for form, count in zip(forms, counts, strict=True) if count}

    hits = read(_ISO)
    if not hits:
        day, month = read(_DAY_FIRST), read(_MONTH_FIRST)
        best_day, best_month = sum(day.values()), sum(month.values())
        if best_day and best_day == best_month:
            raise InputError(
                f"{place}: in column '{name}' day and month cannot be told apart (for example {sample[0]!r})",
                "write the dates as YYYY-MM-DD",
            )
        hits = day if best_day > best_month else month
    if not hits:
        raise InputError(
            f"{place}: column '{name}' does not hold times (for example {sample[0]!r})",
            "write times as YYYY-MM-DD HH:MM:SS or epoch seconds, name another column with data.columns.time, "
            "or ignore it with data.columns.time=none",
        )
    # Which forms occur is known from the sample only, so related forms are tried as well on every row.
    family = _ISO if set(hits) <= set(_ISO) else _DAY_FIRST if set(hits) <= set(_DAY_FIRST) else _MONTH_FIRST
    ordered = [*sorted(hits, key=lambda form: -hits[form]), *(form for form in family if form not in hits)]
    return TimeForm(pl.coalesce(_parse(column, form) for form in ordered), None, False, f"text such as {sample[0]!r}")
