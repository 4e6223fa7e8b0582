"""Files to four plain columns: user, item, time in seconds, and whether the weight is high enough.

One lazy query over all files, one streaming collect. Checks that need only names, types or a few rows come before.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import polars as pl
from polars.exceptions import PolarsError

from freqd.config import DataConfig
from freqd.data.columns import IGNORE, Columns, common_columns, refuse_header
from freqd.data.files import DataFile, check_count, check_layout, unreadable
from freqd.data.plan import Plan, make_plans
from freqd.data.quality import CleaningReport
from freqd.data.sources import Source
from freqd.data.time_column import Origin, TimeColumn, read_left_times, read_times, warn_of_unused_times
from freqd.data.time_units import Span
from freqd.errors import InputError

_KEPT = ("user", "item", "heavy", "part")


@dataclass(frozen=True, eq=False)
class RawRows:
    """All rows as read, before any cleaning.

    Attributes:
        frame: user, item (integer or categorical), and where they apply: heavy (weight is at least ``min_weight``),
            part (int8).
        columns: which column was which.
        starts: (files + 1,) the row at which each file begins, and the number of rows.
        labels: of the files.
        times: the column of times; None without one.
    """

    frame: pl.DataFrame
    columns: Columns
    starts: npt.NDArray[np.int64]
    labels: tuple[str, ...]
    times: TimeColumn | None = None

    def place(self, row: int) -> str:
        """Where row ``row`` of ``frame`` stands in its file, in words."""
        which = min(int(np.searchsorted(self.starts, row, side="right")) - 1, len(self.labels) - 1)
        of_file = f" of {self.labels[which]}" if len(self.labels) > 1 else ""
        return f"row {row - int(self.starts[which]) + 1:,}{of_file}"


def read_rows(source: Source, config: DataConfig, ledger: CleaningReport) -> RawRows:
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
    columns, ignored = common_columns(source, schemas, ledger)
    span = Span.of(config.min_time, config.max_time)
    if columns.time is None and source.columns.time != IGNORE:
        warn_of_unused_times(files[0], {*columns.as_dict().values(), *ignored}, span, ledger)
    for file in files:
        check_layout(file, ledger)
        if not file.header:
            refuse_header(file, columns)
    plans = make_plans(source, schemas, columns, config.min_weight)
    frame = _collect(plans)
    ledger.rows_read = frame.height
    if frame.height == 0:
        raise InputError(f"{', '.join(source.labels)}: no rows", "give files with interactions, one a row")
    check_count(files, frame.height)
    starts, labels = np.array([0, frame.height]), tuple(file.label for file in files)
    if "file" in frame.columns:
        starts = np.searchsorted(frame["file"].to_numpy(), np.arange(len(plans) + 1))
        frame = frame.drop("file")
    if "suspect" in frame.columns and frame["suspect"].any() and (error := _first_suspect(plans)) is not None:
        raise error
    rows = RawRows(frame.select(name for name in _KEPT if name in frame.columns), columns, starts, labels)
    if "negative" in frame.columns:
        _warn_of_negatives(frame["negative"], rows, ledger)
    if columns.time is None:
        return rows
    times, origin = frame["time"], Origin(plans, columns.time, starts)
    if frame["left"].any():
        times = read_left_times(times, frame["left"], origin)
    return replace(rows, times=read_times(times, origin, span, ledger))


def _warn_of_negatives(negative: pl.Series, rows: RawRows, ledger: CleaningReport) -> None:
    count = int(negative.sum())
    if count:
        ledger.warnings.append(
            f"{count:,} rows have a negative number in column '{rows.columns.weight}', the first of them "
            f"{rows.place(int(negative.arg_max() or 0))}: if these are returns, "
            "leave them out with data.min_weight=0; now they count as interest"
        )


def _collect(plans: list[Plan]) -> pl.DataFrame:
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


def _culprit(plans: list[Plan]) -> DataFile:
    """The first file that cannot be read alone."""
    for plan in plans[:-1]:
        try:
            plan.file.scan().select(plan.select).select(pl.all().count()).collect(engine="streaming")
        except (PolarsError, pl.exceptions.PanicException):
            return plan.file
    return plans[-1].file


def _first_suspect(plans: list[Plan]) -> InputError | None:
    for plan in plans:
        for name, where, wanted, remedy, _ in plan.suspects:
            if (hit := plan.locate(name, where)) is not None:
                row, value = hit
                return InputError(
                    f"{plan.file.label}: row {row:,} (the header not counted) has {value!r} in column '{name}', "
                    f"which is not {wanted}",
                    remedy,
                )
    return None
