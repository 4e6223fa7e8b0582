"""Events as they come in: lines that are appended, and Parquet parts that they become, on a bounded share of the disk.

A batch is on the disk's side of the process when it is answered: a killed service loses none. Lines become a part when there
are ``ROWS`` of them. All files are their owner's alone.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import polars as pl

from freqd.storage.files import temporary

Kind = Literal["impression", "click", "purchase"]
KINDS: tuple[Kind, ...] = get_args(Kind)
ROWS = 100_000
"""Lines that become a part."""
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
    """The events of one served model, written by one process; several processes may have logs in one folder.

    Args:
        folder: of the events; made with the first of them.
        model: name of the served model.
        max_bytes: of all parts together: the oldest ones make room.
        rows: lines that become a part.
    """

    def __init__(self, folder: Path, model: str, max_bytes: int, rows: int = ROWS) -> None:
        self._folder, self._model, self._max_bytes, self._rows = folder, model, max_bytes, rows
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
        if self._lines >= self._rows:
            self._rotate(file)

    def _open(self) -> int:
        """A new file of lines; those of processes that are gone become parts."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=PRIVATE_FOLDER)
        for path in self._folder.glob("lines-*.jsonl"):
            left = os.open(path, os.O_RDWR)
            try:
                fcntl.flock(left, fcntl.LOCK_EX | fcntl.LOCK_NB)
                self._part(path)
            except BlockingIOError:  # another process writes it
                continue
            finally:
                os.close(left)
        self._path = self._folder / f"lines-{time.time_ns()}-{os.getpid()}.jsonl"
        self._file = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL, PRIVATE_FILE)
        fcntl.flock(self._file, fcntl.LOCK_EX)
        self._lines = 0
        return self._file

    def _rotate(self, file: int) -> None:
        self._part(self._path)
        os.close(file)
        self._file = None

    def _part(self, lines: Path) -> None:
        """Make a part of a file of lines, and room for it. It has the file's name: made twice, it is one."""
        frame = _frame(_whole(lines))
        if not frame.is_empty():
            with temporary(self._folder) as made:
                made.touch(PRIVATE_FILE)
                frame.write_parquet(made)
                made.replace(_part_of(lines))
        lines.unlink(missing_ok=True)
        parts = sorted(self._folder.glob("part-*.parquet"))
        sizes = [part.stat().st_size for part in parts]
        while sum(sizes) > self._max_bytes and len(parts) > 1:
            parts.pop(0).unlink(missing_ok=True)
            sizes.pop(0)


def _part_of(lines: Path) -> Path:
    return lines.with_name(f"part-{lines.stem.removeprefix('lines-')}.parquet")


def read_events(folder: Path) -> pl.LazyFrame:
    """All events of a folder, parts and lines, as the columns of ``SCHEMA``; empty if there are none."""
    left = [path for path in sorted(folder.glob("lines-*.jsonl")) if not _part_of(path).exists()]
    lines = [line for path in left for line in _whole(path)]
    frames = [pl.scan_parquet(part) for part in sorted(folder.glob("part-*.parquet"))]
    return pl.concat([*frames, _frame(lines).lazy()])


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
