"""Entry point of `freqd`: signals are taken before anything slow is imported, and errors end in one line."""

from __future__ import annotations

import os
import sys

from tasks.runtime import stopping


def main() -> None:
    """Run the command line; the process ends with its exit code, see `freqd --help`."""
    stopping.install()
    os.umask(0o077)  # what is written holds users' ids, salts and keys: it is its owner's alone
    try:
        from flows.cli.main import command_line

        code = command_line()
    except stopping.Stopped as stopped:
        stopping.say(stopped.line)
        code = stopped.code
    except BrokenPipeError:  # `freqd settings | head -1`
        code = 0
    stopping.leave(code)
    for stream in (sys.stdout, sys.stderr):
        code = _flushed(stream, code)
    stopping.leave(code)
    sys.exit(code)


def _flushed(stream: object, code: int) -> int:
    """What is left to be written is; the exit code, 1 if that cannot be done."""
    if stream is None:  # it was closed: freqd ... >&-
        return code
    try:
        stream.flush()  # type: ignore[attr-defined]
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())  # type: ignore[attr-defined]
    except (OSError, ValueError) as error:
        stopping.say(f"freqd: the output cannot be written: {getattr(error, 'strerror', None) or error}")
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())  # type: ignore[attr-defined]
        return code or 1
    return code
