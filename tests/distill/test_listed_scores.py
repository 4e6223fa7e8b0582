from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from freqd.distill.listed_scores import drop_repeated, listed_scores, random_items
from freqd.evaluate.listed_scores import NO_ITEM, table_scores


def test_listed_scores_and_gradients_are_those_of_plain_indexing(view_of, random_table):
    rng = np.random.default_rng(0)
    table = random_table(rng, 9, 25, 6)
    users = torch.tensor([3, 8, 0])
    lists = torch.from_numpy(rng.integers(-1, 25, size=(3, 12), dtype=np.int32))
    lists[0, :3] = 5
    weights = torch.randn(3, 12)
    fast, plain = view_of(table), view_of(table)
    scores = listed_scores(fast, users, lists)
    rows = plain.items(lists.clamp_min(0).long())
    expected = (plain.users(users).unsqueeze(1) * rows).sum(-1) * (lists >= 0)
    torch.testing.assert_close(scores, expected)
    (scores * weights).sum().backward()
    (expected * weights).sum().backward()
    torch.testing.assert_close(fast.user_table.grad, plain.user_table.grad)
    torch.testing.assert_close(fast.item_table.grad, plain.item_table.grad)


def test_lists_without_any_item_score_nothing(view_of, random_table):
    view = view_of(random_table(np.random.default_rng(0), 2, 3, 4))
    scores = listed_scores(view, torch.tensor([1]), torch.full((1, 4), NO_ITEM, dtype=torch.int32))
    assert torch.equal(scores, torch.zeros(1, 4))


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
