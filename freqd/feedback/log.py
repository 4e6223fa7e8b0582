"""Events as they come in: lines that are appended, and Parquet parts that they become, on a bounded share of the disk.

A batch is on the disk's side of the process when it is answered: a killed service loses none. Lines become a part when there
are ``ROWS`` or ``LINES_BYTES`` of them. All files are their owner's alone.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import polars as pl

from freqd.storage.files import sync, temporary

Kind = Literal["impression", "click", "purchase"]
KINDS: tuple[Kind, ...] = get_args(Kind)
ROWS, LINES_BYTES = 100_000, 16 * 2**20
"""Lines, and bytes of them, that become a part."""
SCHEMA = {
    "time": pl.Int64,
    "model": pl.String,
    "version": pl.String,
    "user": pl.String,
    "item": pl.String,
    "event": pl.String,
    "position": pl.Int64,
}
PRIVATE_FILE, PRIVATE_FOLDER = 0o600, 0o700


class Event(NamedTuple):
    """Something that a user did, or was shown.

    Attributes:
        user, item: own ids.
        event: impression, click or purchase.
        version: of the model that had recommended it, as the answer said.
        time: microseconds since 1970, UTC; None for now.
        position: in the list, from 1; None if it is not known.
    """

    user: str
    item: str
    event: Kind
    version: str
    time: int | None = None
    position: int | None = None


class EventLog:
    """The events of one served model, written by one process; several processes of one model may have logs in one folder.

    Args:
        folder: of the model's events; made with the first of them.
        model: name of the served model.
        max_bytes: of the folder: the oldest parts make room.
        rows: lines that become a part.
    """

    def __init__(self, folder: Path, model: str, max_bytes: int, rows: int = ROWS) -> None:
        self._folder, self._model, self._max_bytes, self._rows = folder, model, max_bytes, rows
        self._lines_bytes = min(LINES_BYTES, max(1, max_bytes // 4))
        self._lines = 0
        self._file: int | None = None
        self._path = folder

    def write(self, events: Sequence[Event]) -> None:
        """Keep a batch: all of it, or none.

        Raises:
            OSError: the disk is full, or the folder may not be written.
        """
        if not events:
            return
        file = self._file if self._file is not None else self._open()
        now = time.time_ns() // 1000
        rows = [
            {**event._asdict(), "time": now if event.time is None else event.time, "model": self._model}
            for event in events
        ]
        content = "".join(f"{json.dumps(row)}\n" for row in rows).encode()
        before = os.fstat(file).st_size
        try:
            written = os.write(file, content)
            if written < len(content):
                raise OSError(28, "no space left for the whole batch")
        except OSError:
            with suppress(OSError):
                os.ftruncate(file, before)
            raise
        self._lines += len(events)
        if self._lines >= self._rows or before + len(content) >= self._lines_bytes:
            self._close(file)

    def _open(self) -> int:
        """A new file of lines; those of processes that are gone become parts."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=PRIVATE_FOLDER)
        for path in self._folder.glob("lines-*.jsonl"):
            with suppress(FileNotFoundError, BlockingIOError):  # it has become a part, or another process writes it
                left = os.open(path, os.O_RDWR)
                try:
                    fcntl.flock(left, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    _try(self._part, path)
                finally:
                    os.close(left)
        name = f"lines-{time.time_ns()}-{os.getpid()}.jsonl"
        hidden = self._folder / f".{name}"  # seen by nobody before it is locked
        file = os.open(hidden, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL, PRIVATE_FILE)
        fcntl.flock(file, fcntl.LOCK_EX)
        self._path = self._folder / name
        hidden.rename(self._path)
        self._file, self._lines = file, 0
        return file

    def _close(self, file: int) -> None:
        """Make a part of the lines; where that fails they stay as lines, for the next process that opens a log here."""
        _try(self._part, self._path)
        os.close(file)
        self._file = None

    def _part(self, lines: Path) -> None:
        """Make a part of a file of lines, and room for it. It has the file's name: made twice, it is one."""
        frame = _frame(_whole(lines))
        if not frame.is_empty():
            with temporary(self._folder) as made:
                made.touch(PRIVATE_FILE)
                frame.write_parquet(made)
                sync(made)
                made.replace(_part_of(lines))
        lines.unlink(missing_ok=True)
        self._make_room()

    def _make_room(self) -> None:
        sizes: dict[Path, int] = {}
        for path in self._folder.glob("*-*"):
            with suppress(FileNotFoundError):
                sizes[path] = path.stat().st_size
        parts = sorted(path for path in sizes if path.suffix == ".parquet")
        while sum(sizes.values()) > self._max_bytes and len(parts) > 1:
            oldest = parts.pop(0)
            oldest.unlink(missing_ok=True)
            del sizes[oldest]


def _try(action: Callable[[Path], None], path: Path) -> None:
    """What was kept is kept as lines, whatever becomes of the part: the batch must not be refused for it."""
    try:
        action(path)
    except Exception as error:
        logging.getLogger("freqd").warning("events stay as lines in %s: %s", path, error)


def _part_of(lines: Path) -> Path:
    return lines.with_name(f"part-{lines.stem.removeprefix('lines-')}.parquet")


def read_events(folder: Path, unreadable: Callable[[Path], object] = lambda path: None) -> Iterator[pl.DataFrame]:
    """All events of a folder, a part after the other, each with the columns of ``SCHEMA``.

    Args:
        folder: of one model's events.
        unreadable: called with parts that are damaged; they are passed over.
    """
    left = {_part_of(path): list(_whole(path)) for path in sorted(folder.glob("lines-*.jsonl"))}
    parts = sorted(folder.glob("part-*.parquet"))  # after the lines: what became a part meanwhile is among them
    for part in parts:
        try:
            yield pl.read_parquet(part).select(*SCHEMA)
        except FileNotFoundError:  # it made room meanwhile
            continue
        except (pl.exceptions.PolarsError, OSError):
            unreadable(part)
    yield _frame(line for part, lines in left.items() if part not in parts for line in lines)


def _whole(path: Path) -> Iterator[bytes]:
    """The lines of a file that are whole; none if it has become a part meanwhile."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return
    yield from content[: content.rfind(b"\n") + 1].splitlines()


def _frame(lines: Iterable[bytes]) -> pl.DataFrame:
    """Lines as a table; a torn one is passed over."""
    rows = []
    for line in lines:
        with suppress(ValueError):
            rows.append(json.loads(line))
    return pl.DataFrame({name: [row.get(name) for row in rows] for name in SCHEMA}, schema=SCHEMA)
