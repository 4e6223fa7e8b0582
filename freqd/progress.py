"""How long work tells what it is doing: a callable that is handed in, so that the library prints nothing itself."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[float, str], None]
"""Called with the share that is done, in [0, 1], and a short text, often: the receiver drops what it cannot show."""


def silent(done: float, text: str) -> None:
    """A receiver that shows nothing."""
