"""A billion rows of Parquet to a split in a store on disk, on one machine.

The rows are drawn: 50 million users, a million items, both with many that are rare and few that are frequent, times to the second. Reads
them in portions, since 60 GB of memory for all at once are not there. Takes ten minutes and as many to draw them, 30 GB of disk, and more than 20 GB
of memory, so it is no part of the suite: `make bench-scale`. The folder that FREQD_SCALE_FOLDER names keeps the rows for another time.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks.harness import Figure, Limits, Measured, Options, Report, main
from benchmarks.scale import stage
from benchmarks.scale_run import folder
from benchmarks.scaled import Scale

ROWS, TINY_ROWS = 1_000_000_000, 100_000
FILES = 100
ROWS_A_USER, ROWS_AN_ITEM = 20, 1000
FREE_BYTES = 30 << 30
FIRST, SPAN = 1_500_000_000, 200_000_000
"""Seconds since 1970 of the first time, and how long they go on."""


def draw(place: Path, rows: int) -> None:
    """Write what is not there yet; each file has numbers of its own."""
    place.mkdir(exist_ok=True)
    users, items = rows // ROWS_A_USER, max(rows // ROWS_AN_ITEM, 100)
    for number in range(FILES):
        file = place / f"part-{number:03d}.parquet"
        if file.is_file():
            continue
        rng, count = np.random.default_rng(number), rows // FILES
        frame = pl.DataFrame(
            {
                "user": (users * rng.random(count) ** 1.5).astype(np.int32),
                "item": (items * rng.random(count) ** 3).astype(np.int32),
                "timestamp": FIRST + rng.integers(0, SPAN, count),
            }
        )
        made = file.with_suffix(".making")
        frame.write_parquet(made, compression="lz4", statistics=False)
        made.rename(file)


def run(options: Options, limits: Limits) -> Report:
    """Measure, once."""
    rows = TINY_ROWS if options.tiny else ROWS
    with folder(0 if options.tiny else FREE_BYTES) as place:
        draw(place / "rows", rows)
        found = stage("read", place / "rows", Scale(1, 1, rows), options)
    ingest, kept = found["ingest"], found["kept"]
    return Report(
        "A billion rows to a split on disk",
        f"{rows:,} drawn rows of user, item and time in {FILES} Parquet files; kept {kept['users']:,} users, {kept['items']:,} items and "
        f"{kept['interactions']:,} interactions",
        (Measured("ingest", (ingest["wall"],), (ingest["cpu"],), ingest["peak_bytes"], "memory of the whole process"),),
        (
            Figure("ingest, seconds", ingest["wall"], ingest["cpu"]),
            Figure("peak of the process in GiB", ingest["peak_bytes"] / 2**30, None, "< 24"),
        ),
        (f"{os.cpu_count()} cores.",),
        runs=1,
    )


if __name__ == "__main__":
    main(run)
