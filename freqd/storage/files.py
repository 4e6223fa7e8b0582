"""Files and folders: their digests, the one way to replace them, and what to say when that fails."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from freqd.errors import InputError

MANIFEST = "manifest.json"
"""The file of a folder that says what made it; no part of the folder's digest."""


def file_digest(path: Path) -> str:
    """SHA-256 of a file's content, as hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def text_digest(*parts: str) -> str:
    """SHA-256 of texts, each with its length, so that no two lists of texts collide."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode()
        digest.update(f"{len(data)}:".encode())
        digest.update(data)
    return digest.hexdigest()


def folder_digest(folder: Path, leave_out: Iterable[str] = ()) -> str:
    """SHA-256 over the names and contents of all files below ``folder`` but its manifest and those left out."""
    others = {MANIFEST, *leave_out}
    files = sorted(p for p in folder.rglob("*") if p.is_file() and p.name not in others)
    return text_digest(*(f"{p.relative_to(folder).as_posix()}={file_digest(p)}" for p in files))


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """A name beside ``target``, for the block to write a file or a folder under, which then takes its place.

    A reader sees the old content of a file or the new one, never a part; of a folder besides, for a moment, nothing.
    The new content is on the disk before it gets its name. If the block raises, ``target`` stays as it was.

    Raises:
        OSError: the disk is full, the place cannot be written, or a file is to replace a folder.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with temporary(target.parent, target.name) as made, temporary(target.parent, target.name, "old") as aside:
        yield made
        sync(made)
        if made.is_dir() and target.is_dir():  # a folder cannot be renamed over another one
            target.rename(aside)
        try:
            made.replace(target)
        except OSError:
            if aside.exists():
                aside.rename(target)
            raise


def write_atomic(path: Path, content: str | bytes, *, mode: int | None = None) -> None:
    """Write a file so that a reader sees the old content or the new one, never a part.

    Args:
        path: the file.
        content: of it.
        mode: its permissions, from the first byte on; None for those that new files have.
    """
    with replacing(path) as made:
        if mode is not None:
            made.touch(mode)
        made.write_bytes(content.encode() if isinstance(content, str) else content)


@contextmanager
def temporary(folder: Path, name: str = "", ending: str = "tmp") -> Iterator[Path]:
    """A hidden name in ``folder`` that nobody else has; what still lies under it at the end of the block is removed."""
    path = folder / f".{name}{'.' if name else ''}{uuid.uuid4().hex}.{ending}"
    try:
        yield path
    finally:
        remove(path)


def remove(path: Path) -> None:
    """Take away a file, or a folder with all that is in it; nothing happens if it is not there."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Bring the content of a file, or of all files below a folder, to the disk."""
    for found in [path, *path.rglob("*")] if path.is_dir() else [path]:
        if found.is_file():
            with found.open("rb") as file:
                os.fsync(file.fileno())


_OTHER_PLACE = "name another place (--workdir or FREQD_WORKDIR for the working directory)"
_REMEDIES = {
    errno.ENOSPC: f"free some space, or {_OTHER_PLACE}",
    errno.EDQUOT: f"free some of your quota, or {_OTHER_PLACE}",
    errno.EROFS: f"the file system is read-only: {_OTHER_PLACE}",
    errno.EACCES: f"see who owns it and whether you may write there, or {_OTHER_PLACE}",
    errno.EPERM: f"see who owns it and whether you may write there, or {_OTHER_PLACE}",
    errno.ENAMETOOLONG: "give a shorter name",
    errno.ENOTDIR: f"a folder in the path is a file: {_OTHER_PLACE}",
    errno.EISDIR: "a folder is in its place: give another name, or move it away",
    errno.EEXIST: "something of that name is in its place: give another name, or move it away",
    errno.EIO: f"look at the disk (dmesg), or {_OTHER_PLACE}",
}


def remedy_of(code: int | None) -> str:
    """What a user can do about an error number of the system when something cannot be written."""
    return _REMEDIES.get(code or 0, f"see whether it is there and can be written, or {_OTHER_PLACE}")


def storage_error(error: OSError, place: Path) -> InputError:
    """The error a user sees when the disk is full or the place cannot be written."""
    return InputError(f"cannot write below {place}: {error.strerror or error}", remedy_of(error.errno))
