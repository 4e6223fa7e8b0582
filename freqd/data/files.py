"""One file of interactions: what is in it, scanned lazily, and the errors of one that cannot be read."""

from __future__ import annotations

import io
import shlex
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import polars as pl
from isal import igzip
from isal.igzip_lib import IsalError
from polars.exceptions import PolarsError

from freqd.data.layout import (
    BLANKS,
    DUPLICATED,
    GZIP_MAGIC,
    LONE_RETURN,
    Fault,
    Layout,
    Quotes,
    RecordCount,
    clean_name,
    count_records,
    long_record,
)
from freqd.data.quality import CleaningReport
from freqd.errors import InputError

_CHUNK = 1 << 20
NOT_UNPACKED = (OSError, EOFError, IsalError)
"""What reading a damaged gzip file raises."""
_UNPACKED_BYTES = 1 << 28
"""A gzip file up to this size is unpacked once, in memory; a larger one each time that it is read."""
_LINE = "\x1f"
"""As a separator: one that no text has, so that a line is one field."""


@dataclass(frozen=True)
class DataFile:
    """One file of interactions.

    Attributes:
        path: where it is.
        form: text (CSV, TSV, ...; gzip allowed) or parquet.
        separator: between the fields of a text file: one character, ``::``, or ``BLANKS``.
        label: what the user calls it, for messages.
        layout: of a text file: a table, or adjacency lists (``user item item ...``).
        header: whether the first line of a text file names the columns; else they are called 1, 2, 3, ...
        quotes: what quotes in a text file mean; auto: as the file itself says.
    """

    path: Path
    form: Literal["text", "parquet"]
    separator: str
    label: str
    layout: Layout = "table"
    header: bool = True
    quotes: Quotes = "auto"

    @cached_property
    def _content(self) -> Path | bytes:
        """What the parser reads: the file, or its content if that had to be unpacked."""
        with self.path.open("rb") as file:
            packed = file.read(2) == GZIP_MAGIC
        if not packed or self.path.stat().st_size > _UNPACKED_BYTES:
            return self.path
        with igzip.open(self.path, "rb") as file:
            content = io.BytesIO()  # its bytes are handed out without a copy
            shutil.copyfileobj(file, content, _CHUNK)
            return content.getvalue()

    @cached_property
    def record_count(self) -> RecordCount:
        """How many records a table of text has, and what its quotes mean: one pass over its bytes.

        Raises:
            InputError: its quotes leave open where a record ends, or it breaks off.
        """
        try:
            found = count_records(self._content, self.separator, header=self.header, quotes=self.quotes)
        except NOT_UNPACKED as error:
            raise unreadable(self, error) from error
        if found.fault is not None:
            remedy = (
                'write a quote within a quoted field twice (""), take the stray quotes out, or say what quotes mean: '
                "data.quotes=plain (characters like others) or data.quotes=fields (they enclose fields)"
            )
            if found.fault.what == LONE_RETURN:
                remedy = f"change all line ends: tr '\\r' '\\n' < {shlex.quote(str(self.path))} > lines.csv"
            raise InputError(f"{self.where(found.fault)}, so it is not clear where its rows end", remedy)
        return found

    def where(self, fault: Fault) -> str:
        """A place in the file and what is there, in words."""
        names = self._names(quoted=False)
        column = f"column '{names[fault.field - 1]}'" if fault.field <= len(names) else f"field {fault.field}"
        row = f"row {fault.record:,} (the header not counted)" if fault.record else "the header"
        return f"{self.label}: {row} has in {column} {fault.what}"

    def scan(self) -> pl.LazyFrame:
        """The file's rows, lazily; every column of a text file is a string, so that no id loses a leading zero."""
        if self.form == "parquet":
            return pl.scan_parquet(self.path, glob=False, hive_partitioning=False)
        if self.layout == "adjacency":
            fields = _fields(self._lines())
            return (
                fields.filter(pl.col("line").list.len() > 1)
                .select(user=pl.col("line").list.first(), item=pl.col("line").list.slice(1))
                .explode("item", empty_as_null=False)
            )
        quoted = self.record_count.quoted
        names = self._names(quoted=quoted)
        if len(self.separator) > 1 or self.separator == BLANKS:
            return self._split_lines(names)
        frame = self._table(quoted=quoted)
        raw = frame.collect_schema().names()
        frame = frame.rename(dict(zip(raw, names, strict=True)))
        if quoted or (self.record_count.stray is None and self.quotes != "plain"):  # no quote is a character of a field
            return frame
        return frame.with_columns(pl.all().str.replace(r'^"(.*)"$', "$1"))

    def schema(self) -> pl.Schema:
        """Names and types of the columns, from the file's head or footer.

        Raises:
            InputError: the file is damaged.
        """
        try:
            return self.scan().collect_schema()
        except (PolarsError, pl.exceptions.PanicException, OSError) as error:
            raise unreadable(self, error) from error

    def check_rows(self) -> None:
        """Raise ``InputError`` if the file has columns but no row, or breaks off before the first."""
        try:
            rows = self.scan().head(1).collect().height
        except (PolarsError, pl.exceptions.PanicException) as error:
            raise unreadable(self, error) from error
        if rows == 0:
            raise InputError(f"{self.label} has a header but no rows", "give a file with interactions, one a row")

    def _table(self, *, quoted: bool) -> pl.LazyFrame:
        quote = '"' if quoted else None
        return pl.scan_csv(
            self._content,
            separator=self.separator,
            quote_char=quote,
            has_header=self.header,
            infer_schema=False,
            glob=False,
        )

    def _lines(self) -> pl.LazyFrame:
        return pl.scan_csv(
            self._content,
            separator=_LINE,
            quote_char=None,
            has_header=False,
            new_columns=["line"],
            infer_schema=False,
            glob=False,
        )

    def _names(self, *, quoted: bool) -> list[str]:
        """The columns' names; of two alike the second one is marked by ``DUPLICATED``."""
        if len(self.separator) > 1 or self.separator == BLANKS:
            first = self._lines().head(1).collect()["line"].to_list()
            line = str(first[0]) if first else ""
            names = line.split(self.separator) if self.separator != BLANKS else line.split()
        else:
            names = self._table(quoted=quoted).collect_schema().names()
        if not self.header:
            return [str(place) for place in range(1, len(names) + 1)]
        found: dict[str, int] = {}
        for place, name in enumerate(map(clean_name, names)):
            found.setdefault(name if name not in found else f"{name}{DUPLICATED}{place}", place)
        return list(found)

    def _split_lines(self, names: list[str]) -> pl.LazyFrame:
        """A table whose separator is more than a character."""
        count = len(names)
        lines = self._lines()
        parts = _fields(lines) if self.separator == BLANKS else lines.select(pl.col("line").str.split(self.separator))
        parts = parts.slice(int(self.header))
        long = parts.with_row_index("row", offset=1).filter(pl.col("line").list.len() > count).head(1).collect()
        if long.height:
            raise too_long(self, int(long["row"][0]), len(long["line"][0]), count)
        return parts.select(
            pl.col("line").list.get(place, null_on_oob=True).str.strip_chars('"').alias(name)
            for place, name in enumerate(names)
        )


def _fields(lines: pl.LazyFrame) -> pl.LazyFrame:
    """Lines as lists of what blanks separate."""
    return lines.select(pl.col("line").str.strip_chars().str.replace_all(r"\s+", " ").str.split(" "))


def unreadable(file: DataFile, error: BaseException) -> InputError:
    """The error for a file whose content breaks off or does not follow its format."""
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    if file.form == "parquet":
        return InputError(
            f"{file.label} is a damaged or truncated Parquet file: {reason}", "write or copy the file again"
        )
    if "utf-8" in reason.lower() or "utf8" in reason.lower():
        return InputError(f"{file.label} is not UTF-8 text: {reason}", "convert it, for example with iconv -t UTF-8")
    if "more fields" in reason.lower():
        quoted = file.record_count.quoted
        found = long_record(file.path, file.separator, header=file.header, quoted=quoted)
        if found is not None:
            return too_long(file, *found)
    return InputError(
        f"{file.label} cannot be read as text with separator {file.separator!r}: {reason}", "fix the file"
    )


def too_long(file: DataFile, row: int, fields: int, expected: int) -> InputError:
    """The error for a row with more fields than the first line."""
    first = "its header" if file.header else "its first row"
    return InputError(
        f"{file.label}: row {row:,} (the header not counted) has {fields} fields, more fields than {first} ({expected}; "
        f"separator {file.separator!r})",
        "quote fields that contain the separator, or fix that row",
    )


def check_count(files: Iterable[DataFile], rows: int) -> None:
    """See that as many rows were read as the files' bytes hold.

    Raises:
        InputError: they are not; the file is named.
    """
    tables = [file for file in files if file.form == "text" and file.layout == "table"]
    if not tables or rows == sum(file.record_count.records for file in tables):
        return
    for file in tables:
        found = int(file.scan().select(pl.len()).collect(engine="streaming").item())
        if found != file.record_count.records:
            raise InputError(
                f"{file.label} has {file.record_count.records:,} rows, but {found:,} could be read (separator {file.separator!r})",
                "look for stray quotes or line breaks within fields, or write the file as Parquet",
            )


def check_layout(file: DataFile, ledger: CleaningReport) -> None:
    """Report how the quotes of a file were read if that was a choice, and rows that break off.

    Raises:
        InputError: most rows have fewer fields than the header.
    """
    if file.form != "text" or file.layout != "table":
        return
    found = file.record_count
    if found.stray is not None:
        taken, otherwise = (
            "quotes are taken for characters like others",
            "they enclose fields, fix it and say data.quotes=fields",
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
