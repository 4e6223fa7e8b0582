"""How alike are states of one data set, and how alike two that only share their numbers? Not part of the suite.

    python -m benchmarks.family

Weekly states of two real data sets, each against the one a week later: sliding windows of several lengths. Against them two
shops that number their users and items from 1, made of the two halves of grocery's households. `registry.min_known_share`
and `registry.min_pair_share` have to lie between.
"""

from __future__ import annotations

import itertools
import os
import tempfile
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import polars as pl

from freqd.config import ColumnConfig, DataConfig
from freqd.data import Places, Split, ingest
from freqd.data.catalog import find
from freqd.data.family import dataset_overlap
from freqd.errors import InputError

SETS = (
    ("grocery", "household_id", "product_id", "transaction_timestamp"),
    ("movielens-100k", "user", "item", "timestamp"),
)
WEEKS, STATES = (1, 2, 4, 8, 16), 12


def states(frame: pl.DataFrame, weeks: int, cache: Path) -> Iterator[Split | None]:
    """A window of so many weeks, a week later each time; None where one is too small to be split."""
    start, end = frame["time"].min(), frame["time"].max()
    for week in range(STATES + 1):
        first = start + timedelta(weeks=week)  # type: ignore[operator]
        last = first + timedelta(weeks=weeks)
        if last <= end + timedelta(days=1):  # type: ignore[operator]
            yield split(frame.filter((pl.col("time") >= first) & (pl.col("time") < last)), cache)


def split(frame: pl.DataFrame, cache: Path) -> Split | None:
    """As a run would read and split these interactions."""
    path = cache / "state.parquet"
    frame.write_parquet(path)
    columns = ColumnConfig(user="user", item="item", time="time")
    try:
        return ingest(DataConfig(source=(str(path),), columns=columns), seed=0, places=Places(None, cache))
    except InputError:
        return None


def show(what: str, pairs: list[tuple[Split | None, Split | None]]) -> None:
    """A line of the table: the range of each share, and how many pass the default thresholds."""
    found = [dataset_overlap(before, now) for before, now in pairs if before is not None and now is not None]
    if not found:
        return
    shares = []
    for name in ("users", "items", "pairs"):
        values = [value for kin in found if (value := getattr(kin, name)) is not None]
        shares.append(f"{min(values):.3f} to {max(values):.3f}" if values else "none to compare")
    print(f"| {what} | {len(found)} | {' | '.join(shares)} | {sum(kin.holds(0.5, 0.5) for kin in found)} |", flush=True)


def main() -> None:
    """Print the table."""
    folder = os.environ.get("FREQD_DATA_DIR")
    print("| states | pairs of states | users known | items known | pairs known | taken for one family |")
    print("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        cache = Path(name)
        frames = {}
        for data, user, item, time in SETS:
            located = find(data, None if folder is None else Path(folder), cache)
            frame = pl.read_parquet(located.files["interactions"].path).select(user=user, item=item, time=time)
            if frame["time"].dtype.is_numeric():
                frame = frame.with_columns(pl.from_epoch("time", "s"))
            frames[data] = frame.with_columns(pl.col("time").dt.replace_time_zone(None))
            for weeks in WEEKS:
                found = list(states(frames[data], weeks, cache))
                show(f"{data}, {weeks} weeks, a week later", list(itertools.pairwise(found)))
        halves = []
        for half in (0, 1):
            shop = frames["grocery"].filter(pl.col("user").cast(pl.Int64) % 2 == half)
            numbered = shop.with_columns(pl.col("user", "item").rank("dense").cast(pl.Int64))
            halves.append(split(numbered, cache))
        show("two shops that number from 1", [(halves[0], halves[1]), (halves[1], halves[0])])


if __name__ == "__main__":
    main()
