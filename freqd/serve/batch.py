"""Recommendations for all users at once, in one Parquet file that grows chunk by chunk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet as pq  # type: ignore[import-untyped]

from freqd.data.interactions import IdArray
from freqd.engine import HERE, Engine
from freqd.errors import InputError
from freqd.numerics.threads import blocks_of
from freqd.progress import Progress, silent
from freqd.serve.recommender import FRAME, Recommender
from freqd.storage.files import replacing, storage_error

CHUNK = 4096
"""Users a row group."""


def write_recommendations(
    recommender: Recommender,
    target: Path,
    *,
    k: int = 20,
    exclude_seen: bool = True,
    users: IdArray | None = None,
    progress: Progress = silent,
    engine: Engine = HERE,
) -> int:
    """Write the ``k`` best items of every user: columns user, rank (from 1), item, score, source.

    One row group a ``CHUNK`` of users, in the order of ``users`` (by default all of the model's); memory is that of a chunk. The file is
    renamed into place when it is complete: what was at ``target`` before is replaced at once or not at all.

    Returns:
        Number of rows.

    Raises:
        InputError: ``k`` is not positive, or ``target`` cannot be written.
    """
    if k < 1:
        raise InputError(f"k must be at least 1, got {k}", "ask for one item or more")
    schema = pl.DataFrame(schema=FRAME).to_arrow().schema
    wanted = np.arange(len(recommender.user_ids), dtype=np.int32) if users is None else users
    rows = 0
    try:
        if target.is_dir():
            raise IsADirectoryError(0, f"{target} is a folder")
        with replacing(target) as made, pq.ParquetWriter(made, schema, compression="zstd") as writer:
            blocks = [wanted[block] for block in blocks_of(len(wanted), CHUNK)]
            done = 0
            for block, frame in zip(blocks, engine.map(_ranked, blocks, recommender, k, exclude_seen), strict=True):
                writer.write_table(frame.to_arrow().cast(schema), row_group_size=max(len(frame), 1))
                rows += len(frame)
                done += len(block)
                progress(done / len(wanted), f"{done:,} of {len(wanted):,} users")
    except OSError as error:
        raise storage_error(error, target.parent) from error
    return rows


def _ranked(users: IdArray, recommender: Recommender, k: int, exclude_seen: bool) -> pl.DataFrame:
    """Rows of some users."""
    items, scores = recommender.index.recommend_many(users, k, exclude_seen=exclude_seen)
    found = items >= 0
    counts = found.sum(axis=1)
    known = recommender.features.users[users].any(axis=1)
    frame = pl.DataFrame(
        {
            "user": recommender.user_ids.cast(pl.String).gather(np.repeat(users, counts)),
            "rank": np.broadcast_to(np.arange(1, k + 1), items.shape)[found],
            "item": recommender.item_ids.cast(pl.String).gather(items[found]),
            "score": scores[found].astype(np.float64),
            "source": pl.Series(np.where(known, "model", "popularity")).gather(
                np.repeat(np.arange(len(users)), counts)
            ),
        },
        schema=FRAME,
    )
    return frame
