"""States of the same data are told from another shop's that is called alike."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from freqd.data.family import dataset_overlap
from freqd.data.interactions import Interactions, Split

WEEK = 7 * 86_400


def shop(
    first_week: int,
    weeks: int,
    *,
    seed: int = 0,
    prefix: str = "",
    users: int = 200,
    items: int = 100,
    times: bool = True,
) -> Split:
    """What is known of a shop between two weeks; each week has purchases of its own, by the seed."""
    rows = []
    for week in range(first_week, first_week + weeks):
        rng = np.random.default_rng([seed, week])
        rows.append(
            (rng.integers(0, users, 400), rng.integers(0, items, 400), week * WEEK + rng.integers(0, WEEK, 400))
        )
    user, item, time = (np.concatenate(column) for column in zip(*rows, strict=True))
    pairs = np.unique(np.stack([user, item], axis=1), axis=0, return_index=True)[1]
    user, item, time = user[pairs], item[pairs], time[pairs]
    user_ids, user = np.unique(user, return_inverse=True)
    item_ids, item = np.unique(item, return_inverse=True)
    part = np.arange(len(user)) % 3

    def of(code: int) -> Interactions:
        kept = part == code
        own = time[kept].astype(np.int64) if times else None
        return Interactions(user[kept].astype(np.int32), item[kept].astype(np.int32), len(user_ids), len(item_ids), own)

    ids = [
        pl.Series([f"{prefix}{side}{n}" if prefix else str(n) for n in of_side])
        for side, of_side in (("u", user_ids), ("i", item_ids))
    ]
    return Split(of(0), of(1), of(2), ids[0], ids[1])


@pytest.mark.parametrize("prefix", ["", "a-"])
@pytest.mark.parametrize("shift", [0, 1, 3])
def test_a_window_that_moved_on_is_the_same_shop(prefix: str, shift: int) -> None:
    found = dataset_overlap(shop(0, 8, prefix=prefix), shop(shift, 8, prefix=prefix))
    assert found.pairs is not None
    assert found.pairs > 0.85
    assert found.holds(0.5, 0.5)


@pytest.mark.parametrize("times", [True, False])
def test_two_shops_that_number_from_1(times: bool) -> None:
    found = dataset_overlap(shop(0, 8, seed=0, times=times), shop(0, 8, seed=1, times=times))
    assert found.users > 0.9
    assert found.items > 0.9
    assert found.pairs is not None
    assert found.pairs < 0.3
    assert not found.holds(0.5, 0.5)


def test_two_shops_with_ids_of_their_own() -> None:
    found = dataset_overlap(shop(0, 8, prefix="a-"), shop(0, 8, prefix="b-"))
    assert (found.users, found.items) == (0.0, 0.0)
    assert not found.holds(0.5, 0.5)


def test_later_weeks_with_new_sessions_prove_themselves_by_their_items() -> None:
    before, now = shop(0, 4, prefix="s-"), shop(4, 4, prefix="s-")
    now = Split(now.train, now.valid, now.test, pl.Series([f"new{n}" for n in range(now.n_users)]), now.item_ids)
    found = dataset_overlap(before, now)
    assert found.pairs is None
    assert found.holds(0.5, 0.5)
    numbered = dataset_overlap(shop(0, 4), shop(4, 4))
    assert numbered.pairs is None
    assert not numbered.holds(0.5, 0.5), "equal numbers from 1 prove nothing"


def test_the_same_books_sold_by_two_shops_at_one_time() -> None:
    before, now = shop(0, 8, prefix="b-"), shop(0, 8, seed=1, prefix="b-")
    now = Split(now.train, now.valid, now.test, pl.Series([f"other{n}" for n in range(now.n_users)]), now.item_ids)
    assert not dataset_overlap(before, now).holds(0.5, 0.5)
