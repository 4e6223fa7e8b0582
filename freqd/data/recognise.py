"""The user's files: found, recognised by their first bytes, and refused early."""

from __future__ import annotations

import glob
import shlex
import zipfile
from pathlib import Path

from isal import igzip

from freqd.data.files import NOT_UNPACKED, DataFile
from freqd.data.layout import BLANKS, GZIP_MAGIC, Layout, is_adjacency, separator_of
from freqd.errors import InputError

PARQUET_MAGIC = b"PAR1"
_HEAD = 1 << 16
_PACKED = {b"BZh": "bunzip2", b"\xfd7zXZ": "unxz", b"\x28\xb5\x2f\xfd": "unzstd"}
"""How files begin that have to be unpacked first, and what unpacks them."""
_UTF16 = (b"\xff\xfe", b"\xfe\xff")


def find_files(pattern: str, layout: Layout | None = None) -> list[DataFile]:
    """The files that a path or a glob names, each checked by its first bytes.

    Args:
        pattern: the path, or a glob.
        layout: of text files; None: by their first lines.

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
        return [recognise(match, str(match), layout) for match in matches]
    return [recognise(path, pattern, layout)]


def recognise(path: Path, label: str, layout: Layout | None = None) -> DataFile:
    """Find out what kind of file this is; the arguments are as for ``find_files``.

    Raises:
        InputError: as for ``find_files``.
    """
    if path.is_dir():
        raise _folder(path, label)
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
            with igzip.open(path, "rb") as packed:
                head = packed.read(_HEAD)
        except NOT_UNPACKED as error:
            raise InputError(f"{label} is a damaged gzip file: {error}", "copy or download it again") from error
        if not head:
            raise InputError(f"{label} is empty once unpacked", "give a file with a header line and interactions")
    return _text(path, label, head, layout)


def _text(path: Path, label: str, head: bytes, layout: Layout | None) -> DataFile:
    """A file that is to be text, by its first bytes."""
    name = shlex.quote(str(path))
    if head.startswith(b"PK") and zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            members = archive.namelist()
        if "[Content_Types].xml" in members:
            raise InputError(f"{label} is a spreadsheet, neither text nor Parquet", "export it as CSV, TSV or Parquet")
        raise InputError(
            f"{label} is a zip archive ({', '.join(members[:3])}{', ...' if len(members) > 3 else ''})",
            f"unpack it (unzip {name}) and give the files",
        )
    tool = next((tool for magic, tool in _PACKED.items() if head.startswith(magic)), None)
    if tool is not None:
        raise InputError(f"{label} is compressed in a way that is not read", f"unpack it ({tool} {name}), or use gzip")
    if head.startswith(_UTF16) or head[1:400:2].count(0) > 150 or head[:400:2].count(0) > 150:
        raise InputError(
            f"{label} is UTF-16 text",
            f"save it as UTF-8, for example with: iconv -f UTF-16 -t UTF-8 {name} > utf8.csv",
        )
    if b"\0" in head:
        raise InputError(f"{label} is neither text nor Parquet", "export it as CSV, TSV or Parquet")
    if b"\n" not in head and b"\r" in head:
        raise InputError(
            f"{label} has the line ends of an old Macintosh (CR)", f"change them: tr '\\r' '\\n' < {name} > lines.csv"
        )
    text = head.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "replace")
    if text.lstrip()[:1] in ("{", "[") and '"' in text[:200]:
        parquet = shlex.quote(path.with_suffix(".parquet").name)
        raise InputError(
            f"{label} holds JSON, not a table",
            "write it as Parquet, for lines of JSON: python -c 'import sys, polars; "
            f"polars.read_ndjson(sys.argv[1]).write_parquet(sys.argv[2])' {name} {parquet}",
        )
    separator = separator_of(text)
    if layout is None:
        layout = "adjacency" if separator == BLANKS and is_adjacency(text) else "table"
    return DataFile(path, "text", separator, label, layout)


def _folder(path: Path, label: str) -> InputError:
    """A folder in the place of a file: what it holds, and a pattern that matches it."""
    data = sorted(
        p for p in path.rglob("*")
        if p.is_file() and not any(part.startswith((".", "_")) for part in p.relative_to(path).parts)
    )  # fmt: skip
    inside = [p.relative_to(path).as_posix() for p in data]
    listing = f" (it holds {', '.join(inside[:5])}{', ...' if len(inside) > 5 else ''})" if inside else ""
    suffix = data[0].suffix if data else ".parquet"
    deep = any("/" in name for name in inside)
    said = ""
    if any("=" in name.rpartition("/")[0] for name in inside):
        said = "; what stands only in the folders' names is not read"
    return InputError(
        f"{label} is a folder, not a file{listing}",
        f"name the files, for example '{label.rstrip('/')}/{'**/' if deep else ''}*{suffix}'{said}",
    )


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
