"""Validation looks at the same users every time, and at no more than it may."""

from __future__ import annotations

import numpy as np
import polars as pl

from freqd.data.interactions import Interactions, Split
from freqd.embeddings import Embeddings
from freqd.evaluate import ndcg_on_validation
from freqd.evaluate.validation import Validation


def split() -> Split:
    def part(pairs: list[tuple[int, int]]) -> Interactions:
        users, items = np.array(pairs, np.int32).T
        return Interactions(users, items, 20, 12)

    ids = (pl.Series([str(i) for i in range(20)]), pl.Series([str(i) for i in range(12)]))
    valid = [(u, (u + 3) % 12) for u in range(0, 20, 2)]
    return Split(part([(u, u % 12) for u in range(20)]), part(valid), part([(0, 5)]), *ids)


def features() -> Embeddings:
    rng = np.random.default_rng(0)
    return Embeddings(rng.normal(size=(20, 4)).astype(np.float32), rng.normal(size=(12, 4)).astype(np.float32))


def test_without_a_limit_it_is_the_mean_over_all_users_with_a_target() -> None:
    parts = split()
    validate = Validation.of(parts, limit=None, seed=0)
    assert validate.users.tolist() == list(range(0, 20, 2))
    assert validate(features()) == ndcg_on_validation(features(), parts.train.matrix(), parts.valid.matrix())


def test_a_limit_draws_by_the_seed_and_only_users_with_a_target() -> None:
    drawn = [Validation.of(split(), limit=4, seed=seed).users.tolist() for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert all(len(users) == 4 and users == sorted(users) and all(u % 2 == 0 for u in users) for users in drawn)
