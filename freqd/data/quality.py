"""What ingest dropped and why, and the gate that stops hopeless data."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from freqd.data.info import Dropped, SplitInfo
from freqd.errors import InputError


@dataclass
class CleaningReport:
    """Counts of rows dropped, in the order of the checks, and warnings."""

    rows_read: int = 0
    warnings: list[str] = field(default_factory=list)
    _dropped: dict[str, Dropped] = field(default_factory=dict)

    @property
    def dropped(self) -> tuple[Dropped, ...]:
        """In the order of the checks; reasons that hit no row are left out."""
        return tuple(row for row in self._dropped.values() if row.rows)

    def drop(self, reason: str, rows: int, remedy: str, check: str | None = None) -> None:
        """Note that ``rows`` rows were dropped, beside those that the same check dropped earlier.

        Args:
            reason: in words.
            rows: how many.
            remedy: what the user can do about it.
            check: which check it was; the reason stands for it. Named where the reason tells of one row.
        """
        earlier = self._dropped.get(check or reason)
        if earlier is not None and earlier.rows:
            reason, rows = earlier.reason, earlier.rows + rows
        self._dropped[check or reason] = Dropped(reason=reason, rows=int(rows), remedy=remedy)

    def history(self) -> str:
        """The drops in one line, for an error that explains how nothing came to be left."""
        steps = [f"{row.rows:,} x {row.reason}" for row in self.dropped]
        return f"{self.rows_read:,} rows read; dropped: {'; '.join(steps) or 'none'}"

    def require(self, rows: int, what: str, remedy: str) -> None:
        """Raise ``InputError`` if no row is left."""
        if rows == 0:
            raise InputError(f"{what} ({self.history()})", remedy)


class Check(NamedTuple):
    """A row of the table of `freqd data check`: what was checked, how many rows it concerns (if any), and a note."""

    check: str
    rows: int | None
    note: str


@dataclass(frozen=True)
class QualityReport:
    """The outcome of `freqd data check`.

    Attributes:
        info: what is reported about the split that a run would make; None if the data cannot be used.
        problem, remedy: what is wrong, if they cannot.
    """

    info: SplitInfo | None
    problem: str = ""
    remedy: str = ""

    @property
    def ok(self) -> bool:
        """Whether a run could use the data."""
        return self.info is not None

    def table(self) -> list[Check]:
        """What was read, dropped and kept; what is wrong comes first."""
        info = self.info
        if info is None:
            return [Check("stopped", None, f"{self.problem}; remedy: {self.remedy}")]
        return [
            Check("read", info.rows_read, ", ".join(info.source)),
            *(Check(label, None, text) for label, text in taken(info)),
            *(Check(f"dropped: {row.reason}", row.rows, row.remedy) for row in info.dropped),
            Check("kept", info.kept.interactions, f"{info.kept.users:,} users, {info.kept.items:,} items"),
            *(Check(part, count, "") for part, count in info.parts.items()),
            *(Check("warning", None, text) for text in info.warnings),
        ]


def taken(info: SplitInfo) -> list[tuple[str, str]]:
    """What the data were taken for, label and text: columns, times, the cuts of a split by time."""
    rows = [("columns", ", ".join(f"{role} = {name}" for role, name in info.columns.items() if name is not None))]
    times, cuts = info.times, info.cuts
    if times is not None:
        rows.append(("times", f"read as {times.read_as}: {_minute(times.first)} to {_minute(times.last)} UTC"))
    if times is not None and cuts is not None:
        valid, test = _minute(cuts.valid_from), _minute(cuts.test_from)
        rows.append(("split", f"by time: validation from {valid}, test from {test} UTC"))
    else:
        rows.append(("split", {"given": "as given", "random": "at random", "time": "by time"}[info.split]))
    return rows


def _minute(time: str) -> str:
    return time[:16].replace("T", " ")
