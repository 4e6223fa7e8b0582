"""Part of a run's result that describes its data."""

from __future__ import annotations

from typing import Literal

from pydantic import FiniteFloat

from freqd.report.run_result_parts import ResultPart


class Dropped(ResultPart):
    """Rows that cleaning dropped, why, and what the user can do about it."""

    reason: str
    rows: int
    remedy: str


class PartSizes(ResultPart):
    """Interactions of each part."""

    train: int
    valid: int
    test: int


class Cuts(ResultPart):
    """Where a split by time cut, ISO 8601 in UTC."""

    valid_from: str
    test_from: str


class Times(ResultPart):
    """How times were read, the first one and the last one, ISO 8601 in UTC."""

    read_as: str
    first: str
    last: str


class Kept(ResultPart):
    """What cleaning left."""

    users: int
    items: int
    interactions: int


class DataFacts(ResultPart):
    """The data as the run used them.

    Attributes:
        source: what they were read from.
        digest: of the split, the key of all that was made of it.
        cuts: None unless the split was by time.
        columns: the user's column by role, None where there is none; ``guessed`` are the roles that nobody named.
        times: None where there are no dates.
        rows_read, dropped, kept: before, in and after cleaning.
        density: interactions over users times items.
        cold_test_items: share of the test interactions whose item train does not have.
        users_without_test: users without a test interaction.
    """

    name: str
    source: tuple[str, ...]
    users: int
    items: int
    interactions: int
    digest: str
    split: Literal["time", "random", "given"]
    cuts: Cuts | None = None
    parts: PartSizes
    columns: dict[str, str | None]
    guessed: tuple[str, ...]
    times: Times | None
    rows_read: int
    dropped: tuple[Dropped, ...]
    kept: Kept
    density: FiniteFloat
    cold_test_items: FiniteFloat
    users_without_test: int
    warnings: tuple[str, ...]
