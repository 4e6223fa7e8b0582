"""Work in blocks: on this machine, or wherever an engine from outside takes it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol, TypeVar

from freqd.crew import Crew, local_crew

B = TypeVar("B")
R = TypeVar("R")


class Engine(Protocol):
    """Does one piece of work on many blocks of its input."""

    @property
    def here(self) -> bool:
        """Whether it is done in this process, on all threads that compiled work may use: then there is nothing to gain from blocks."""
        ...

    def share(self, value: object) -> Any:
        """What stands for a large value among the ``shared`` of several calls of ``map``, so that it travels once."""
        ...

    def map(self, work: Callable[..., R], blocks: Sequence[B], *shared: object) -> Iterator[R]:
        """``work(block, *shared)`` of every block, in the order of the blocks, each as soon as it is there.

        What it gives is the same wherever the work is done.

        Args:
            work: a function of a module, without effects: a block that is lost is done again.
            blocks: small.
            shared: what every block needs, which is not changed by the work.
        """
        ...

    def crew(
        self, make: Callable[..., object], parts: Sequence[object], *shared: object
    ) -> AbstractContextManager[Crew]:
        """Things that stay, ``make(part, *shared)`` of every part, while the context is open.

        Args:
            make: a function of a module, or a class.
            parts: each is asked for when it is sent.
        """
        ...

    @property
    def retries(self) -> int:
        """How often work that was lost with a process or a machine is done again."""
        ...


class Here:
    """One block after the other; what stays is in processes beside this one."""

    here = True
    retries = 0

    def share(self, value: object) -> Any:
        """The value itself."""
        return value

    def map(self, work: Callable[..., R], blocks: Sequence[B], *shared: object) -> Iterator[R]:
        """``work(block, *shared)`` of every block."""
        return (work(block, *shared) for block in blocks)

    def crew(
        self, make: Callable[..., object], parts: Sequence[object], *shared: object
    ) -> AbstractContextManager[Crew]:
        """See ``local_crew``."""
        return local_crew(make, parts, *shared)


HERE = Here()
