"""Progress of a stage, on the terminal and as a Prefect progress artifact."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self
from uuid import UUID

from prefect.artifacts import create_progress_artifact, update_progress_artifact
from rich.console import Console
from rich.status import Status
from rich.text import Text

console = Console(stderr=True, highlight=False)

TERMINAL_SECONDS = 10.0
ARTIFACT_SECONDS = 2.0


_alone = True


def one_of_several() -> None:
    """This process writes to a terminal beside others: lines only, none that moves."""
    global _alone
    _alone = False


class StageProgress:
    """A ``freqd.progress.Progress`` that may be called as often as one likes: it shows what is worth showing.

    On a terminal the line is live; in a log a line appears every ``TERMINAL_SECONDS``. The artifact on the Prefect
    page appears once a stage has taken ``ARTIFACT_SECONDS``, and moves at most that often.
    """

    def __init__(self, stage: str) -> None:
        self._stage = stage
        self._artifact: UUID | None = None
        self._shown = self._sent = time.monotonic()
        self._status: Status | None = None
        self._last = 0.0, ""

    def __enter__(self) -> Self:
        if console.is_terminal and _alone:
            self._status = console.status(f"{self._stage} ...")
            self._status.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._status is not None:
            self._status.stop()
        if self._artifact is not None and kind is None:
            update_progress_artifact(self._artifact, 100.0)

    def __call__(self, done: float, text: str) -> None:
        """Show the share that is done, in [0, 1], and a short text."""
        self._last = done, text
        self._show(done, text)

    def blocks(self, done: int, count: int) -> None:
        """Show how many blocks of the present piece of work other machines have done."""
        share, text = self._last
        self._show(share, f"{text}{', ' if text else ''}block {done} of {count}")

    def _show(self, done: float, text: str) -> None:
        now = time.monotonic()
        line = f"{self._stage:<9} {100 * done:3.0f} %  {text}"
        if self._status is not None:
            self._status.update(Text(line, no_wrap=True, overflow="ellipsis"))
        elif now - self._shown >= TERMINAL_SECONDS:
            self._shown = now
            console.print(line, markup=False, soft_wrap=True)
        if now - self._sent >= ARTIFACT_SECONDS:
            self._sent = now
            percent = round(100 * min(max(done, 0.0), 1.0), 1)
            if self._artifact is None:
                created = create_progress_artifact(percent, key=f"{self._stage}-progress", description=text)
                assert isinstance(created, UUID)  # synchronous context
                self._artifact = created
            else:
                update_progress_artifact(self._artifact, percent, description=text)
