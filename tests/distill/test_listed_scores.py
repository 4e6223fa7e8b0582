from __future__ import annotations

import numpy as np
import torch

from freqd.distill.listed_scores import listed_scores
from freqd.numerics.listed_scores import NO_ITEM


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
