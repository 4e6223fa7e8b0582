from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from freqd.evaluate import list_diversity
from freqd.evaluate.list_diversity import diversity_within_lists, spread_over
from freqd.numerics import threads


def dense_reference(lists: np.ndarray, train: np.ndarray) -> float:
    """1 − cosine of the items' columns, over all pairs of each list."""
    norms = np.sqrt(train.sum(axis=0))
    cosine = (train.T @ train) / np.maximum(np.outer(norms, norms), 1e-30)
    rows = []
    for row in lists:
        held = row[row >= 0]
        if len(held) > 1:
            rows.append(np.mean([1 - cosine[a, b] for a, b in combinations(held, 2)]))
    return float(np.mean(rows)) if rows else 0.0


@given(st.integers(0, 10_000), st.integers(1, 4))
def test_equals_the_dense_cosines(seed: int, workers: int) -> None:
    rng = np.random.default_rng(seed)
    train = (rng.random((12, 9)) < 0.3).astype(np.float32)
    lists = np.array([rng.permutation(9)[:5] for _ in range(7)], np.int32)
    lists[0, 3:], lists[1, 1:], lists[2] = -1, -1, -1
    with threads.limited(workers):
        got = diversity_within_lists(lists, sparse.csr_array(train))
    assert got == pytest.approx(dense_reference(lists, train), abs=1e-6)


def test_by_hand() -> None:
    # Items 0 and 1 share both users, item 2 has a user of its own, item 3 nobody.
    train = sparse.csr_array(np.array([[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0]], np.float32))
    assert diversity_within_lists(np.array([[0, 1]], np.int32), train) == pytest.approx(0.0, abs=1e-6)
    assert diversity_within_lists(np.array([[0, 2]], np.int32), train) == 1.0
    assert diversity_within_lists(np.array([[0, 1, 3]], np.int32), train) == pytest.approx(2 / 3)
    assert diversity_within_lists(np.array([[0, -1]], np.int32), train) == 0.0, "there is no pair"


def test_many_lists_are_sampled_evenly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(list_diversity, "MOST_LISTS", 5)
    np.testing.assert_array_equal(spread_over(9), [0, 2, 4, 6, 8])
    np.testing.assert_array_equal(spread_over(3), [0, 1, 2])
    assert len(spread_over(0)) == 0
