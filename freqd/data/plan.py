"""How each file is read: expressions for the wanted columns, decided from names, types and a few rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import polars as pl
from polars.exceptions import PolarsError

from freqd.data.columns import Columns
from freqd.data.files import DataFile, unreadable
from freqd.data.sources import Source
from freqd.data.splits import TEST, TRAIN, VALID
from freqd.data.timestamps import PER_SECOND, TimeForm, absent, time_form
from freqd.errors import InputError

PART_CODES = {"train": TRAIN, "valid": VALID, "test": TEST}
SAMPLE = 1000
"""Values of a column that show what it holds."""
_EXACT = {pl.Float16: 2**11, pl.Float32: 2**24, pl.Float64: 2**53}
"""From which number on a type of floating point merges neighbouring integers."""
_WHOLE = "a whole field: a quote opens or closes it, while other quotes in this file stand where they enclose nothing"
_QUOTES_REMEDY = "fix the stray quotes, or say with data.quotes=plain that quotes are characters like others"
_SMALL_INTEGERS = (pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.UInt8, pl.UInt16, pl.UInt32)
_TEXTS = (pl.String, pl.Categorical, pl.Enum)
_YEAR_1, _YEAR_9999 = -62_135_596_800, 253_402_300_799
_IGNORE = "fix or remove that row, or name another column with data.columns (data.columns.{}=none ignores it)"
IdKind = Literal["integer", "text"]


class Suspect(NamedTuple):
    """What must not be in a column: where it is, what is wanted in its place, how to fix it, and what to check first.

    ``flag`` is true wherever ``where`` is, and quicker; None: ``where`` is as quick.
    """

    column: str
    where: pl.Expr
    wanted: str
    remedy: str
    flag: pl.Expr | None = None


@dataclass(frozen=True, eq=False)
class Plan:
    """How one file is read.

    Attributes:
        file: the file.
        time: how its times are read; None without them.
        select: expressions for the wanted columns.
        suspects: what must not be in them, such as a text in a column of numbers.
    """

    file: DataFile
    time: TimeForm | None
    select: list[pl.Expr]
    suspects: list[Suspect] = field(default_factory=list)

    def locate(self, name: str, where: pl.Expr) -> tuple[int, str] | None:
        """The first row (from 1, the header not counted) and value of column ``name`` for which ``where`` holds."""
        rows = self.file.scan().select(value=pl.col(name), found=where.fill_null(False)).with_row_index("row", offset=1)
        hit = rows.filter(pl.col("found")).head(1).collect()
        return (int(hit["row"][0]), shown(hit["value"])) if hit.height else None


class Piece(NamedTuple):
    """Rows of a file that are read together: ``rows`` of them, from ``first`` on (from 0); None: all."""

    plan: Plan
    first: int = 0
    rows: int | None = None

    def scan(self) -> pl.LazyFrame:
        """The rows as they are in the file."""
        found = self.plan.file.scan()
        return found if self.rows is None else found.slice(self.first, self.rows)


def shown(values: pl.Series) -> str:
    """The first value as a text; a day beyond every calendar as the number that stands for it."""
    kind = values.dtype
    if kind == pl.Date or isinstance(kind, pl.Datetime):
        number = values.to_physical()[0]
        unit = 1 / 86_400 if kind == pl.Date else PER_SECOND[kind.time_unit]  # type: ignore[attr-defined]
        if number is not None and not _YEAR_1 <= number / unit <= _YEAR_9999:
            return f"{number} ({kind})"
    return str(values[0])


def make_plans(source: Source, schemas: dict[int, pl.Schema], columns: Columns, min_weight: float | None) -> list[Plan]:
    """A plan for each file of ``source``, such that all give columns of the same types.

    Args:
        source: the files.
        schemas: names and types of each file's columns, by the file's ``id``.
        columns: which column is which.
        min_weight: from which weight on a row counts; None if every row does.

    Raises:
        InputError: a column cannot be what it is named for.
    """
    targets: dict[str, pl.DataType] = {}
    for role, name in (("user", columns.user), ("item", columns.item)):
        kind = _id_kind(role, name, [(file, schemas[id(file)][name]) for file in source.all_files()])
        targets[role] = _target(kind, {schema[name] for schema in schemas.values()})
    wanted = _Wanted(columns, targets, min_weight)
    return [
        _plan(file, part if source.has_parts else None, schemas[id(file)], wanted)
        for part, of_part in source.files.items()
        for file in of_part
    ]


def _id_kind(role: str, name: str, types: Sequence[tuple[DataFile, pl.DataType]]) -> IdKind:
    for file, dtype in types:
        if not (dtype.is_numeric() or dtype == pl.Null or isinstance(dtype, _TEXTS) or dtype == pl.String):
            raise InputError(
                f"{file.label}: column '{name}' cannot be the {role}: its type is {dtype}, ids are integers or texts",
                f"name another column with data.columns.{role}, or cast it",
            )
    whole = all(isinstance(dtype, _SMALL_INTEGERS) or dtype.is_float() or dtype.is_decimal() for _, dtype in types)
    return "integer" if whole else "text"


def _target(kind: IdKind, found: set[pl.DataType]) -> pl.DataType:
    """The type in which an id travels: its own integer type if all files agree, else int64; texts as categories."""
    if kind == "text":
        return pl.Categorical(pl.Categories.random())
    only = next(iter(found))
    return only if len(found) == 1 and only.is_integer() else pl.Int64()


def _id_expr(name: str, dtype: pl.DataType, target: pl.DataType) -> pl.Expr:
    column = pl.col(name)
    if dtype.is_float():
        column = column.fill_nan(None)
    if dtype.is_float() or dtype.is_decimal():
        column = column.cast(pl.Int64, strict=False)
    return column.cast(target) if target.is_integer() else column.cast(pl.String).cast(target)


def _inexact(name: str, dtype: pl.DataType) -> list[Suspect]:
    """Numbers that are no whole ones, or of which a type of floating point merges several."""
    column = pl.col(name).fill_nan(None) if dtype.is_float() else pl.col(name)
    remedy = "write the ids as integers or texts where the file is made, or name another column with data.columns"
    if dtype.is_decimal():
        lost = column.is_not_null() & column.cast(pl.Int64, strict=False).is_null()
        return [Suspect(name, (column != column.floor()) | lost, "an integer id", remedy)]
    limit = next(limit for kind, limit in _EXACT.items() if dtype == kind)
    return [
        Suspect(name, (column != column.floor()) | column.is_infinite(), "an integer id", remedy),
        Suspect(
            name,
            column.abs() >= limit,
            f"exact: from {limit:,} on {dtype} holds several ids as one number, so users or items may be merged already",
            remedy,
        ),
    ]


class _Wanted(NamedTuple):
    """What all files are read for: columns, the types in which ids travel by role, and from which weight on a row counts."""

    columns: Columns
    targets: dict[str, pl.DataType]
    min_weight: float | None


def _plan(file: DataFile, part: str | None, schema: pl.Schema, wanted: _Wanted) -> Plan:
    columns, targets, min_weight = wanted
    select: list[pl.Expr] = []
    suspects: list[Suspect] = []
    halved = (
        file.form == "text"
        and file.layout == "table"
        and file.quotes == "auto"
        and file.record_count.stray is not None
        and not file.record_count.quoted
    )
    for role, name in (("user", columns.user), ("item", columns.item)):
        dtype = schema[name]
        if halved:
            half = pl.col(name).str.contains(r'^\s*"|"\s*$').fill_null(False)
            suspects.append(Suspect(name, half, _WHOLE, _QUOTES_REMEDY))
        select.append(_id_expr(name, dtype, targets[role]).alias(role))
        if dtype.is_float() or dtype.is_decimal():
            suspects += _inexact(name, dtype)
    form = None
    if columns.time is not None:
        sample = _sample(file, columns.time)
        form = time_form(columns.time, sample, file.label)
        select.append((form.value if form.quick is None else form.quick).alias("time"))
        left = pl.lit(False) if form.quick is None else form.quick.is_null() & pl.col(columns.time).is_not_null()
        select.append(left.alias("left"))
        if form.text_in_numbers is not None:
            suspects.append(Suspect(columns.time, form.text_in_numbers, "a number", _IGNORE.format("time"), left))
    negative: pl.Expr = pl.lit(False)
    if columns.weight is not None:
        number, text = _weight(columns, schema[columns.weight], file, min_weight is not None)
        if text is not None and number is not None:
            flag = number.is_null() & pl.col(columns.weight).is_not_null()
            suspects.append(Suspect(columns.weight, text, "a number", _IGNORE.format("weight"), flag))
        if min_weight is not None and number is not None:
            select.append((number >= min_weight).fill_null(False).alias("heavy"))
        if number is not None:
            negative = (number < 0).fill_null(False)
        if min_weight is None or min_weight < 0:
            select.append(negative.alias("negative"))
    if part is not None:
        select.append(pl.lit(PART_CODES[part], pl.Int8).alias("part"))
    return Plan(file, form, select, suspects)


def _sample(file: DataFile, name: str) -> pl.Series:
    try:
        column = file.scan().select(name)
        text = column.collect_schema()[name] == pl.String
        there = ~absent(pl.col(name)) if text else pl.col(name).is_not_null()
        near = column.head(20 * SAMPLE).filter(there).head(SAMPLE).collect()[name]
        # a filter before the head reads the whole file
        return near if len(near) else column.filter(there).head(SAMPLE).collect(engine="streaming")[name]
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
