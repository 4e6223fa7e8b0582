"""Files to four plain columns: user, item, time in seconds, and whether the weight is high enough.

One lazy query over all files, one streaming collect. Checks that need only names, types or a few rows come before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import polars as pl
from polars.exceptions import PolarsError

from freqd.data.files import DataFile, unreadable
from freqd.data.quality import Ledger
from freqd.data.roles import Columns, resolve
from freqd.data.source import Source
from freqd.data.splits import TEST, TRAIN, VALID
from freqd.data.times import TimeForm, absent, time_form
from freqd.errors import InputError

PART_CODES = {"train": TRAIN, "valid": VALID, "test": TEST}
_SAMPLE = 1000
_UNREADABLE_TIMES = 0.1
_SMALL_INTEGERS = (pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.UInt8, pl.UInt16, pl.UInt32)
_TEXTS = (pl.String, pl.Categorical, pl.Enum)
IdKind = Literal["integer", "text"]


@dataclass(frozen=True, eq=False)
class Rows:
    """All rows as read, before any cleaning.

    Attributes:
        frame: user, item (integer or categorical), and where they apply: time (int64 seconds), heavy (weight is at
            least ``min_weight``), part (int8).
        columns: which column was which.
    """

    frame: pl.DataFrame
    columns: Columns


@dataclass(frozen=True, eq=False)
class _Plan:
    """How one file is read: expressions for the wanted columns, and what would be text in a column of numbers."""

    file: DataFile
    part: str
    time: TimeForm | None
    select: list[pl.Expr]
    suspects: list[tuple[str, pl.Expr, str]] = field(default_factory=list)


def read_rows(source: Source, *, min_weight: float | None, ledger: Ledger) -> Rows:
    """Read all files of ``source``.

    Raises:
        InputError: a file is damaged or has no rows, a column is missing or of a wrong type, a column of numbers holds
            text, or the times cannot be read.
    """
    schemas = {id(file): file.schema() for file in source.all_files()}
    for files in source.files.values():
        if len(files) == 1:
            files[0].check_rows()
    columns = _columns(source, schemas, ledger)
    kinds = {
        role: _id_kind(role, name, [(file, schemas[id(file)][name]) for file in source.all_files()])
        for role, name in (("user", columns.user), ("item", columns.item))
    }
    targets = {role: _target(kind, columns, role, schemas) for role, kind in kinds.items()}
    plans = [
        _plan(file, part, schemas[id(file)], columns, targets, min_weight, source.has_parts)
        for part, files in source.files.items()
        for file in files
    ]
    if any(plan.time is not None and plan.time.ordinal for plan in plans):
        ledger.warnings.append(
            f"column '{columns.time}' holds small numbers, not dates: it orders the interactions, "
            "but the times shown for the cuts mean nothing"
        )
    frame = _collect(plans)
    ledger.rows_read = frame.height
    if frame.height == 0:
        raise InputError(f"{', '.join(source.labels)}: no rows", "give files with interactions, one a row")
    if "suspect" in frame.columns:
        if frame["suspect"].any():
            raise _first_text(plans)
        frame = frame.drop("suspect")
    if columns.time is not None:
        _check_times(frame, plans, columns.time)
    return Rows(frame, columns)


def _columns(source: Source, schemas: dict[int, pl.Schema], ledger: Ledger) -> Columns:
    first, *others = source.all_files()
    columns = resolve(source.columns, schemas[id(first)].names(), first.label)
    for file in others:
        names = schemas[id(file)].names()
        for role, name in columns.as_dict().items():
            if name is None or name in names:
                continue
            if role in {"time", "weight"} and role in columns.guessed:
                ledger.warnings.append(f"column '{name}' ({role}) is ignored: {file.label} does not have it")
                kept = tuple(other for other in columns.guessed if other != role)
                columns = (
                    replace(columns, time=None, guessed=kept)
                    if role == "time"
                    else replace(columns, weight=None, guessed=kept)
                )
                continue
            raise InputError(
                f"{file.label}: there is no column '{name}', which {first.label} has; "
                f"its columns are {', '.join(names)}",
                "give files with the same columns",
            )
    return columns


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
    suspects: list[tuple[str, pl.Expr, str]] = []
    for role, name in (("user", columns.user), ("item", columns.item)):
        dtype = schema[name]
        select.append(_id_expr(name, dtype, targets[role]).alias(role))
        if dtype.is_float():
            column = pl.col(name).fill_nan(None)
            suspects.append((name, (column != column.floor()) | column.is_infinite(), "an integer id"))
    form = None
    if columns.time is not None:
        sample = _sample(file, columns.time)
        form = time_form(columns.time, sample, file.label)
        select.append(form.seconds.alias("time"))
        if form.text_in_numbers is not None:
            suspects.append((columns.time, form.text_in_numbers, "a number"))
    if columns.weight is not None:
        number, text = _weight(columns, schema[columns.weight], file, min_weight is not None)
        if text is not None:
            suspects.append((columns.weight, text, "a number"))
        if min_weight is not None and number is not None:
            select.append((number >= min_weight).fill_null(False).alias("heavy"))
    if with_part:
        select.append(pl.lit(PART_CODES[part], pl.Int8).alias("part"))
    return _Plan(file, part, form, select, suspects)


def _sample(file: DataFile, name: str) -> pl.Series:
    try:
        return file.scan().select(name).drop_nulls().head(_SAMPLE).collect(engine="streaming")[name]
    except (PolarsError, pl.exceptions.PanicException) as error:
        raise unreadable(file, error) from error


def _weight(
    columns: Columns, dtype: pl.DataType, file: DataFile, needed: bool
) -> tuple[pl.Expr | None, pl.Expr | None]:
    """The weight as a number, and where a text stands in its place."""
    assert columns.weight is not None
    column = pl.col(columns.weight)
    if dtype.is_numeric():
        return column, None
    if dtype == pl.String:
        number = column.str.strip_chars().cast(pl.Float64, strict=False)
        return number, ~absent(column) & number.is_null()
    if needed or "weight" not in columns.guessed:
        raise InputError(
            f"{file.label}: column '{columns.weight}' cannot be the weight: its type is {dtype}",
            "name another column with data.columns.weight, or ignore it with data.columns.weight=none",
        )
    return None, None


def _collect(plans: list[_Plan]) -> pl.DataFrame:
    suspect = any(plan.suspects for plan in plans)
    queries = []
    for plan in plans:
        select = list(plan.select)
        if suspect:
            flags = [expr.fill_null(False) for _, expr, _ in plan.suspects] or [pl.lit(False)]
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
    return (int(hit["row"][0]), str(hit["value"][0])) if hit.height else None


def _first_text(plans: list[_Plan]) -> InputError:
    for plan in plans:
        for name, where, wanted in plan.suspects:
            if (hit := _locate(plan, name, where)) is not None:
                row, value = hit
                return InputError(
                    f"{plan.file.label}: row {row:,} (the header not counted) has {value!r} in column '{name}', "
                    f"which is not {wanted}",
                    "mend or remove that row, or name another column with data.columns "
                    "(data.columns.time=none or data.columns.weight=none ignores it)",
                )
    raise RuntimeError("a suspect row could not be found again: a file changed while it was read")


def _check_times(frame: pl.DataFrame, plans: list[_Plan], name: str) -> None:
    """Raise ``InputError`` if most times are missing or many are unreadable; single ones are dropped later."""
    missing = frame["time"].null_count()
    if missing <= _UNREADABLE_TIMES * frame.height:
        return
    for plan in plans:
        assert plan.time is not None
        raw = pl.col(name)
        there = ~absent(raw) if plan.file.schema()[name] == pl.String else raw.is_not_null()
        if (hit := _locate(plan, name, there & plan.time.seconds.is_null())) is not None:
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
