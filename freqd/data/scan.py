"""Files to plain columns: user, item, time in seconds, whether the weight is high enough, and which part.

Checks that need only names, types or a few rows come first. Then the rows are read by lazy queries: all by one, or, where they would take
more memory than there is, some of them after the others.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt
import polars as pl
from polars.exceptions import PolarsError

from freqd.config import DataConfig
from freqd.data.columns import IGNORE, Columns, common_columns, refuse_header
from freqd.data.files import DataFile, check_count, check_layout, unreadable
from freqd.data.plan import Piece, Plan, make_plans
from freqd.data.quality import CleaningReport
from freqd.data.sources import Source
from freqd.data.time_column import Origin, TimeColumn, Times, read_left_times, warn_of_unused_times
from freqd.data.time_units import Span
from freqd.errors import InputError

_KEPT = ("user", "item", "heavy", "part")


@dataclass(frozen=True, eq=False)
class RawRows:
    """Rows as read, before any cleaning.

    Attributes:
        frame: user, item (integer or categorical), and where they apply: heavy (weight is at least ``min_weight``),
            part (int8).
        columns: which column was which.
        times: the column of times; None without one.
    """

    frame: pl.DataFrame
    columns: Columns
    times: TimeColumn | None = None


class Reading:
    """Files of which names, types and first rows are known and good: what is left is to read the rows.

    Raises:
        InputError: a file is damaged or has no rows, a column is missing or of a wrong type.
    """

    def __init__(self, source: Source, config: DataConfig, ledger: CleaningReport) -> None:
        self._source, self._ledger, self._as_of = source, ledger, config.as_of
        files = source.all_files()
        schemas = {id(file): file.schema() for file in files}
        for of_part in source.files.values():
            if len(of_part) == 1:
                of_part[0].check_rows()
        columns, ignored = common_columns(source, schemas, ledger)
        span = Span.of(config.min_time, config.max_time)
        if columns.time is None and source.columns.time != IGNORE:
            warn_of_unused_times(files[0], {*columns.as_dict().values(), *ignored}, span, ledger)
        for file in files:
            check_layout(file, ledger)
            if not file.header:
                refuse_header(file, columns)
        self.columns = columns
        self.plans = make_plans(source, schemas, columns, config.min_weight)
        self.times = None if columns.time is None else Times(self.plans, columns.time, span)
        self._fractions = any(plan.time is not None and plan.time.fractions for plan in self.plans)
        self._negative, self._first_negative = 0, ""

    def whole(self) -> list[Piece]:
        """All rows."""
        return [Piece(plan) for plan in self.plans]

    def lengths(self) -> list[int]:
        """How many rows each file has.

        Raises:
            InputError: a file is damaged.
        """
        return [
            plan.file.record_count.records
            if plan.file.form == "text" and plan.file.layout == "table"
            else int(self._collected(plan.file.scan().select(pl.len())).item())
            for plan in self.plans
        ]

    def ids(self, role: Literal["user", "item"]) -> pl.DataFrame:
        """All distinct ids of a side as they are written, of the type that rows have, and of how many ``rows`` each is.

        Raises:
            InputError: a file is damaged.
        """
        queries = [
            plan.file.scan().select(expr for expr in plan.select if expr.meta.output_name() == role)
            for plan in self.plans
        ]
        return self._collected(pl.concat(queries).group_by(role).agg(rows=pl.len()))

    def read(self, pieces: Sequence[Piece]) -> RawRows:
        """Some rows, or all of them.

        Raises:
            InputError: a file is damaged, a column of numbers holds text, ids are not exact, or the times cannot be read.
        """
        frame = self._frame(pieces)
        self._ledger.rows_read += frame.height
        if all(piece.rows is None for piece in pieces):
            check_count([piece.plan.file for piece in pieces], frame.height)
        starts = np.array([0, frame.height])
        if "piece" in frame.columns:
            starts = np.searchsorted(frame["piece"].to_numpy(), np.arange(len(pieces) + 1))
            frame = frame.drop("piece")
        if "suspect" in frame.columns and frame["suspect"].any() and (error := self._first_suspect()) is not None:
            raise error
        if "negative" in frame.columns and (count := int(frame["negative"].sum())):
            self._first_negative = self._first_negative or self._place(
                pieces, starts, int(frame["negative"].arg_max() or 0)
            )
            self._negative += count
        rows = RawRows(frame.select(name for name in _KEPT if name in frame.columns), self.columns)
        if self.times is None:
            return rows
        times, origin = frame["time"], Origin(pieces, self.times.name, starts)
        if frame["left"].any():
            times = read_left_times(times, frame["left"], origin)
        return replace(rows, times=self.times.read(times, origin))

    def judge(self) -> None:
        """See that what was read can be used, now that all of it is.

        Raises:
            InputError: there are no rows, or fewer than their files have, the times cannot be used, or a day is named and they are no dates.
        """
        if self._ledger.rows_read == 0:
            raise InputError(f"{', '.join(self._source.labels)}: no rows", "give files with interactions, one a row")
        check_count([plan.file for plan in self.plans], self._ledger.rows_read)
        if self._negative:
            self._ledger.warnings.append(
                f"{self._negative:,} rows have a negative number in column '{self.columns.weight}', the first of them "
                f"{self._first_negative}: if these are returns, "
                "leave them out with data.min_weight=0; now they count as interest"
            )
        if self.times is not None:
            self.times.judge(self._ledger)
            if self.times.ordinal and self._as_of is not None:
                raise InputError(
                    f"what was there as of {self._as_of} (data.as_of) is not known: column '{self.columns.time}' of "
                    f"{', '.join(self._source.labels)} holds small numbers, not dates",
                    "give dates, or leave data.as_of out",
                )

    def find(self, role: Literal["user", "item"], text: str) -> str:
        """Where a column of texts first holds this one, blanks around it aside, in words."""
        name = self.columns.user if role == "user" else self.columns.item
        bare = pl.col(name).cast(pl.String).str.strip_chars().str.strip_prefix("\ufeff").str.strip_chars()
        for plan in self.plans:
            if (hit := plan.locate(name, bare == text)) is not None:
                return self._told(plan, hit[0])
        return f"column '{name}'"

    def _told(self, plan: Plan, row: int) -> str:
        return f"row {row:,}{f' of {plan.file.label}' if len(self.plans) > 1 else ''}"

    def _place(self, pieces: Sequence[Piece], starts: npt.NDArray[np.int64], row: int) -> str:
        """Where row ``row`` of what was read stands in its file, in words."""
        which = int(np.searchsorted(starts, row, side="right")) - 1
        return self._told(pieces[which].plan, pieces[which].first + row - int(starts[which]) + 1)

    def _frame(self, pieces: Sequence[Piece]) -> pl.DataFrame:
        suspect = any(plan.suspects for plan in self.plans)
        queries = []
        for place, piece in enumerate(pieces):
            select = list(piece.plan.select)
            if self._fractions:
                select = [e.cast(pl.Float64) if e.meta.output_name() == "time" else e for e in select]
            if len(pieces) > 1:  # each file has its own unit of time and its own row numbers
                select.append(pl.lit(place, pl.UInt32).alias("piece"))
            if suspect:
                flags = [
                    (found.where if found.flag is None else found.flag).fill_null(False)
                    for found in piece.plan.suspects
                ] or [pl.lit(False)]
                select.append(pl.any_horizontal(flags).alias("suspect"))
            queries.append(piece.scan().select(select))
        return self._collected(pl.concat(queries))

    def _collected(self, query: pl.LazyFrame) -> pl.DataFrame:
        try:
            return query.collect(engine="streaming")
        except (PolarsError, pl.exceptions.PanicException) as error:
            raise unreadable(_culprit(self.plans), error) from error

    def _first_suspect(self) -> InputError | None:
        for plan in self.plans:
            for name, where, wanted, remedy, _ in plan.suspects:
                if (hit := plan.locate(name, where)) is not None:
                    row, value = hit
                    return InputError(
                        f"{plan.file.label}: row {row:,} (the header not counted) has {value!r} in column '{name}', "
                        f"which is not {wanted}",
                        remedy,
                    )
        return None


def portions(plans: Sequence[Plan], lengths: Sequence[int], rows: int) -> Iterator[list[Piece]]:
    """All rows of files with these lengths, so many at a time."""
    pieces: list[Piece] = []
    room = rows
    for plan, length in zip(plans, lengths, strict=True):
        first = 0
        while first < length:
            count = min(room, length - first)
            pieces.append(Piece(plan, first, count))
            first, room = first + count, room - count
            if room == 0:
                yield pieces
                pieces, room = [], rows
    if pieces:
        yield pieces


def _culprit(plans: list[Plan]) -> DataFile:
    """The first file that cannot be read alone."""
    for plan in plans[:-1]:
        try:
            plan.file.scan().select(plan.select).select(pl.all().count()).collect(engine="streaming")
        except (PolarsError, pl.exceptions.PanicException):
            return plan.file
    return plans[-1].file
