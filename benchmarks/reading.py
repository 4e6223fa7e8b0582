"""Ingest of one log in the layouts in which logs come, against what polars alone takes to read its columns.

Copied into the `benchmarks` folder of another checkout it measures that one.
"""

from __future__ import annotations

import gzip
import shutil
import tempfile
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks.harness import Limits, Options, Report, main, measure, ratio
from freqd.config import DataConfig
from freqd.data import Places, ingest

USED = ["user_id", "item_id", "timestamp"]


def run(options: Options, limits: Limits) -> Report:
    """Measure."""
    rows = 5_000 if options.tiny else 3_000_000
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        files = _write(place, rows)
        works = {
            f"ingest: {name}": lambda path=path: ingest(
                DataConfig(source=(str(path),)), seed=0, places=Places(None, place)
            )
            for name, path in files.items()
        }
        works["polars reads the columns"] = lambda: (
            pl.scan_csv(files["plain CSV"], infer_schema=False).select(USED).collect(engine="streaming")
        )
        found = measure(works, options)
        size = files["plain CSV"].stat().st_size
    plain = found["ingest: plain CSV"]
    return Report(
        "Reading a log",
        f"generated{', tiny' if options.tiny else ''}: {rows:,} interactions, {size / 1e6:.0f} MB as plain CSV",
        tuple(found.values()),
        (
            ratio("ingest of plain CSV / polars reads the columns", plain, found["polars reads the columns"]),
            *(ratio(f"{name} / plain CSV", found[f"ingest: {name}"], plain) for name in files if name != "plain CSV"),
        ),
    )


def _write(folder: Path, rows: int) -> dict[str, Path]:
    """The same interactions as files; a title that is not used makes them as wide as logs are."""
    rng = np.random.default_rng(0)
    users, items = rng.integers(0, rows // 30, rows), rng.zipf(1.3, rows) % (rows // 100)
    times = 1_600_000_000 + rng.integers(0, 10**7, rows)
    frame = pl.DataFrame({"user_id": users, "item_id": items, "timestamp": times, "title": ["plain title here"] * rows})
    files = {
        "plain CSV": folder / "plain.csv",
        "every text quoted": folder / "quoted.csv",
        "gzip": folder / "plain.csv.gz",
        "dates and ids with letters": folder / "dates.csv",
        "Parquet": folder / "plain.parquet",
    }
    frame.write_csv(files["plain CSV"])
    frame.write_csv(files["every text quoted"], quote_style="non_numeric")
    with files["plain CSV"].open("rb") as source, gzip.open(files["gzip"], "wb", compresslevel=1) as packed:
        shutil.copyfileobj(source, packed)
    dates = pl.from_epoch(pl.col("timestamp")).dt.strftime("%Y-%m-%d %H:%M:%S")
    lettered = (pl.format("C{}", "user_id"), pl.format("SKU-{}", "item_id"), dates)
    frame.with_columns(expression.alias(name) for name, expression in zip(USED, lettered, strict=True)).write_csv(
        files["dates and ids with letters"]
    )
    frame.write_parquet(files["Parquet"])
    return files


if __name__ == "__main__":
    main(run)
