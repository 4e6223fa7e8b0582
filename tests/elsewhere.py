"""An engine that does every block as another machine would: last block first, in copies that nobody may write."""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from freqd.numerics.threads import limited


class Elsewhere:
    """Counts what it was asked for in ``blocks`` and ``shared``."""

    here = False

    def __init__(self) -> None:
        self.blocks = self.shared = 0

    def share(self, value: object) -> Any:
        self.shared += 1
        return Shared(sent(value))

    def map(self, work: Callable[..., Any], blocks: Sequence[Any], *shared: object) -> Iterator[Any]:
        self.blocks += len(blocks)
        there = [each.value if isinstance(each, Shared) else sent(each) for each in shared]
        with limited(1):
            found = [sent(pickle.loads(pickle.dumps(work))(sent(block), *there)) for block in reversed(blocks)]
        return reversed(found)


class Shared:
    """What ``share`` gives: nothing can be read from it."""

    def __init__(self, value: object) -> None:
        self.value = value


def sent(value: Any) -> Any:
    """A copy of which no array may be written, as what comes out of a store in shared memory."""
    buffers: list[pickle.PickleBuffer] = []
    stream = pickle.dumps(value, protocol=5, buffer_callback=buffers.append)
    return pickle.load(io.BytesIO(stream), buffers=[bytes(buffer.raw()) for buffer in buffers])
