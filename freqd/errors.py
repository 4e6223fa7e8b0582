"""Errors that a user can fix. Everything else is a bug and keeps its traceback."""

from __future__ import annotations


class FreqdError(Exception):
    """Base of freqd's own errors."""


class InputError(FreqdError):
    """The user's input is wrong: data, settings, paths. The command line ends with exit code 2.

    Args:
        problem: what is wrong, naming the file, the column, the row or the value.
        remedy: what the user can do about it.
    """

    def __init__(self, problem: str, remedy: str = "") -> None:
        self.problem = problem
        self.remedy = remedy
        super().__init__(f"{problem}\n  remedy: {remedy}" if remedy else problem)

    def __reduce__(self) -> tuple[type[InputError], tuple[str, str]]:
        return type(self), (self.problem, self.remedy)


class DivergedError(InputError):
    """A training's loss or features are no longer finite: its settings do not suit the data."""


class DamagedArtifactError(FreqdError):
    """An artifact's bytes are not what its digest promises; it has to be made again."""


class RefitError(FreqdError):
    """A model cannot be refitted on all interactions; the judged one is deployed."""


class LeakError(FreqdError):
    """A refitted model where only a judged one may stand: it has seen what is judged, or what the next run is judged by."""
