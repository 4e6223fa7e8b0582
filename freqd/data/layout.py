"""How a text file is laid out, and how many records it has: found out without the parser that reads it.

A parser that meets a stray quote may take thousands of rows for one field. So a file's records are counted here, from
its bytes, and what is read later has to be as many.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal, cast

import numpy as np
import numpy.typing as npt
from isal import igzip

from freqd.data.tally import Bytes, tally
from freqd.numerics.jit import njit

Layout = Literal["table", "adjacency"]
Quotes = Literal["auto", "fields", "plain"]

GZIP_MAGIC = b"\x1f\x8b"
BLANKS = " "
"""As a separator: one blank or more, or tabs."""
DUPLICATED = "_duplicated_"
"""Marks the second column of a name, as polars does."""
_SINGLE = ",\t;|"
_CHUNK = 1 << 20
_NEWLINE, _RETURN, _QUOTE = 10, 13, 34
_TYPED = re.compile(r"(.+):(token|token_seq|float|float_seq)")
"""RecBole's way to name a column."""
_WHOLE = re.compile(r"-?\d+")

Ints = npt.NDArray[np.int64]


def separator_of(head: str) -> str:
    """What splits the first line into the most fields; a comma where nothing does."""
    line = first_line(head)
    best = max(_SINGLE, key=line.count)
    if "::" in line and line.count("::") >= line.count(best):
        return "::"
    if line.count(best):
        return best
    return BLANKS if re.search(r"\S\s+\S", line) else ","


def first_line(head: str) -> str:
    """The first line that is not blank."""
    return next((line for line in head.split("\n") if line.strip()), "").rstrip("\r")


def is_adjacency(head: str) -> bool:
    """Whether these are lines ``user item item ...`` of whole numbers: their lengths differ, so they are no table."""
    lines = [line.split() for line in head.split("\n")[:-1][:200] if line.strip()]
    widths = {len(line) for line in lines}
    return len(widths) > 1 and all(_WHOLE.fullmatch(field) for line in lines for field in line)


def clean_name(name: str) -> str:
    """A column's name without outer blanks, quotes and RecBole's type."""
    bare = name.strip()
    if len(bare) > 1 and bare[0] == bare[-1] == '"':
        bare = bare[1:-1].replace('""', '"').strip()
    typed = _TYPED.fullmatch(bare)
    return typed[1] if typed else bare


@dataclass(frozen=True)
class Fault:
    """Where a file is not what it seems.

    Attributes:
        record: from 1, the header not counted; 0 is the header itself.
        field: from 1.
        what: in words.
    """

    record: int
    field: int
    what: str


@dataclass(frozen=True)
class RecordCount:
    """What the bytes of a text file say.

    Attributes:
        records: how many there are, blank lines included, the header not.
        quoted: whether a quote at the start of a field opens a quoted one; False: quotes are characters like others.
        fault: why the file cannot be read either way; None if it can.
        stray: where a quote is that made all quotes plain characters, or that keeps a field open over what look like rows; None if
            all are in their places.
        short: how many records have fewer fields than the first line, and the first of them.
    """

    records: int
    quoted: bool
    fault: Fault | None = None
    stray: Fault | None = None
    short: tuple[int, int] = (0, 0)


def count_records(content: Path | bytes, separator: str, *, header: bool, quotes: Quotes = "auto") -> RecordCount:
    """Count the records of a file and decide what its quotes mean. Time O(bytes), memory that of a block.

    Quotes mean what RFC 4180 says if all of them are in their places. Else, if every line has as many fields as the
    first one once quotes are taken for plain characters, that is how they are meant (inch marks, a backslash before a
    quote). Otherwise it is not clear where a record ends. Two strays may be in the right places by chance: then whole rows lie
    between them.

    Args:
        content: the file, or its bytes.
        separator: between the fields.
        header: whether the first line names the columns.
        quotes: what quotes mean, if the user says it.
    """
    head, single = int(header), len(separator) == 1 and separator != BLANKS
    found = tally(blocks(content), separator if single else "")
    lines = max(found.lines - head, 0)
    if found.lone_return >= 0 and not found.quotes:
        return RecordCount(0, False, Fault(found.lone_return + 1 - head, 1, LONE_RETURN))
    if not single:
        return RecordCount(lines, False)
    if found.orderly and found.lone_return < 0 and found.separators == found.lines * found.width:
        return RecordCount(lines, bool(found.quotes) and quotes != "plain")
    state = _walked(content, separator, plain=False)
    records = int(state[_RECORD]) - head
    short = (int(state[_SHORT]), int(state[_FIRST_SHORT]) + 1 - head) if state[_SHORT] else (0, 0)
    if not found.quotes:
        return RecordCount(lines, False, short=short)
    if state[_LONE_RETURN] >= 0:
        return RecordCount(0, True, Fault(int(state[_LONE_RETURN]) + 1 - head, 1, LONE_RETURN))
    plain = int(state[_LINE]) - head
    strict = state[_BAD_RECORD] < 0
    bad = Fault(int(state[_BAD_RECORD]) + 1 - head, int(state[_BAD_FIELD]) + 1, _KINDS.get(int(state[_BAD_KIND]), ""))
    spans = Fault(int(state[_INNER]) + 1 - head, int(state[_INNER_FIELD]) + 1, _SPANS)
    if quotes == "plain":
        return RecordCount(plain, False)
    if quotes == "fields":
        return RecordCount(records, True, None if strict else bad, short=short)
    if not strict:
        return RecordCount(plain, False, stray=bad) if state[_BAD_LINE] < 0 else RecordCount(0, True, bad)
    if state[_INNER] < 0:
        return RecordCount(records, True, short=short)
    swallowed = state[_INNER_LINES] >= _MANY_LINES
    if state[_BAD_LINE] < 0:
        return RecordCount(plain, False, stray=spans) if swallowed else RecordCount(0, True, spans)
    return RecordCount(0, True, spans) if swallowed else RecordCount(records, True, stray=spans, short=short)


def _walked(content: Path | bytes, separator: str, *, plain: bool) -> Ints:
    """The state after all bytes."""
    state = np.zeros(_STATE, np.int64)
    state[[_WIDTH, _BAD_LINE, _BAD_RECORD, _INNER, _LONE_RETURN, _FIRST_SHORT]] = -1
    state[_PLAIN] = int(plain)
    for block in blocks(content):
        _walk(block, ord(separator), state)
    _end(state)
    return state


def long_record(path: Path, separator: str, *, header: bool, quoted: bool) -> tuple[int, int, int] | None:
    """The first record with more fields than the first one: its number (as in ``Fault``), its fields, and the first one's."""
    state = _walked(path, separator, plain=not quoted)
    if not state[_LONG_FIELDS]:
        return None
    return int(state[_LONG]) + 1 - int(header), int(state[_LONG_FIELDS]), int(state[_WIDTH]) + 1


def blocks(content: Path | bytes) -> Iterator[Bytes]:
    """The bytes of a file, unpacked if it is a gzip file, or those that are given; without a byte-order mark."""
    first = True
    with _opened(content) as file:
        while block := file.read(_CHUNK):
            if first and block.startswith(b"\xef\xbb\xbf"):
                block = block[3:]
            first = False
            if block:
                yield np.frombuffer(block, np.uint8)


def _opened(content: Path | bytes) -> IO[bytes]:
    if isinstance(content, bytes):
        return io.BytesIO(content)
    with content.open("rb") as raw:
        packed = raw.read(2) == GZIP_MAGIC
    return cast(IO[bytes], igzip.open(content, "rb")) if packed else content.open("rb")


# -- the walk over the bytes ----------------------------------------------------------------------------------------
#
# Two readings at once: by RFC 4180 (records), and with quotes as plain characters (lines).

_STATE = 25
(
    _PLACE, _RECORD, _FIELD, _LINE, _SEPARATORS, _WIDTH, _BAD_LINE, _BAD_RECORD, _BAD_FIELD, _BAD_KIND, _INNER,
    _INNER_FIELD, _SEEN, _SPANNED, _FULL, _LONG, _LONG_FIELDS, _PLAIN, _LINE_BYTES, _OPENED, _OPENED_FIELD,
    _INNER_LINES, _LONE_RETURN, _SHORT, _FIRST_SHORT,
) = range(_STATE)  # fmt: skip
_START, _BARE, _INSIDE, _CLOSED = range(4)
_KINDS = {
    1: "a quote within a field that does not begin with one",
    2: "something after the quote that should end the field",
    3: "a quote that is never closed",
}
_SPANS = "a quote that stays open over lines which are whole rows themselves"
LONE_RETURN = "a line end of an old Macintosh (CR) among others"
_MANY_LINES = 4
"""Whole rows between two quotes that are too many to be the lines of a text."""


@njit(cache=True, nogil=True)
def _special(separator: int) -> Any:  # pragma: no cover - compiled
    """(256,) bool: the bytes that mean something."""
    special = np.zeros(256, np.bool_)
    special[_NEWLINE] = special[_RETURN] = special[_QUOTE] = special[separator] = True
    return special


@njit(cache=True, nogil=True)
def _past_blank_lines(data: Any) -> int:  # pragma: no cover - compiled
    """The first byte that ends no line."""
    k = 0
    while k < len(data) and (data[k] == _NEWLINE or data[k] == _RETURN):
        k += 1
    return k


@njit(cache=True, nogil=True)
def _note_bad(state: Any, record: int, field: int, kind: int) -> None:  # pragma: no cover - compiled
    """A quote out of its place, if it is the first."""
    if state[_BAD_RECORD] < 0:
        state[_BAD_RECORD], state[_BAD_FIELD], state[_BAD_KIND] = record, field, kind


@njit(cache=True, nogil=True)
def _note_length(
    state: Any, record: int, field: int, width: int, line_bytes: int
) -> None:  # pragma: no cover - compiled
    """A record that ends with fewer fields than the first one, or with more."""
    if width > field and (field or line_bytes):
        state[_SHORT] += 1
        if state[_FIRST_SHORT] < 0:
            state[_FIRST_SHORT] = record
    if width >= 0 and field > width and state[_LONG_FIELDS] == 0:
        state[_LONG], state[_LONG_FIELDS] = record, field + 1


@njit(cache=True, nogil=True)
def _walk(data: Any, separator: int, state: Any) -> None:  # pragma: no cover - compiled
    place, record, field, line = state[_PLACE], state[_RECORD], state[_FIELD], state[_LINE]
    separators, width, spanned, full = state[_SEPARATORS], state[_WIDTH], state[_SPANNED], state[_FULL]
    line_bytes, plain = state[_LINE_BYTES], state[_PLAIN]
    special, n, k = _special(separator), len(data), 0
    if not state[_SEEN]:
        k = _past_blank_lines(data)
        state[_SEEN] = k < n
    while k < n:
        first = k
        while k < n and not special[data[k]]:
            k += 1
        if k > first:  # a run of plain characters
            line_bytes += k - first
            if place == _CLOSED:
                _note_bad(state, record, field, 2)
            if place != _INSIDE:
                place = _BARE
            if k == n:
                break
        byte = data[k]
        k += 1
        if byte == _RETURN:
            if k < n and data[k] != _NEWLINE and place != _INSIDE and state[_LONE_RETURN] < 0:
                state[_LONE_RETURN] = record
            continue
        # quotes are quotes
        if byte == _QUOTE:
            if plain:
                place = _BARE
            elif place == _START:
                place = _INSIDE
                state[_OPENED], state[_OPENED_FIELD] = record, field
            elif place == _INSIDE:
                place = _CLOSED
            elif place == _CLOSED:
                place = _INSIDE
            else:
                _note_bad(state, record, field, 1)
            line_bytes += 1
            continue
        if place == _INSIDE:
            if byte == _NEWLINE:
                spanned += 1
                full += width > 0 and separators == width
        elif byte == separator:
            field += 1
            place = _START
        else:
            if 10 * full >= 9 * spanned and separators == width and spanned > state[_INNER_LINES]:
                state[_INNER], state[_INNER_FIELD], state[_INNER_LINES] = record, state[_OPENED_FIELD], spanned
            _note_length(state, record, field, width, line_bytes)
            record += 1
            field = spanned = full = 0
            place = _START
        # quotes are characters like others
        if byte == separator:
            separators += 1
            line_bytes += 1
        else:
            if width < 0:
                width = separators
            elif line_bytes and separators != width and state[_BAD_LINE] < 0:
                state[_BAD_LINE] = line
            line += 1
            separators = line_bytes = 0
    state[_PLACE], state[_RECORD], state[_FIELD], state[_LINE] = place, record, field, line
    state[_SEPARATORS], state[_WIDTH], state[_SPANNED], state[_FULL] = separators, width, spanned, full
    state[_LINE_BYTES] = line_bytes


def _end(state: Ints) -> None:
    """A last line without a line end counts too, and a quote may still be open."""
    if state[_LINE_BYTES] > 0:
        if state[_WIDTH] < 0:
            state[_WIDTH] = state[_SEPARATORS]
        elif state[_SEPARATORS] != state[_WIDTH] and state[_BAD_LINE] < 0:
            state[_BAD_LINE] = state[_LINE]
        state[_LINE] += 1
    if state[_PLACE] == _INSIDE and state[_BAD_RECORD] < 0:
        state[_BAD_RECORD], state[_BAD_FIELD], state[_BAD_KIND] = state[_OPENED], state[_OPENED_FIELD], 3
    elif (
        state[_SPANNED] > state[_INNER_LINES]
        and 10 * state[_FULL] >= 9 * state[_SPANNED]
        and state[_SEPARATORS] == state[_WIDTH]
    ):
        state[[_INNER, _INNER_FIELD, _INNER_LINES]] = state[[_RECORD, _OPENED_FIELD, _SPANNED]]
    if state[_WIDTH] > state[_FIELD] and state[_LINE_BYTES] > 0 and state[_PLACE] != _INSIDE:
        state[_SHORT] += 1
        if state[_FIRST_SHORT] < 0:
            state[_FIRST_SHORT] = state[_RECORD]
    if state[_PLACE] != _START or state[_FIELD]:
        if state[_FIELD] > state[_WIDTH] and state[_LONG_FIELDS] == 0:
            state[_LONG], state[_LONG_FIELDS] = state[_RECORD], state[_FIELD] + 1
        state[_RECORD] += 1
