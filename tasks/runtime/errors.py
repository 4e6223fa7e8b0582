"""Errors that a user can fix though no check foresaw them: a full disk, a damaged database, a limit of the system."""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from freqd.errors import InputError
from freqd.storage.files import remedy_of, storage_error

PLACE = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EFBIG}
"""Errors of a place that is full or may not be written; waiting does not fix them."""
_MEMORY = (
    "can't start new thread",
    "failed to map segment",
    "Cannot allocate memory",
    "DefaultCPUAllocator",
    "bad_alloc",
)


def translate(error: BaseException) -> InputError | None:
    """The error in the user's words, with a remedy; None for what is a fault of the program."""
    for seen in _chain(error):
        if isinstance(seen, InputError):
            return seen
    for seen in _chain(error):
        found = _of_one(seen)
        if found is not None:
            return found
    return None


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error and what led to it, each once."""
    pending, known = [error], set()
    while pending:
        seen = pending.pop(0)
        if id(seen) in known:
            continue
        known.add(id(seen))
        yield seen
        pending += [
            other for other in (seen.__cause__, seen.__context__, getattr(seen, "orig", None)) if other is not None
        ]


def _of_one(error: BaseException) -> InputError | None:
    text = str(error)
    if isinstance(error, OSError) and error.errno in PLACE:
        return storage_error(error, Path(error.filename or _workdir()))
    if isinstance(error, OSError) and error.errno in {errno.EMFILE, errno.ENFILE}:
        return InputError("too many files are open", "raise the limit (ulimit -n 4096), or run less at once")
    if isinstance(error, OSError) and error.errno == errno.EIO:
        return InputError(f"the disk reports an error: {text}", remedy_of(errno.EIO))
    if isinstance(error, sqlite3.Error):
        return _of_database(text)
    if isinstance(error, MemoryError) or any(word in text for word in _MEMORY):
        return InputError(
            f"not enough memory: {text.splitlines()[0] if text else type(error).__name__}",
            "raise the limit (ulimit -v, ulimit -u), close other programs, or take a machine with more memory",
        )
    return None


def _of_database(text: str) -> InputError | None:
    """What SQLite says of Prefect's or MLflow's file."""
    if "disk is full" in text:
        return storage_error(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), Path(_workdir()))
    if "disk I/O" in text:
        return InputError(f"the disk reports an error: {text}", remedy_of(errno.EIO))
    if "not a database" in text or "malformed" in text:
        return InputError(
            f"a database below {_workdir()} is damaged: {text}",
            "`freqd doctor` says which; bring it back from a backup, or move it away: what it holds of runs and models is then gone",
        )
    if "unable to open" in text or "readonly" in text:
        return InputError(
            f"a database below {_workdir()} cannot be opened: {text}",
            "see whether its folder is there and whether you may write in it",
        )
    return None


def _workdir() -> str:
    home = os.environ.get("PREFECT_HOME")
    return str(Path(home).parent) if home else "the working directory"
