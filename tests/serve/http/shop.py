"""A made-up shop: its recommender, a source of models that needs no registry, and what the tests read of answers."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl
from scipy import sparse

from freqd.embeddings import Embeddings
from freqd.serve import Recommender

USERS, ITEMS = 40, 60


def make_recommender(seed: int = 0) -> Recommender:
    rng = np.random.default_rng(seed)
    return Recommender(
        Embeddings(
            rng.standard_normal((USERS, 4)).astype(np.float32), rng.standard_normal((ITEMS, 4)).astype(np.float32)
        ),
        pl.Series([f"u{i}" for i in range(USERS)]),
        pl.Series([f"i{i}" for i in range(ITEMS)]),
        sparse.csr_array((np.random.default_rng(9).random((USERS, ITEMS)) < 0.2).astype(np.float32)),
    )


RECOMMENDER = make_recommender()


class Fixed:
    """A source that needs no registry."""

    name, alias = "shop", "champion"

    def __init__(self) -> None:
        self.now = "1"
        self.models: dict[str, Recommender | Exception] = {"1": RECOMMENDER}
        self.down: Exception | None = None

    def version(self) -> str:
        if self.down is not None:
            raise self.down
        return self.now

    def load(self, version: str) -> Recommender:
        found = self.models[version]
        if isinstance(found, Exception):
            raise found
        return found


def items(answer: dict[str, Any]) -> list[str]:
    return [entry["item"] for entry in answer["items"]]


def wait_for(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)
