"""The data of a refit: all pairs, also those of users and items that the cut dropped; known rows keep their place."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from freqd.config import DataConfig
from freqd.data import PARTS, Split, everything
from freqd.storage.store import Store

Run = Callable[..., Split]
NEW = ("zoe", "adam")


def ids(split: Split) -> set[tuple[str, str]]:
    users, items = split.user_ids.to_list(), split.item_ids.to_list()
    return {
        (users[u], items[i])
        for part in PARTS
        for u, i in zip(split.part(part).user, split.part(part).item, strict=True)
    }


@pytest.fixture
def frame() -> pl.DataFrame:
    """Sales in the order of time; the last ones are of two users and an item that were not there before."""
    rng = np.random.default_rng(3)
    user, item = np.nonzero(rng.random((60, 40)) < 0.4)
    order = rng.permutation(len(user))
    rows = [(f"u{u}", f"i{i}") for u, i in zip(user[order], item[order], strict=True)]
    rows += [(who, f"i{n}") for n in range(6) for who in NEW] + [(f"u{n}", "brand new") for n in range(7)]
    table = pl.DataFrame(rows, schema=["user", "item"], orient="row")
    return table.with_columns(timestamp=1_704_067_200 + 60 * pl.int_range(len(rows)))


@pytest.fixture
def split(frame: pl.DataFrame, run: Run, tmp_path: Path) -> Split:
    frame.write_csv(tmp_path / "sales.csv")
    return run(DataConfig(source=(str(tmp_path / "sales.csv"),)))


def test_nothing_of_what_the_core_left_is_missing(frame: pl.DataFrame, split: Split) -> None:
    wanted = set(frame.select("user", "item").iter_rows())
    assert not ids(split) & {pair for pair in wanted if pair[0] in NEW or pair[1] == "brand new"}
    whole = everything(split)
    assert ids(whole) == wanted
    assert len(whole.train) == len(wanted) == whole.info.kept.interactions
    assert len(whole.valid) == len(whole.test) == len(whole.latecomers) == 0
    when = dict(zip(map(tuple, frame.select("user", "item").rows()), frame["timestamp"], strict=True))
    users, items, train = whole.user_ids.to_list(), whole.item_ids.to_list(), whole.train
    assert train.time is not None
    for u, i, time in zip(train.user, train.item, train.time, strict=True):
        assert when[users[u], items[i]] == time


def test_known_rows_keep_their_place_and_new_ones_follow_in_order(split: Split) -> None:
    whole = everything(split)
    assert whole.user_ids.to_list() == [*split.user_ids, "adam", "zoe"]
    assert whole.item_ids.to_list() == [*split.item_ids, "brand new"]
    assert whole.train.n_users == whole.valid.n_users == len(split.user_ids) + 2


def test_the_store_keeps_the_latecomers(split: Split, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    again = store.open(store.save(split), Split)
    assert len(again.latecomers) == 19
    assert ids(everything(again)) == ids(everything(split))
    assert store.save(everything(again)).digest == store.save(everything(split)).digest


def test_a_split_without_latecomers_is_all_of_it(frame: pl.DataFrame, run: Run, tmp_path: Path) -> None:
    frame.drop("timestamp").filter(~pl.col("user").is_in(NEW)).write_csv(tmp_path / "plain.csv")
    split = run(DataConfig(source=(str(tmp_path / "plain.csv"),), split="random"))
    whole = everything(split)
    assert ids(whole) == ids(split)
    assert whole.user_ids.to_list() == split.user_ids.to_list()
    assert whole.train.time is None
