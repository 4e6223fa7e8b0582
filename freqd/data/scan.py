"""Files to four plain columns: user, item, time in seconds, and whether the weight is high enough.

One lazy query over all files, one streaming collect. Checks that need only names, types or a few rows come before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl
from polars.exceptions import PolarsError

from freqd.config import DataConfig
from freqd.data.columns import IGNORE, Columns, guess, resolve
from freqd.data.files import DataFile, check_count, unreadable
from freqd.data.quality import Ledger
from freqd.data.sources import Source
from freqd.data.splits import TEST, TRAIN, VALID, iso
from freqd.data.timestamps import PER_SECOND, Span, TimeForm, absent, looks_like_times, numbers_to_seconds, time_form
from freqd.errors import InputError

PART_CODES = {"train": TRAIN, "valid": VALID, "test": TEST}
_SAMPLE = 1000
_UNREADABLE_TIMES = 0.1
"""Share of the times that may be unreadable or implausible: those rows are dropped and counted."""
_MISSING_TIMES = 0.5
"""Share of the times that may be missing."""
_EXACT = {pl.Float16: 2**11, pl.Float32: 2**24, pl.Float64: 2**53}
"""From which number on a type of floating point merges neighbouring integers."""
_WHOLE = "a whole field: a quote opens or closes it, while other quotes in this file stand where they enclose nothing"
_QUOTES_REMEDY = "mend the stray quotes, or say with data.quotes=plain that quotes are characters like others"
_SMALL_INTEGERS = (pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.UInt8, pl.UInt16, pl.UInt32)
_YEAR_1, _YEAR_9999 = -62_135_596_800, 253_402_300_799
_TEXTS = (pl.String, pl.Categorical, pl.Enum)
IntArray = npt.NDArray[np.int64]
IdKind = Literal["integer", "text"]


@dataclass(frozen=True, eq=False)
class Rows:
    """All rows as read, before any cleaning.

    Attributes:
        frame: user, item (integer or categorical), and where they apply: time (int64 seconds), heavy (weight is at
            least ``min_weight``), part (int8), odd (the time is not plausible).
        columns: which column was which.
        read_as: how times were read, in words; empty without times.
        ordinal: whether the times are no dates but numbers that only order the interactions.
        odd: an implausible time and its place, in words; empty if there is none.
        starts: (files + 1,) the row at which each file begins, and the number of rows.
        labels: of the files.
    """

    frame: pl.DataFrame
    columns: Columns
    read_as: str = ""
    ordinal: bool = False
    odd: str = ""
    starts: IntArray = field(default_factory=lambda: np.zeros(1, np.int64))
    labels: tuple[str, ...] = ()

    def place(self, row: int) -> str:
        """Where row ``row`` of ``frame`` stands in its file, in words."""
        return _place(self.starts, self.labels, row)


def _place(starts: IntArray, labels: Sequence[str], row: int) -> str:
    which = int(np.searchsorted(starts, row, side="right")) - 1
    which = min(which, len(labels) - 1)
    of_file = f" of {labels[which]}" if len(labels) > 1 else ""
    return f"row {row - int(starts[which]) + 1:,}{of_file}"


class _Suspect(NamedTuple):
    """What must not be in a column: where it is, what is wanted in its place, how to mend it, and where to look first.

    ``flag`` is true wherever ``where`` is, and quicker; None: ``where`` is as quick.
    """

    column: str
    where: pl.Expr
    wanted: str
    remedy: str
    flag: pl.Expr | None = None


@dataclass(frozen=True, eq=False)
class _Plan:
    """How one file is read: expressions for the wanted columns, and what would be text in a column of numbers."""

    file: DataFile
    part: str
    time: TimeForm | None
    select: list[pl.Expr]
    suspects: list[_Suspect] = field(default_factory=list)


def read_rows(source: Source, config: DataConfig, ledger: Ledger) -> Rows:
    """Read all files of ``source``.

    Raises:
        InputError: a file is damaged or has no rows, a column is missing or of a wrong type, a column of numbers holds
            text, ids are not exact, or the times cannot be read.
    """
    files = source.all_files()
    schemas = {id(file): file.schema() for file in files}
    for of_part in source.files.values():
        if len(of_part) == 1:
            of_part[0].check_rows()
    columns, ignored = _columns(source, schemas, ledger)
    span = Span.of(config.min_time, config.max_time)
    if columns.time is None and source.columns.time != IGNORE:
        _warn_of_unused_times(files[0], {*columns.as_dict().values(), *ignored}, span, ledger)
    for file in files:
        _look_at_layout(file, ledger)
        if not file.header:
            _refuse_header(file, columns)
    kinds = {
        role: _id_kind(role, name, [(file, schemas[id(file)][name]) for file in files])
        for role, name in (("user", columns.user), ("item", columns.item))
    }
    targets = {role: _target(kind, columns, role, schemas) for role, kind in kinds.items()}
    plans = [
        _plan(file, part, schemas[id(file)], columns, targets, config.min_weight, source.has_parts)
        for part, of_part in source.files.items()
        for file in of_part
    ]
    frame = _collect(plans)
    ledger.rows_read = frame.height
    if frame.height == 0:
        raise InputError(f"{', '.join(source.labels)}: no rows", "give files with interactions, one a row")
    check_count(files, frame.height)
    starts, labels = np.array([0, frame.height]), tuple(plan.file.label for plan in plans)
    if "file" in frame.columns:
        starts = np.searchsorted(frame["file"].to_numpy(), np.arange(len(plans) + 1))
        frame = frame.drop("file")
    if "suspect" in frame.columns:
        if frame["suspect"].any() and (error := _first_suspect(plans)) is not None:
            raise error
        frame = frame.drop("suspect")
    if "left" in frame.columns:
        if frame["left"].any():
            frame = _with_left_times(frame, plans, str(columns.time), starts)
        frame = frame.drop("left")
    if "negative" in frame.columns:
        _warn_of_negatives(frame, str(columns.weight), starts, labels, ledger)
        frame = frame.drop("negative")
    if columns.time is None:
        return Rows(frame, columns, starts=starts, labels=labels)
    rows = _with_times(frame, plans, columns, span, starts, ledger)
    return replace(rows, starts=starts, labels=labels)


def _look_at_layout(file: DataFile, ledger: Ledger) -> None:
    """Tell how the quotes of a file were taken if that was a choice, and of rows that break off.

    Raises:
        InputError: most rows have fewer fields than the header.
    """
    if file.form != "text" or file.layout != "table":
        return
    found = file.census
    if found.stray is not None:
        taken, otherwise = (
            "quotes are taken for characters like others",
            "they enclose fields, mend it and say data.quotes=fields",
        )
        if found.quoted:
            taken, otherwise = "they are taken for the text of that field", "they are rows, say data.quotes=plain"
        ledger.warnings.append(f"{file.where(found.stray)}: {taken}; if {otherwise}")
    short, first = found.short
    if short > found.records / 2:
        raise InputError(
            f"{file.label}: {short:,} of {found.records:,} rows have fewer fields than "
            f"{'the header' if file.header else 'the first row'}, the first of them row {first:,} (separator "
            f"{file.separator!r})",
            "see that every column has its name in the header, and every row a field for each (it may be empty)",
        )
    if short:
        ledger.warnings.append(
            f"{file.label}: {short:,} rows have fewer fields than {'the header' if file.header else 'the first row'}, the first "
            f"of them row {first:,}; what they lack is taken for missing"
        )


def _refuse_header(file: DataFile, columns: Columns) -> None:
    """Columns named by their places mean that the first line is data: see that it is.

    Raises:
        InputError: it seems to be a header.
    """
    try:
        head = file.scan().head(2).collect()
    except (PolarsError, pl.exceptions.PanicException) as error:
        raise unreadable(file, error) from error
    first = [str(value).strip().strip('"') for value in head.row(0)]
    names = {role: first[head.columns.index(name)] for role, name in columns.as_dict().items() if name is not None}
    known = [role for role in ("user", "item") if guess(role, [names[role]]) is not None]
    counted = first == [str(n) for n in range(len(first))] and len(first) > 1 and head.height > 1
    if known or (counted and list(head.row(1)) != first and file.form == "text"):
        raise InputError(
            f"{file.label}: columns are named by their places, which is for files without a header, but the first line seems to "
            f"be one: {', '.join(first)}",
            f"name the columns as it does, for example --set data.columns.user={names['user']}, or take that line out",
        )


def _warn_of_unused_times(file: DataFile, used: set[str | None], span: Span, ledger: Ledger) -> None:
    """A column of times that nobody named would have been the better way to split."""
    try:
        sample = file.scan().head(_SAMPLE).collect()
    except (PolarsError, pl.exceptions.PanicException) as error:
        raise unreadable(file, error) from error
    for name in sample.columns:
        if name not in used and looks_like_times(sample[name].drop_nulls(), name, span):
            ledger.warnings.append(
                f"column '{name}' looks like times and is not used, so the split cannot be by time: name it with "
                f"data.columns.time={name}, or say with data.columns.time=none that there are none"
            )
            return


def _warn_of_negatives(frame: pl.DataFrame, name: str, starts: IntArray, labels: Sequence[str], ledger: Ledger) -> None:
    count = int(frame["negative"].sum())
    if count:
        place = _place(starts, labels, int(frame["negative"].arg_max() or 0))
        ledger.warnings.append(
            f"{count:,} rows have a negative number in column '{name}', the first of them {place}: if these are returns, "
            "leave them out with data.min_weight=0; now they count as interest"
        )


def _with_times(
    frame: pl.DataFrame, plans: list[_Plan], columns: Columns, span: Span, starts: IntArray, ledger: Ledger
) -> Rows:
    """Numbers become seconds, and what is no plausible time is marked."""
    name = str(columns.time)
    parts, labels, ordinals = [], [], []
    for plan, first, last in zip(plans, starts[:-1], starts[1:], strict=True):
        assert plan.time is not None
        times = frame["time"].slice(first, last - first)
        label, ordinal = plan.time.label, False
        if plan.time.numbers:
            times, label, ordinal = numbers_to_seconds(times, span, name, plan.file.label)
        elif times.dtype != pl.Int64:
            times = times.cast(pl.Int64)
        parts.append(times)
        if times.null_count() < len(times):
            labels.append(label)
            ordinals.append(ordinal)
    times = parts[0] if len(parts) == 1 else pl.concat(parts)
    frame = frame.with_columns(time=times)
    if times.null_count():
        _check_missing(frame, plans, name, ledger)
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
        return Rows(frame, columns, "numbers in order, not dates", ordinal=True)
    read_as = " and ".join(dict.fromkeys(labels))
    low, high = times.min(), times.max()
    if low is None or (span.low <= int(low) and int(high) < span.high):  # type: ignore[arg-type]
        return Rows(frame, columns, read_as)
    odd = ~span.holds(times) & times.is_not_null()
    row = int(odd.arg_max() or 0)
    which = next(place for place in range(len(starts) - 1) if row < starts[place + 1])
    shown = f"{_raw(plans[which], name, row - int(starts[which]))} in row {row - int(starts[which]) + 1:,}"
    count = int(odd.sum())
    if count > _UNREADABLE_TIMES * frame.height:
        raise InputError(
            f"{plans[which].file.label}: {count:,} of {frame.height:,} times in column '{name}' (read as {read_as}) lie before "
            f"{iso(span.low)[:10]} or after {iso(span.high - 1)[:10]}; the first is {shown}",
            "if they are right, widen data.min_time and data.max_time; if they stand for a missing time, leave those rows out; or "
            "set data.columns.time=none",
        )
    return Rows(frame.with_columns(odd=odd), columns, read_as, odd=shown)


def _raw(plan: _Plan, name: str, row: int) -> str:
    """A value as it stands in the file."""
    value = plan.file.scan().select(name).slice(row, 1).collect()[name]
    return repr(_shown(value)) if len(value) else "?"


def _shown(values: pl.Series) -> str:
    """The first value as a text; a day beyond every calendar as the number that stands for it."""
    kind = values.dtype
    if kind == pl.Date or isinstance(kind, pl.Datetime):
        number = values.to_physical()[0]
        unit = 1 / 86_400 if kind == pl.Date else PER_SECOND[kind.time_unit]  # type: ignore[attr-defined]
        if number is not None and not _YEAR_1 <= number / unit <= _YEAR_9999:
            return f"{number} ({kind})"
    return str(values[0])


def _columns(source: Source, schemas: dict[int, pl.Schema], ledger: Ledger) -> tuple[Columns, list[str]]:
    """The columns, which all files have, and those that are left out because one of them has not."""
    files = source.all_files()
    union = list(dict.fromkeys(name for file in files for name in schemas[id(file)].names()))
    columns = resolve(source.columns, union, files[0].label)
    ignored: list[str] = []
    for file in files:
        names = schemas[id(file)].names()
        for role, name in columns.as_dict().items():
            if name is None or name in names:
                continue
            other = next(o.label for o in files if name in schemas[id(o)].names())
            if role in {"time", "weight"} and role in columns.guessed:
                ledger.warnings.append(
                    f"column '{name}' ({role}) is ignored: {file.label} does not have it, while {other} does"
                )
                ignored.append(name)
                kept = tuple(other for other in columns.guessed if other != role)
                columns = (
                    replace(columns, time=None, guessed=kept)
                    if role == "time"
                    else replace(columns, weight=None, guessed=kept)
                )
                continue
            raise InputError(
                f"{file.label}: there is no column '{name}', which {other} has; its columns are {', '.join(names)}",
                "give files with the same columns",
            )
    return columns, ignored


def _id_kind(role: str, name: str, types: Sequence[tuple[DataFile, pl.DataType]]) -> IdKind:
    for file, dtype in types:
        if not (dtype.is_numeric() or dtype == pl.Null or isinstance(dtype, _TEXTS) or dtype == pl.String):
            raise InputError(
                f"{file.label}: column '{name}' cannot be the {role}: its type is {dtype}, ids are integers or texts",
                f"name another column with data.columns.{role}, or cast it",
            )
    whole = all(isinstance(dtype, _SMALL_INTEGERS) or dtype.is_float() or dtype.is_decimal() for _, dtype in types)
    return "integer" if whole else "text"


def _target(kind: IdKind, columns: Columns, role: str, schemas: dict[int, pl.Schema]) -> pl.DataType:
    """The type in which an id travels: its own integer type if all files agree, else int64; texts as categories."""
    if kind == "text":
        return pl.Categorical(pl.Categories.random())
    found = {schema[columns.user if role == "user" else columns.item] for schema in schemas.values()}
    only = next(iter(found))
    return only if len(found) == 1 and only.is_integer() else pl.Int64()


def _id_expr(name: str, dtype: pl.DataType, target: pl.DataType) -> pl.Expr:
    column = pl.col(name)
    if dtype.is_float():
        column = column.fill_nan(None)
    if dtype.is_float() or dtype.is_decimal():
        column = column.cast(pl.Int64, strict=False)
    return column.cast(target) if target.is_integer() else column.cast(pl.String).cast(target)


def _inexact(name: str, dtype: pl.DataType) -> list[_Suspect]:
    """Numbers that are no whole ones, or of which a type of floating point merges several."""
    column = pl.col(name).fill_nan(None) if dtype.is_float() else pl.col(name)
    remedy = "write the ids as integers or texts where the file is made, or name another column with data.columns"
    if dtype.is_decimal():
        lost = column.is_not_null() & column.cast(pl.Int64, strict=False).is_null()
        return [_Suspect(name, (column != column.floor()) | lost, "an integer id", remedy)]
    limit = next(limit for kind, limit in _EXACT.items() if dtype == kind)
    return [
        _Suspect(name, (column != column.floor()) | column.is_infinite(), "an integer id", remedy),
        _Suspect(
            name,
            column.abs() >= limit,
            f"exact: from {limit:,} on {dtype} holds several ids as one number, so users or items may be merged already",
            remedy,
        ),
    ]


def _plan(
    file: DataFile,
    part: str,
    schema: pl.Schema,
    columns: Columns,
    targets: dict[str, pl.DataType],
    min_weight: float | None,
    with_part: bool,
) -> _Plan:
    select: list[pl.Expr] = []
    suspects: list[_Suspect] = []
    halved = (
        file.form == "text"
        and file.layout == "table"
        and file.quotes == "auto"
        and file.census.stray is not None
        and not file.census.quoted
    )
    for role, name in (("user", columns.user), ("item", columns.item)):
        dtype = schema[name]
        if halved:
            half = pl.col(name).str.contains(r'^\s*"|"\s*$').fill_null(False)
            suspects.append(_Suspect(name, half, _WHOLE, _QUOTES_REMEDY))
        select.append(_id_expr(name, dtype, targets[role]).alias(role))
        if dtype.is_float() or dtype.is_decimal():
            suspects += _inexact(name, dtype)
    form = None
    ignore = "mend or remove that row, or name another column with data.columns (data.columns.{}=none ignores it)"
    if columns.time is not None:
        sample = _sample(file, columns.time)
        form = time_form(columns.time, sample, file.label)
        select.append((form.value if form.quick is None else form.quick).alias("time"))
        left = pl.lit(False) if form.quick is None else form.quick.is_null() & pl.col(columns.time).is_not_null()
        select.append(left.alias("left"))
        if form.text_in_numbers is not None:
            suspects.append(_Suspect(columns.time, form.text_in_numbers, "a number", ignore.format("time"), left))
    negative: pl.Expr = pl.lit(False)
    if columns.weight is not None:
        number, text = _weight(columns, schema[columns.weight], file, min_weight is not None)
        if text is not None and number is not None:
            flag = number.is_null() & pl.col(columns.weight).is_not_null()
            suspects.append(_Suspect(columns.weight, text, "a number", ignore.format("weight"), flag))
        if min_weight is not None and number is not None:
            select.append((number >= min_weight).fill_null(False).alias("heavy"))
        if number is not None:
            negative = (number < 0).fill_null(False)
        if min_weight is None or min_weight < 0:
            select.append(negative.alias("negative"))
    if with_part:
        select.append(pl.lit(PART_CODES[part], pl.Int8).alias("part"))
    return _Plan(file, part, form, select, suspects)


def _sample(file: DataFile, name: str) -> pl.Series:
    try:
        column = file.scan().select(name)
        text = column.collect_schema()[name] == pl.String
        there = ~absent(pl.col(name)) if text else pl.col(name).is_not_null()
        near = column.head(20 * _SAMPLE).filter(there).head(_SAMPLE).collect()[name]
        # a filter before the head reads the whole file
        return near if len(near) else column.filter(there).head(_SAMPLE).collect(engine="streaming")[name]
    except (PolarsError, pl.exceptions.PanicException) as error:
        raise unreadable(file, error) from error


def _weight(
    columns: Columns, dtype: pl.DataType, file: DataFile, needed: bool
) -> tuple[pl.Expr | None, pl.Expr | None]:
    """The weight as a number, and where a text stands in its place."""
    assert columns.weight is not None
    column = pl.col(columns.weight)
    if dtype.is_numeric():
        return (column.fill_nan(None) if dtype.is_float() else column), None
    if dtype == pl.String:
        number = column.str.strip_chars().cast(pl.Float64, strict=False).fill_nan(None)
        return number, ~absent(column) & number.is_null()
    if needed or "weight" not in columns.guessed:
        raise InputError(
            f"{file.label}: column '{columns.weight}' cannot be the weight: its type is {dtype}",
            "name another column with data.columns.weight, or ignore it with data.columns.weight=none",
        )
    return None, None


def _collect(plans: list[_Plan]) -> pl.DataFrame:
    suspect = any(plan.suspects for plan in plans)
    fractions = any(plan.time is not None and plan.time.fractions for plan in plans)
    queries = []
    for place, plan in enumerate(plans):
        select = list(plan.select)
        if fractions:
            select = [e.cast(pl.Float64) if e.meta.output_name() == "time" else e for e in select]
        if len(plans) > 1:  # each has its own unit of time and its own row numbers
            select.append(pl.lit(place, pl.UInt32).alias("file"))
        if suspect:
            flags = [
                (found.where if found.flag is None else found.flag).fill_null(False) for found in plan.suspects
            ] or [pl.lit(False)]
            select.append(pl.any_horizontal(flags).alias("suspect"))
        queries.append(plan.file.scan().select(select))
    try:
        return pl.concat(queries).collect(engine="streaming")
    except (PolarsError, pl.exceptions.PanicException) as error:
        raise unreadable(_culprit(plans), error) from error


def _culprit(plans: list[_Plan]) -> DataFile:
    """The first file that cannot be read alone."""
    for plan in plans[:-1]:
        try:
            plan.file.scan().select(plan.select).select(pl.all().count()).collect(engine="streaming")
        except (PolarsError, pl.exceptions.PanicException):
            return plan.file
    return plans[-1].file


def _locate(plan: _Plan, name: str, where: pl.Expr) -> tuple[int, str] | None:
    """The first row (from 1, the header not counted) and value for which ``where`` holds."""
    rows = plan.file.scan().select(value=pl.col(name), found=where.fill_null(False)).with_row_index("row", offset=1)
    hit = rows.filter(pl.col("found")).head(1).collect()
    return (int(hit["row"][0]), _shown(hit["value"])) if hit.height else None


def _with_left_times(frame: pl.DataFrame, plans: list[_Plan], name: str, starts: IntArray) -> pl.DataFrame:
    """Read those times in all their forms that the quick reading left out."""
    parts = []
    for plan, first, last in zip(plans, starts[:-1], starts[1:], strict=True):
        part = frame.select("time", "left").slice(first, last - first)
        left = part["left"]
        if plan.time is not None and left.any():
            rows = pl.Series(np.flatnonzero(left.to_numpy()))
            texts = plan.file.scan().select(name).collect(engine="streaming")[rows]
            read = texts.select(plan.time.value.cast(part["time"].dtype)).to_series()
            part = part.with_columns(time=part["time"].scatter(rows, read))
        parts.append(part["time"])
    return frame.with_columns(time=pl.concat(parts))


def _first_suspect(plans: list[_Plan]) -> InputError | None:
    for plan in plans:
        for name, where, wanted, remedy, _ in plan.suspects:
            if (hit := _locate(plan, name, where)) is not None:
                row, value = hit
                return InputError(
                    f"{plan.file.label}: row {row:,} (the header not counted) has {value!r} in column '{name}', "
                    f"which is not {wanted}",
                    remedy,
                )
    return None


def _refuse_rivals(plans: list[_Plan], name: str) -> None:
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
                f"{plan.file.label}: row {other['row'][0]:,} (the header not counted) has {_shown(other[name])!r} in column "
                f"'{name}', a date in another form than the others ({plan.time.label})",
                "write all dates as YYYY-MM-DD, or set data.columns.time=none",
            )


def _check_missing(frame: pl.DataFrame, plans: list[_Plan], name: str, ledger: Ledger) -> None:
    """Raise ``InputError`` if most times are missing or many are unreadable; single ones are dropped later."""
    missing = frame["time"].null_count()
    if missing <= _UNREADABLE_TIMES * frame.height:
        return
    for plan in plans:
        assert plan.time is not None
        raw = pl.col(name)
        there = ~absent(raw) if plan.file.schema()[name] == pl.String else raw.is_not_null()
        if (hit := _locate(plan, name, there & plan.time.value.is_null())) is not None:
            row, value = hit
            raise InputError(
                f"{plan.file.label}: {missing:,} of {frame.height:,} times in column '{name}' cannot be read; "
                f"the first is {value!r} in row {row:,} (most look like {plan.time.label})",
                "write times in one form, such as YYYY-MM-DD HH:MM:SS, or set data.columns.time=none",
            )
    if missing == frame.height:
        raise InputError(
            f"column '{name}' holds no time at all", "name another column with data.columns.time, or set it to none"
        )
    if missing > _MISSING_TIMES * frame.height:
        raise InputError(
            f"{missing:,} of {frame.height:,} rows have no time in column '{name}'",
            "set data.columns.time=none to do without times, or leave out the rows that have none",
        )
    ledger.warnings.append(
        f"{missing:,} of {frame.height:,} rows ({missing / frame.height:.0%}) have no time in column '{name}' and are dropped: "
        "data.columns.time=none would keep them"
    )
