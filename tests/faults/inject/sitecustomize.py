"""Loaded by every Python process of a run under test: makes the n-th write below a folder fail, or kills the process there.

FREQD_FAULT=KIND:N:FOLDER, with KIND kill, count or the name of an error such as ENOSPC. Writes are what Python tells its audit
hooks: files opened for writing, folders made, names given.
"""

from __future__ import annotations

import errno
import os
import signal
import sys

_kind, _number, _folder = (*os.environ.get("FREQD_FAULT", "").split(":", 2), "", "", "")[:3]
_seen = 0


def _writes(event: str, arguments: tuple) -> str | None:
    if event == "open":
        path, mode, flags = arguments
        writing = (isinstance(mode, str) and set(mode) & set("wax+")) or (
            mode is None and flags & (os.O_WRONLY | os.O_RDWR)
        )
        return str(path) if writing and isinstance(path, str | os.PathLike) else None
    if event in ("os.rename", "os.mkdir", "os.link"):
        return str(arguments[1] if event != "os.mkdir" else arguments[0])
    return None


def _hook(event: str, arguments: tuple) -> None:
    global _seen
    path = _writes(event, arguments)
    if path is None or not path.startswith(_folder):
        return
    _seen += 1
    if _kind == "count":
        with open(os.environ["FREQD_FAULT_COUNT"], "w") as file:
            file.write(str(_seen))
    elif _seen == int(_number):
        if _kind == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        number = getattr(errno, _kind)
        raise OSError(number, os.strerror(number), path)


if _kind and "-m" not in sys.orig_argv[:4]:  # the run itself, not the servers that it starts
    sys.addaudithook(_hook)
