"""Things that live in processes of their own and keep what they know from one call to the next."""

from __future__ import annotations

import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection, Pipe
from typing import Any, Protocol, Self

from freqd import plugins
from freqd.errors import InputError
from freqd.numerics import threads


class LostWorkerError(InputError):
    """A process that held things has ended, and they with it: killed, or its machine is gone."""

    @classmethod
    def made(cls) -> Self:
        """With its remedy."""
        return cls(
            "a process that trained a part of the users has ended, as one does that is killed or for which there is no memory",
            "give the machine more memory, or take fewer processes (--set threads=1); the same command resumes where it stopped",
        )


class Crew(Protocol):
    """One thing for each of some parts, wherever they are."""

    def each(self, method: str, *arguments: object) -> list[Any]:
        """What ``method(*arguments)`` of every thing gives, in the order of the parts.

        What comes from elsewhere may be read only.

        Raises:
            LostWorkerError: a process has ended.
        """
        ...


class Held:
    """Some of the things, in the process that they live in."""

    def __init__(self, make: Callable[..., Any], parts: Sequence[object], shared: Sequence[object]) -> None:
        self._things = [make(part, *shared) for part in parts]

    def each(self, method: str, *arguments: object) -> list[Any]:
        """As ``Crew``."""
        return [getattr(thing, method)(*arguments) for thing in self._things]


class Spread:
    """The things of several holders as one crew; the n-th of k holders has every k-th part from the n-th on.

    Args:
        ask: the method's name and its arguments: what each holder gives, in their order.
    """

    def __init__(self, ask: Callable[..., list[list[Any]]], n_parts: int) -> None:
        self._ask, self._n_parts = ask, n_parts

    def each(self, method: str, *arguments: object) -> list[Any]:
        """As ``Crew``."""
        found = self._ask(method, *arguments)
        return [found[number % len(found)][number // len(found)] for number in range(self._n_parts)]


@contextmanager
def local_crew(make: Callable[..., Any], parts: Sequence[object], *shared: object) -> Iterator[Crew]:
    """``make(part, *shared)`` of every part, in as many processes as compiled work may use threads; in this one if that is one.

    A part is taken from ``parts`` when it is sent.
    """
    count = min(threads.count(), len(parts))
    if count <= 1:
        yield Held(make, parts, shared)
        return
    workers: list[tuple[subprocess.Popen[bytes], Connection[Any, Any]]] = []
    try:
        for _ in range(count):
            connection, end = Pipe()
            workers.append((_begin(end), connection))
            end.close()
            _send(connection, (sys.path, plugins.loaded_files(), max(threads.count() // count, 1)))

        def ask(*message: object) -> list[list[Any]]:
            for _, connection in workers:
                _send(connection, message)
            return answers()

        def answers() -> list[list[Any]]:
            found = [_answer(connection) for _, connection in workers]
            for worked, answer in found:
                if not worked:
                    raise answer
            return [answer for _, answer in found]

        for number, (_, connection) in enumerate(workers):
            _send(connection, (make, [parts[k] for k in range(number, len(parts), count)], shared))
        answers()
        yield Spread(ask, len(parts))
    finally:
        for process, connection in workers:
            connection.close()
            process.terminate()
        for process, _ in workers:
            process.wait()


def _begin(end: Connection[Any, Any]) -> subprocess.Popen[bytes]:
    """A process at the other end of a connection. It does not read the user's program again, as one of ``multiprocessing`` would."""
    command = [sys.executable, "-c", f"from freqd.crew import hold; hold({end.fileno()})"]
    # in a session of its own, for Ctrl-C is meant for the run, which ends this
    return subprocess.Popen(command, pass_fds=[end.fileno()], stdin=subprocess.DEVNULL, start_new_session=True)


def _send(connection: Connection[Any, Any], message: object) -> None:
    try:
        connection.send(message)
    except (BrokenPipeError, ConnectionResetError) as error:
        raise LostWorkerError.made() from error


def _answer(connection: Connection[Any, Any]) -> tuple[bool, Any]:
    """Whether it worked, and what came of it."""
    try:
        answer: tuple[bool, Any] = connection.recv()
    except (EOFError, ConnectionResetError) as error:
        raise LostWorkerError.made() from error
    return answer


def hold(descriptor: int) -> None:
    """What such a process does until its connection is closed, which it also is when the other one is gone."""
    connection: Connection[Any, Any] = Connection(descriptor)
    try:
        sys.path[:], files, n_threads = connection.recv()
        plugins.load_files(files)
        held: Held | None = None
        answer: tuple[bool, Any]
        with threads.limited(n_threads):
            while True:
                message = connection.recv()
                try:
                    if held is None:
                        held, answer = Held(*message), (True, [])
                    else:
                        answer = (True, held.each(*message))
                except Exception as error:
                    error.add_note(traceback.format_exc())
                    answer = (False, error)
                message = None  # parts may be large
                connection.send(answer)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return
