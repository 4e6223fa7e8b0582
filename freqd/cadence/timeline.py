"""All interactions in time, and the windows into which they are cut.

The windows are the last ones of the data, of equal length in whole days (UTC), one right after the other. A model of a
window is made as of the day before it, so that it sees nothing of the window and of what comes after.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import polars as pl

from freqd.config import CadenceConfig, RunConfig
from freqd.data.interactions import Interactions, Observed
from freqd.data.sources import timeless
from freqd.errors import InputError

DAY = 86_400
EPOCH = date(1970, 1, 1)
WITH_TIME = "movielens-100k and grocery are named data sets with time"


@dataclass(frozen=True, eq=False)
class Timeline:
    """Every (user, item) pair at its earliest time, users and items with few partners among them.

    Attributes:
        interactions: with times.
        user_ids, item_ids: the user's own ids as strings; position is the row.
        name: of the source.
    """

    kind: ClassVar[str] = "timeline"
    records: ClassVar[frozenset[str]] = frozenset()

    interactions: Interactions
    user_ids: pl.Series
    item_ids: pl.Series
    name: str

    @classmethod
    def of(cls, observed: Observed) -> Timeline:
        """What was observed.

        Raises:
            InputError: it has no times.
        """
        if observed.interactions.time is None:
            raise _no_times(observed.name)
        return cls(observed.interactions, observed.user_ids, observed.item_ids, observed.name)

    @property
    def time(self) -> npt.NDArray[np.int64]:
        """(n,) seconds since 1970 (UTC)."""
        assert self.interactions.time is not None
        return self.interactions.time.astype(np.int64, copy=False)

    def write(self, folder: Path) -> None:
        """Write ``interactions.parquet``, the ids and ``info.json``."""
        pairs = {"user": self.interactions.user, "item": self.interactions.item, "time": self.time}
        pl.DataFrame(pairs).write_parquet(folder / "interactions.parquet", statistics=False)
        pl.DataFrame({"id": self.user_ids}).write_parquet(folder / "users.parquet", statistics=False)
        pl.DataFrame({"id": self.item_ids}).write_parquet(folder / "items.parquet", statistics=False)
        (folder / "info.json").write_text(json.dumps({"name": self.name}))

    @classmethod
    def read(cls, folder: Path) -> Timeline:
        """Read what ``write`` wrote."""
        frame = pl.read_parquet(folder / "interactions.parquet")
        users, items = (pl.read_parquet(folder / f"{side}.parquet")["id"] for side in ("users", "items"))
        user, item, time = (frame[name].to_numpy() for name in ("user", "item", "time"))
        name = json.loads((folder / "info.json").read_text())["name"]
        return cls(Interactions(user, item, len(users), len(items), time), users, items, name)


@dataclass(frozen=True)
class Window:
    """A stretch of whole days.

    Attributes:
        first: its first day.
        last: its last day.
    """

    first: date
    last: date

    @property
    def as_of(self) -> date:
        """The last day that a model made for this window sees."""
        return self.first - timedelta(days=1)

    @property
    def seconds(self) -> tuple[int, int]:
        """From which second on, and before which one, since 1970 (UTC)."""
        return (self.first - EPOCH).days * DAY, ((self.last - EPOCH).days + 1) * DAY


def check_settings(config: RunConfig) -> None:
    """See that the settings let a model be made as of a date and judged on what came later.

    Raises:
        InputError: the data are to be split in another way or are known to have no times, or the teacher comes from elsewhere.
    """
    if config.data.train is not None or config.data.split in ("random", "given"):
        how = "data.train and data.test" if config.data.train is not None else f"data.split={config.data.split}"
        raise InputError(
            f"{how}: how a model ages shows only where it learns from the past and is judged on what came later",
            f"give one source with a time column and data.split=time; {WITH_TIME}",
        )
    without_times = timeless(config.data)
    if without_times is not None:
        raise _no_times(without_times)
    if config.teacher.is_external:
        raise InputError(
            f"teacher.kind={config.teacher.kind}: they were made once, so they do not age and know what came later",
            "name a teacher that is trained here: als, bpr or lightgcn",
        )


def _no_times(name: str) -> InputError:
    return InputError(
        f"{name} has no time column, so how a model ages cannot be seen",
        f"name the column with data.columns.time, or other data: {WITH_TIME}",
    )


def plan(timeline: Timeline, config: CadenceConfig) -> tuple[Window, ...]:
    """The windows, earliest first; the last one ends with the last day of the data.

    Without ``period_days`` the length is what follows the first ``history`` of the interactions, over the number of
    windows, in whole days.

    Raises:
        InputError: the data are too short for these windows.
    """
    days = np.sort(timeline.time // DAY)
    first, last = int(days[0]), int(days[-1])
    span = last - first + 1
    period = config.period_days
    if period is None:
        early = int(days[min(int(config.history * len(days)), len(days) - 1)])
        period = (last - early) // config.windows
        left = f"{last - early} days after the first {config.history:.0%} of the interactions"
    else:
        left = f"{span} days in all, of which some have to come before the first window"
    begin = last + 1 - config.windows * period
    if period < 1 or begin <= first:
        length = "" if config.period_days is None else f" of {period} days"
        raise InputError(
            f"{timeline.name} is too short for {config.windows} windows{length}: it has {left} ({_day(first)} to {_day(last)})",
            "set a smaller cadence.windows or cadence.period_days, or give data over a longer time",
        )
    starts = [EPOCH + timedelta(days=begin + n * period) for n in range(config.windows)]
    return tuple(Window(start, start + timedelta(days=period - 1)) for start in starts)


def _day(number: int) -> str:
    return str(datetime.fromtimestamp(number * DAY, UTC).date())
