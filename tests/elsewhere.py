"""An engine that does every block as another machine would: last block first, in copies that nobody may write."""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from freqd.crew import Held, LostWorkerError
from freqd.numerics.threads import limited


class Elsewhere:
    """Counts what it was asked for in ``blocks`` and ``shared``, and in ``crews``.

    Args:
        lost_after: calls to a crew after which its machine is lost, for each that is to be.
    """

    here = False

    def __init__(self, *lost_after: int, retries: int = 2) -> None:
        self.blocks = self.shared = self.crews = 0
        self.retries = retries
        self.lost_after = list(lost_after)

    def share(self, value: object) -> Any:
        self.shared += 1
        return Shared(sent(value))

    def map(self, work: Callable[..., Any], blocks: Sequence[Any], *shared: object) -> Iterator[Any]:
        self.blocks += len(blocks)
        there = [each.value if isinstance(each, Shared) else sent(each) for each in shared]
        with limited(1):
            found = [sent(pickle.loads(pickle.dumps(work))(sent(block), *there)) for block in reversed(blocks)]
        return reversed(found)

    @contextmanager
    def crew(self, make: Callable[..., Any], parts: Sequence[object], *shared: object) -> Iterator[Any]:
        self.crews += 1
        with limited(1):
            held = Held(*sent((make, list(parts), shared)))
            yield Remote(held, self.lost_after.pop(0) if self.lost_after else None)


class Remote:
    """A crew of which only copies come and go, and which is lost after some calls."""

    def __init__(self, held: Held, calls: int | None) -> None:
        self.held, self.calls = held, calls

    def each(self, method: str, *arguments: object) -> list[Any]:
        if self.calls is not None:
            if not self.calls:
                raise LostWorkerError.made()
            self.calls -= 1
        return list(sent(self.held.each(method, *sent(arguments))))


class Shared:
    """What ``share`` gives: nothing can be read from it."""

    def __init__(self, value: object) -> None:
        self.value = value


def sent(value: Any) -> Any:
    """A copy of which no array may be written, as what comes out of a store in shared memory."""
    buffers: list[pickle.PickleBuffer] = []
    stream = pickle.dumps(value, protocol=5, buffer_callback=buffers.append)
    return pickle.load(io.BytesIO(stream), buffers=[bytes(buffer.raw()) for buffer in buffers])
