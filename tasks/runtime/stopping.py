"""Ends a run that is told to stop, in a few seconds, whatever it does: SIGTERM, SIGHUP and Ctrl-C.

The first signal raises ``Stopped`` in the main thread, and what is open is closed on the way out; later ones raise nothing,
so that they cannot cut that short. Python runs a handler only between two steps of its own, and Prefect's and MLflow's
farewells wait for servers that may be gone, so a thread counts the seconds and then ends the process. It learns of a
signal at once, through the file descriptor that Python's C handler writes to.

Nothing here happens unless ``install`` was called, as the command line does. The worker's runs keep Prefect's handler.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType

GRACE_SECONDS = 7.0
"""From the first signal to the end of the process at the latest, but for ``LAST_SECONDS``."""
LAST_SECONDS = 1.5
"""For what is still to be done then."""
IMPATIENT_SECONDS = 1.0
"""A second signal after this time ends the process at once; `timeout` sends two in a row."""
LINE = "freqd: stopped by a signal; the same command resumes where it stopped"
_SIGNALS = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)


class Stopped(BaseException):
    """The run is to end now. No error, so that nothing but the command line catches it.

    Args:
        line: what is shown to the user.
        code: exit code of the process.
    """

    def __init__(self, line: str, code: int) -> None:
        self.line, self.code = line, code
        super().__init__(line)


class _State:
    """Of this process."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.pid = 0
        self.wakeup: tuple[socket.socket, socket.socket] | None = None
        self.reason: Stopped | None = None
        self.raised = self.said = False
        self.leaving: int | None = None
        self.last: list[Callable[[], object]] = []


_state = _State()


def install() -> None:
    """Take the signals; by the main thread, before anything slow is imported."""
    if _state.wakeup is not None:
        return
    _state.pid = os.getpid()
    reader, writer = _state.wakeup = socket.socketpair()
    writer.setblocking(False)
    signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    threading.Thread(target=_count, args=(reader,), name="freqd-stopping", daemon=True).start()
    take()


def take() -> None:
    """Take the signals again: Prefect puts a handler of its own in place when a flow begins."""
    if not _state.pid or threading.current_thread() is not threading.main_thread():
        return
    for number in _SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup, or a job in the background
            signal.signal(number, _handle)


def release() -> None:
    """Give the signals back, to a server that has its own way to end."""
    if not _state.pid:
        return
    _state.pid = 0
    signal.set_wakeup_fd(-1)
    for number in _SIGNALS:
        if signal.getsignal(number) is _handle:
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)


@contextlib.contextmanager
def closing(last: Callable[[], object]) -> Iterator[None]:
    """While the block runs, ``last`` is what is done before the process is ended by force; it has a second."""
    _state.last.append(last)
    try:
        yield
    finally:
        _state.last.remove(last)


def stop(line: str, code: int) -> None:
    """End the run for another reason than a signal; by any thread."""
    if not _state.pid or _state.leaving is not None or _state.wakeup is None:
        return
    _decide(Stopped(line, code))
    with contextlib.suppress(OSError):
        _state.wakeup[1].send(bytes([signal.SIGTERM]))
    identity = threading.main_thread().ident
    if identity is not None:
        signal.pthread_kill(identity, signal.SIGTERM)


def leave(code: int) -> None:
    """The command is through: from now on a signal raises nothing, and all farewells together have ``GRACE_SECONDS``."""
    if not _state.pid:
        return
    _state.leaving = code
    threading.Thread(target=_force, args=(GRACE_SECONDS,), daemon=True).start()


def say(line: str) -> None:
    """One line on the error output, once, even if that is closed or full."""
    with _state.lock:
        if _state.said:
            return
        _state.said = True
    with contextlib.suppress(OSError):
        os.write(2, (line + "\n").encode(errors="replace"))


def _decide(reason: Stopped) -> None:
    """The first reason to stop counts."""
    with _state.lock:
        _state.reason = _state.reason or reason


def _handle(number: int, _: FrameType | None) -> None:
    if os.getpid() != _state.pid:  # a child that was forked off
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
        return
    if _state.leaving is not None:
        return
    _decide(Stopped(LINE, 128 + number))
    if not _state.raised:
        _state.raised = True
        assert _state.reason is not None
        raise _state.reason


def _count(reader: socket.socket) -> None:
    """The thread that counts the seconds."""
    first = 0.0
    while True:
        for number in reader.recv(64):
            if number not in _SIGNALS or signal.getsignal(number) is signal.SIG_IGN:
                continue
            now = time.monotonic()
            if not first:
                first = now
                _decide(Stopped(LINE, 128 + number))
                threading.Thread(target=_force, args=(GRACE_SECONDS,), daemon=True).start()
            elif now - first > IMPATIENT_SECONDS:
                threading.Thread(target=_force, args=(0.0,), daemon=True).start()


def _force(after: float) -> None:
    """End the process, whatever it does."""
    time.sleep(after)
    tidy = threading.Thread(target=_tidy, daemon=True)
    tidy.start()
    tidy.join(LAST_SECONDS)
    reason = _state.reason
    if reason is not None and _state.leaving is None:
        say(reason.line)
    os._exit(_state.leaving if _state.leaving is not None else reason.code if reason else 1)


def _tidy() -> None:
    for last in reversed(list(_state.last)):
        with contextlib.suppress(Exception):
            last()
