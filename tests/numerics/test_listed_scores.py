"""Lists of items: their scores by hand, each item once, and random ones that a user has not met."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from freqd.numerics.listed_scores import NO_ITEM, drop_repeated, fill_in, known_scores, random_items, table_scores


def test_table_scores_by_hand():
    users = np.array([[1.0, 2.0]], np.float32)
    items = np.array([[1.0, 1.0], [0.0, -1.0]], np.float32)
    lists = np.array([[1, 0, NO_ITEM]], np.int32)
    np.testing.assert_array_equal(table_scores(users, items, lists), [[-2.0, 3.0, 0.0]])


@settings(deadline=None)
@given(st.lists(st.lists(st.integers(-1, 6), min_size=5, max_size=5), min_size=1, max_size=4))
def test_each_item_stays_once(rows):
    lists = np.array(rows, np.int32)
    drop_repeated(lists)
    for before, after in zip(rows, lists, strict=True):
        assert sorted(after[after >= 0]) == sorted(set(before) - {-1})


def test_random_items_are_never_train_items_and_reach_all_others():
    train = sparse.csr_array(np.array([[1, 0, 0, 1], [0, 0, 0, 0], [1, 1, 1, 1]], np.float32))
    items = random_items(train, 400, np.random.default_rng(0))
    assert set(items[0]) == {NO_ITEM, 1, 2}
    assert set(items[1]) == {0, 1, 2, 3}
    assert set(items[2]) == {NO_ITEM}


LISTS = st.lists(st.lists(st.integers(-1, 9), min_size=6, max_size=6), min_size=3, max_size=3)


@settings(deadline=None)
@given(LISTS, LISTS)
def test_scores_of_earlier_lists_are_taken_over_and_the_others_asked_for(now, then):
    lists, before = np.array(now, np.int32), np.array(then, np.int32)
    drop_repeated(lists)
    drop_repeated(before)
    scores = np.full(lists.shape, -np.inf, np.float32)
    lacking = known_scores(lists, scores, before, before.astype(np.float32) + 0.5)
    for row in range(len(lists)):
        wanted = sorted(set(lists[row].tolist()) - set(before[row].tolist()) - {-1})
        assert lacking[row, : len(wanted)].tolist() == wanted
        assert (lacking[row, len(wanted) :] == NO_ITEM).all()
    assert lacking.shape[1] == max((lacking >= 0).sum(1)) if lacking.size else True
    fill_in(lists, scores, lacking, lacking.astype(np.float32) + 0.5)
    np.testing.assert_array_equal(scores, np.where(lists >= 0, lists.astype(np.float32) + 0.5, -np.inf))
