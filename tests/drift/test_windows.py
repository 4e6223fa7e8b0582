from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from freqd.data.interactions import Interactions, Observed, Split
from freqd.drift import Known, find_fresh
from freqd.drift.windows import latest


def pairs(rows: list[tuple[int, int]], shape: tuple[int, int], time: list[int] | None = None) -> Interactions:
    user, item = (np.array([row[side] for row in rows], np.int32) for side in (0, 1))
    return Interactions(user, item, *shape, None if time is None else np.array(time, np.int64))


def observed(rows: list[tuple[str, str]], time: list[int] | None = None) -> Observed:
    ids = [sorted({row[side] for row in rows}) for side in (0, 1)]
    found = pairs([(ids[0].index(u), ids[1].index(i)) for u, i in rows], (len(ids[0]), len(ids[1])), time)
    return Observed(found, pl.Series("id", ids[0]), pl.Series("id", ids[1]), "test", len(rows), [])


USERS, ITEMS = pl.Series("id", ["b", "a"]), pl.Series("id", ["y", "x"])
SEEN = sparse.csr_array(np.array([[1.0, 0.0], [0.0, 1.0]], np.float32))  # b met y, a met x


def test_what_is_new_by_hand():
    rows = [("a", "x"), ("a", "y"), ("b", "x"), ("b", "new"), ("c", "x"), ("d", "new"), ("d", "other")]
    time = [50, 50, 10, 50, 60, 70, 80]
    found = find_fresh(observed(rows, time), USERS, ITEMS, SEEN, after=10)
    assert found.pairs == 5, "a-x was seen, b-x is not later"
    assert (found.known.user.tolist(), found.known.item.tolist()) == ([1], [0]), "a-y, in the rows of the model"
    assert (found.unknown_user_pairs, found.unknown_users) == (3, 2)
    assert (found.unknown_item_pairs, found.unknown_items) == (3, 2)
    assert found.passed_over == 2
    assert (found.first, found.last) == (50, 80)


def test_without_times_all_that_was_not_seen_is_new():
    found = find_fresh(observed([("a", "x"), ("a", "y"), ("b", "x")]), USERS, ITEMS, SEEN, after=None)
    assert (found.pairs, len(found.known), found.first) == (2, 2, None)
    nothing = find_fresh(observed([("a", "x"), ("b", "y")]), USERS, ITEMS, SEEN, after=None)
    assert (nothing.pairs, nothing.passed_over) == (0, 2)


def split(train: Interactions, valid: Interactions, test: Interactions) -> Split:
    ids = [pl.Series("id", [str(n) for n in range(count)]) for count in (train.n_users, train.n_items)]
    return Split(train, valid, test, *ids)


def test_a_models_interactions_stand_in_the_order_of_time():
    shape = (3, 3)
    known = Known.of(
        split(
            pairs([(0, 0), (1, 1)], shape, [5, 1]), pairs([(0, 1)], shape, [3]), pairs([(2, 0), (2, 2)], shape, [9, 2])
        )
    )
    assert known.interactions.time is not None
    assert known.interactions.time.tolist() == [1, 2, 3, 5, 9]
    assert known.held_out is not None
    assert sorted(zip(known.held_out.user.tolist(), known.held_out.item.tolist(), strict=True)) == [
        (0, 1),
        (2, 0),
        (2, 2),
    ]
    assert latest(known.interactions, 2).item.tolist() == [0, 0]
    assert len(latest(known.interactions, 99)) == 5
    assert len(latest(known.interactions, 0)) == 0


def test_without_times_the_test_part_is_the_latest():
    shape = (3, 3)
    known = Known.of(split(pairs([(0, 0), (1, 1)], shape), pairs([(0, 1)], shape), pairs([(2, 0), (2, 2)], shape)))
    assert latest(known.interactions, 2).user.tolist() == [2, 2]
    assert (known.interactions.user[2], known.interactions.item[2]) == (0, 1)
    seen = Known.of_seen(SEEN)
    assert seen.held_out is None
    assert set(zip(seen.interactions.user.tolist(), seen.interactions.item.tolist(), strict=True)) == {(0, 0), (1, 1)}


@given(seed=st.integers(0, 2**16), timed=st.booleans())
def test_the_order_of_the_rows_does_not_matter(seed, timed):
    rng = np.random.default_rng(seed)
    cells = rng.choice(100, 60, replace=False)
    time = rng.integers(0, 4, 60) if timed else None  # many equal times
    whole = Interactions((cells // 10).astype(np.int32), (cells % 10).astype(np.int32), 10, 10, time)
    order = rng.permutation(40)

    def take(rows: np.ndarray) -> Interactions:
        return replace(
            whole, user=whole.user[rows], item=whole.item[rows], time=None if whole.time is None else whole.time[rows]
        )

    rest = (take(np.arange(40, 50)), take(np.arange(50, 60)))
    one, other = Known.of(split(take(np.arange(40)), *rest)), Known.of(split(take(order), *rest))
    np.testing.assert_array_equal(one.interactions.user, other.interactions.user)
    np.testing.assert_array_equal(one.interactions.item, other.interactions.item)
