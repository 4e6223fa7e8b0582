"""What is reported about a split: how its data were read, what was dropped and why, and where it was cut."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict

from freqd.json_types import JsonObject

How = Literal["time", "random", "given"]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True)


class Dropped(_Record):
    """Rows that were dropped for one reason, and what the user can do about it."""

    reason: str
    rows: int
    remedy: str


class Times(_Record):
    """How times were read, in words, and the first and the last of them, as ISO times in UTC."""

    read_as: str
    first: str
    last: str


class Cuts(_Record):
    """The first time of the validation split and of the test split, as ISO times in UTC."""

    valid_from: str
    test_from: str


class Counts(_Record):
    """How many there are."""

    users: int
    items: int
    interactions: int


class SplitInfo(_Record):
    """What ``ingest`` reports about a split. One that was made otherwise says nothing: all fields have their defaults.

    Attributes:
        name, source: of the data, and what the user asked for. They are no part of what the split is, since the same
            rows may lie elsewhere under another name.
        split: how it was split.
        columns: the column of each role; None where there is none.
        guessed: the roles whose column nobody named.
        times: None where there are no dates.
        cuts: of a split by time; None without one.
        cold_test_items: share of the test pairs whose item train does not know, before those were dropped.
        rows_read: rows of the input.
        dropped: in the order of the checks.
        kept: what is left.
        parts: interactions of each part.
        warnings: what the user should know, in words.
        density: interactions kept / (users · items).
        users_without_test: users without a test interaction.
    """

    name: str = ""
    source: tuple[str, ...] = ()
    split: How = "given"
    columns: Mapping[str, str | None] = {}
    guessed: tuple[str, ...] = ()
    times: Times | None = None
    cuts: Cuts | None = None
    cold_test_items: float = 0.0
    rows_read: int = 0
    dropped: tuple[Dropped, ...] = ()
    kept: Counts = Counts(users=0, items=0, interactions=0)
    parts: Mapping[str, int] = {}
    warnings: tuple[str, ...] = ()
    density: float = 0.0
    users_without_test: int = 0

    def as_dict(self) -> JsonObject:
        """As JSON: what was said of the split, no default."""
        return self.model_dump(mode="json", exclude_unset=True)
