"""Interactions and features to measure on: the real data sets where they are, else generated ones like them."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl

from freqd.config import DataConfig
from freqd.data import Interactions, Places, Split, ingest
from freqd.embeddings import Embeddings
from freqd.teachers.als import AlsHyperparameters, als_sweeps


@dataclass(frozen=True)
class Shape:
    """Size and skew of a data set.

    Attributes:
        interactions: of the train part; a quarter as many are held out for validation and test.
        user_sigma, item_sigma: spread of the log-normal activity of users and popularity of items.
        user_floor: activity that every user has, in units of the median of the log-normal part.
    """

    users: int
    items: int
    interactions: int
    user_sigma: float
    item_sigma: float
    user_floor: float


SHAPES = {
    "gowalla": Shape(29_858, 40_981, 810_128, 1.2, 1.1, 0.5),
    "citeulike": Shape(5_219, 25_181, 98_405, 1.6, 1.3, 0.2),
}
TINY = {"gowalla": Shape(300, 240, 5_000, 1.0, 1.0, 0.5), "citeulike": Shape(150, 200, 2_000, 1.0, 1.0, 0.5)}


@dataclass(frozen=True)
class Dataset:
    """A split and where it comes from."""

    split: Split
    label: str


def load(name: str, *, tiny: bool, whole_train: bool = True) -> Dataset:
    """``name`` from the folder FREQD_DATA_DIR if it is there, else generated interactions of its shape and skew.

    Gowalla comes without a validation part; the one that ``ingest`` cuts off is put back into train with ``whole_train``,
    so that the sizes are those of the published split.
    """
    folder = os.environ.get("FREQD_DATA_DIR")
    if tiny or not folder or not (Path(folder) / name).is_dir():
        split = generated((TINY if tiny else SHAPES)[name], seed=0)
        size = "tiny" if tiny else "same shape and skew"
        return Dataset(split, f"generated, {size} ({name}): {_sizes(split)}")
    with tempfile.TemporaryDirectory() as cache:
        split = ingest(DataConfig(source=(name,)), seed=0, places=Places(Path(folder), Path(cache)))
    if name == "gowalla" and whole_train:
        split = replace(split, train=joined(split.train, split.valid))
    return Dataset(split, f"{name}: {_sizes(split)}")


def generated(shape: Shape, *, seed: int) -> Split:
    """Independent draws of users and items by activity and popularity, each pair once; a tenth each is validation and test."""
    rng = np.random.default_rng(seed)
    activity = np.cumsum(rng.lognormal(0.0, shape.user_sigma, shape.users) + shape.user_floor)
    popularity = np.cumsum(rng.lognormal(0.0, shape.item_sigma, shape.items))
    wanted = shape.interactions * 5 // 4
    keys = np.empty(0, np.int64)
    while len(keys) < wanted:
        missing = wanted - len(keys)
        users, items = (np.searchsorted(w, rng.random(missing) * w[-1], side="right") for w in (activity, popularity))
        keys = np.unique(np.concatenate([keys, users * shape.items + items]))
    order = rng.permuted(np.arange(wanted))
    held_out = order >= shape.interactions
    masks = {"train": ~held_out, "valid": held_out & (order % 2 == 0), "test": held_out & (order % 2 == 1)}

    def interactions(mask: np.ndarray) -> Interactions:
        users, items = np.divmod(keys[mask], shape.items)
        return Interactions(users.astype(np.int32), items.astype(np.int32), shape.users, shape.items)

    ids = {n: pl.Series(np.arange(n).astype(str)) for n in (shape.users, shape.items)}
    parts = {name: interactions(mask) for name, mask in masks.items()}
    return Split(**parts, user_ids=ids[shape.users], item_ids=ids[shape.items])


def features(split: Split, dim: int, *, sweeps: int = 2) -> Embeddings:
    """Features of a few ALS sweeps: enough for scores that are spread like those of a trained model."""
    found = als_sweeps(split.train.matrix(), None, AlsHyperparameters(dim, 10.0, 10.0), sweeps, seed=0)
    if found is None:
        raise RuntimeError("ALS did not stay finite")
    return found


def joined(one: Interactions, other: Interactions) -> Interactions:
    """All pairs of two parts, without times."""
    user, item = np.concatenate([one.user, other.user]), np.concatenate([one.item, other.item])
    return Interactions(user, item, one.n_users, one.n_items)


def _sizes(split: Split) -> str:
    return f"{split.n_users:,} users, {split.n_items:,} items, {len(split.train):,} train interactions"
