"""The formats in which owners publish interactions, rewritten as Parquet."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path

import polars as pl

from freqd.storage.files import replacing


def write_parts(parts: Mapping[str, pl.DataFrame], folder: Path) -> None:
    """Write each part as ``<part>.parquet``, so that a reader sees a whole file or none."""
    for name, frame in parts.items():
        with replacing(folder / f"{name}.parquet") as made:
            frame.write_parquet(made)


def _lines(path: Path) -> pl.DataFrame:
    lines = path.read_text().splitlines()
    return pl.DataFrame({"line": lines}, schema={"line": pl.String}).with_row_index("row")


def adjacency_list(path: Path) -> pl.DataFrame:
    """Lines ``user item item ...`` (LightGCN): columns user, item."""
    fields = _lines(path).select(pl.col("line").str.extract_all(r"\d+").cast(pl.List(pl.Int32)).alias("field"))
    return (
        fields.filter(pl.col("field").list.len() > 1)
        .select(user=pl.col("field").list.first(), item=pl.col("field").list.slice(1))
        .explode("item")
    )


def lightgcn(folder: Path) -> dict[str, pl.DataFrame]:
    """train.txt and test.txt of the LightGCN authors."""
    return {part: adjacency_list(folder / f"{part}.txt") for part in ("train", "test")}


def citeulike(folder: Path) -> dict[str, pl.DataFrame]:
    """users.dat of CiteULike-t, cleaned and split as the FreqD authors do.

    Line u is ``count item item ...`` of user u. Users with fewer than 5 items are dropped, users and items are
    numbered anew in order, and of a user's n items, in the file's order, the first max(⌊8n/10⌋, 1) are train, those
    up to ⌊9n/10⌋ validation, the rest test.
    """
    listed = _lines(folder / "users.dat").select(
        "row", item=pl.col("line").str.extract_all(r"\d+").list.slice(1).cast(pl.List(pl.Int32))
    )
    pairs = listed.filter(pl.col("item").list.len() >= 5).explode("item")
    place, count = pl.int_range(pl.len()).over("row"), pl.len().over("row")
    parts = pairs.select(
        user=pl.col("row").rank("dense").cast(pl.Int32) - 1,
        item=pl.col("item").rank("dense").cast(pl.Int32) - 1,
        part=pl.when(place < pl.max_horizontal(count * 8 // 10, 1))
        .then(pl.lit("train"))
        .when(place < count * 9 // 10)
        .then(pl.lit("valid"))
        .otherwise(pl.lit("test")),
    )
    return {name: parts.filter(pl.col("part") == name).drop("part") for name in ("train", "valid", "test")}


_RATINGS = ["user", "item", "rating", "timestamp"]


def _ratings(archive: Path, member: str, separator: str) -> dict[str, pl.DataFrame]:
    with zipfile.ZipFile(archive) as packed:
        text = packed.read(member).replace(separator.encode(), b"\t")
    frame = pl.read_csv(text, separator="\t", has_header=False, new_columns=_RATINGS)
    return {"interactions": frame.with_columns(pl.col("user", "item").cast(pl.Int32))}


def movielens_100k(folder: Path) -> dict[str, pl.DataFrame]:
    """u.data inside ml-100k.zip: tab-separated user, item, rating, epoch seconds."""
    return _ratings(folder / "ml-100k.zip", "ml-100k/u.data", "\t")


def movielens_1m(folder: Path) -> dict[str, pl.DataFrame]:
    """ratings.dat inside ml-1m.zip: user::item::rating::epoch seconds."""
    return _ratings(folder / "ml-1m.zip", "ml-1m/ratings.dat", "::")
