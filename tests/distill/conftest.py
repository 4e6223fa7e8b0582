from __future__ import annotations

from collections.abc import Callable

import numpy as np
import polars as pl
import pytest
import torch
from scipy import sparse

from freqd.config import GraphConfig
from freqd.data.interactions import Interactions, Split
from freqd.distill import DistillContext
from freqd.embeddings import Embeddings
from freqd.graph import build_graphs
from freqd.models.readers import combined
from freqd.spectral.filters import Filter, SideFilters


class TableRows:
    """Rows of a plain table, which may be read in any number of steps."""

    def __init__(self, table):
        self.table = table

    def __call__(self, index):
        return self.table[index]

    def combine(self, rows):
        return combined(self, rows)


class TableView:
    """Two plain tables as a view: what the training loop gives to a term."""

    def __init__(self, table: Embeddings) -> None:
        self.user_table = torch.tensor(table.users, requires_grad=True)
        self.item_table = torch.tensor(table.items, requires_grad=True)
        self.users = self.raw_users = TableRows(self.user_table)
        self.items = self.raw_items = TableRows(self.item_table)


def table(rng: np.random.Generator, n_users: int, n_items: int, dim: int) -> Embeddings:
    return Embeddings(
        rng.normal(size=(n_users, dim)).astype(np.float32), rng.normal(size=(n_items, dim)).astype(np.float32)
    )


def planted_split(
    seed: int = 0, n_users: int = 150, n_items: int = 120, per_user: int = 16
) -> tuple[Split, Embeddings]:
    """Users choose by the softmax of known features of 12 numbers; the features are a perfect teacher."""
    rng = np.random.default_rng(seed)
    truth = table(rng, n_users, n_items, 12)
    noise = rng.gumbel(size=(n_users, n_items))
    chosen = np.argsort(-(1.5 * truth.users @ truth.items.T + noise), axis=1)[:, :per_user]
    users = np.repeat(np.arange(n_users, dtype=np.int32), per_user)
    items = rng.permuted(chosen, axis=1).ravel().astype(np.int32)
    part = np.tile(np.arange(per_user), n_users)

    def interactions(mask: np.ndarray) -> Interactions:
        return Interactions(users[mask], items[mask], n_users, n_items)

    split = Split(
        interactions(part < 6),
        interactions((part >= 6) & (part < 10)),
        interactions(part >= 10),
        pl.Series([f"u{n}" for n in range(n_users)]),
        pl.Series([f"i{n}" for n in range(n_items)]),
    )
    return split, truth


def make_context(
    split: Split, teacher: Embeddings, dim: int, *, filters: SideFilters | None = None, seed: int = 0
) -> DistillContext:
    return DistillContext(
        teacher=teacher,
        raw_teacher=teacher,
        ranking_teacher=teacher,
        ranking_table=teacher,
        graphs=build_graphs(split.train, GraphConfig(user_neighbours=3, item_neighbours=3)),
        feature_filters=filters
        or SideFilters(user=Filter(form="linear", alpha=0.3), item=Filter(form="quadratic", alpha=0.2)),
        train=split.train.matrix(),
        dim=dim,
        seed=seed,
    )


@pytest.fixture
def view_of() -> Callable[[Embeddings], TableView]:
    return TableView


@pytest.fixture
def random_table() -> Callable[..., Embeddings]:
    return table


@pytest.fixture
def new_context() -> Callable[..., DistillContext]:
    return make_context


@pytest.fixture(scope="session")
def choices() -> tuple[Split, Embeddings]:
    """Interactions with the features that made them."""
    return planted_split()


@pytest.fixture
def norm_adj() -> sparse.csr_array:
    """A random symmetric normalised adjacency of 30 nodes, one of them isolated."""
    rng = np.random.default_rng(3)
    weights = np.triu(rng.random((30, 30)) * (rng.random((30, 30)) < 0.15), 1).astype(np.float32)
    weights[7] = weights[:, 7] = 0.0
    dense = weights + weights.T
    degree = dense.sum(1)
    scale = np.divide(1.0, np.sqrt(degree), out=np.zeros_like(degree), where=degree > 0)
    return sparse.csr_array((scale[:, None] * dense * scale).astype(np.float32))
