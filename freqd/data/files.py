"""The user's files: found, recognised and refused early, then scanned lazily."""

from __future__ import annotations

import glob
import gzip
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import polars as pl
from polars.exceptions import PolarsError

from freqd.errors import InputError

PARQUET_MAGIC = b"PAR1"
GZIP_MAGIC = b"\x1f\x8b"
_SEPARATORS = ",\t;|"
_HEAD = 1 << 16


@dataclass(frozen=True)
class DataFile:
    """One file of interactions.

    Attributes:
        path: where it is.
        form: text (CSV, TSV, ...; gzip allowed) or parquet.
        separator: between the fields of a text file.
        label: what the user calls it, for messages.
    """

    path: Path
    form: Literal["text", "parquet"]
    separator: str
    label: str

    def scan(self) -> pl.LazyFrame:
        """The file's rows, lazily; every column of a text file is a string, so that no id loses a leading zero."""
        if self.form == "parquet":
            return pl.scan_parquet(self.path, glob=False, hive_partitioning=False)
        return pl.scan_csv(self.path, separator=self.separator, infer_schema=False, glob=False)

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


def find_files(pattern: str) -> list[DataFile]:
    """The files that a path or a glob names, each checked by its first bytes.

    Raises:
        InputError: nothing is there, it is a folder, it is empty, or it is neither text nor Parquet.
    """
    path = Path(pattern).expanduser()
    if not path.exists() and any(mark in pattern for mark in "*?["):
        matches = sorted(Path(name) for name in glob.glob(str(path), recursive=True))
        matches = [match for match in matches if match.is_file()]
        if not matches:
            raise InputError(
                f"no file matches {pattern}", "check the pattern; quote it so that the shell leaves it alone"
            )
        return [recognise(match, str(match)) for match in matches]
    return [recognise(path, pattern)]


def recognise(path: Path, label: str) -> DataFile:
    """Find out what kind of file this is.

    Raises:
        InputError: as for ``find_files``.
    """
    if path.is_dir():
        inside = sorted(p.name for p in path.iterdir() if p.is_file() and not p.name.startswith("."))
        listing = f" (it holds {', '.join(inside[:5])}{', ...' if len(inside) > 5 else ''})" if inside else ""
        raise InputError(
            f"{label} is a folder, not a file{listing}", f"name the files, for example '{label.rstrip('/')}/*.parquet'"
        )
    if not path.exists():
        raise InputError(f"{label}: there is no such file", _nearby(path))
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD)
    except OSError as error:
        raise InputError(f"{label} cannot be read: {error.strerror}", "check the file's permissions") from error
    if not head:
        raise InputError(f"{label} is empty (0 bytes)", "give a file with a header line and interactions, one a row")
    if head.startswith(PARQUET_MAGIC):
        return DataFile(path, "parquet", "", label)
    if path.suffix.lower() in {".parquet", ".pq"}:
        raise InputError(
            f"{label} is not a Parquet file, whatever its name says", "write it again, or rename it to .csv"
        )
    if head.startswith(GZIP_MAGIC):
        try:
            with gzip.open(path, "rb") as packed:
                head = packed.read(_HEAD)
        except (OSError, EOFError) as error:
            raise InputError(f"{label} is a damaged gzip file: {error}", "copy or download it again") from error
        if not head:
            raise InputError(f"{label} is empty once unpacked", "give a file with a header line and interactions")
    if b"\0" in head:
        raise InputError(f"{label} is neither text nor Parquet", "export it as CSV, TSV or Parquet")
    return DataFile(path, "text", _separator(head), label)


def _separator(head: bytes) -> str:
    """The character that splits the header into the most fields; a comma where none occurs."""
    header = head.lstrip(b"\r\n").splitlines()[0].decode("utf-8", "replace") if head.strip() else ""
    return max(_SEPARATORS, key=header.count)


def _nearby(path: Path) -> str:
    folder = path.parent
    if not folder.is_dir():
        return f"check the path: the folder {folder} does not exist either"
    same = sorted(p.name for p in folder.iterdir() if p.suffix in {".csv", ".tsv", ".parquet", ".pq", ".txt", ".gz"})
    return "check the path" + (f"; beside it are {', '.join(same[:5])}" if same else "")


def one_format(files: list[DataFile]) -> None:
    """Raise ``InputError`` unless all files are text or all are Parquet."""
    forms = {file.form: file.label for file in files}
    if len(forms) > 1:
        raise InputError(
            f"mixed file formats: {forms['parquet']} is Parquet, {forms['text']} is text",
            "give files of one format, or convert the others",
        )


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
        return InputError(
            f"{file.label} has a row with more fields than its header (separator {file.separator!r})",
            "quote fields that contain the separator, or mend the header",
        )
    return InputError(
        f"{file.label} cannot be read as text with separator {file.separator!r}: {reason}", "mend the file"
    )
