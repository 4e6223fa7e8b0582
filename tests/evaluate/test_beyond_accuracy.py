from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from freqd.evaluate import beyond_accuracy

item_counts = arrays(np.int64, st.integers(1, 30), elements=st.integers(0, 50))


def test_counts_leave_out_the_padding_and_what_is_below_the_cutoff():
    ranked = np.array([[0, 3, 1], [3, -1, -1]], np.int32)
    np.testing.assert_array_equal(beyond_accuracy.recommendation_counts(ranked, 5, 2), [1, 0, 0, 2, 0])


def test_coverage_by_hand():
    assert beyond_accuracy.coverage(np.array([3, 0, 1, 0])) == 0.5


@given(item_counts)
def test_gini_equals_the_mean_absolute_difference(counts):
    got = beyond_accuracy.gini(counts)
    if counts.sum() == 0:
        assert got == 0.0
    else:
        expected = np.abs(counts[:, None] - counts[None]).mean() / (2 * counts.mean())
        assert got == pytest.approx(expected, abs=1e-12)
        assert -1e-12 <= got < 1


def test_gini_at_its_ends():
    assert beyond_accuracy.gini(np.full(10, 7)) == pytest.approx(0.0)
    assert beyond_accuracy.gini(np.eye(1, 10, dtype=np.int64)[0]) == pytest.approx(0.9)


@given(st.integers(0, 10_000), st.integers(2, 9), st.integers(1, 5))
def test_diversity_between_lists_equals_the_mean_over_all_pairs(seed, n_lists, k):
    rng = np.random.default_rng(seed)
    lists = np.array([rng.permutation(8)[:k] for _ in range(n_lists)], np.int32)
    counts = beyond_accuracy.recommendation_counts(lists, 8, k)
    pairs = [1 - len(set(a) & set(b)) / k for a, b in combinations(lists.tolist(), 2)]
    assert beyond_accuracy.diversity_between_lists(counts, n_lists, k) == pytest.approx(np.mean(pairs), abs=1e-12)


def test_diversity_between_lists_at_its_ends():
    assert beyond_accuracy.diversity_between_lists(np.array([3, 3, 0]), n_lists=3, k=2) == 0.0
    assert beyond_accuracy.diversity_between_lists(np.array([1, 1, 1]), n_lists=3, k=1) == 1.0
    assert beyond_accuracy.diversity_between_lists(np.array([1, 0]), n_lists=1, k=1) == 0.0, "there is no pair"


def test_popularity_and_novelty_weigh_items_by_how_often_they_are_recommended():
    recommended = np.array([3, 1, 0])
    train = np.array([8, 2, 5])
    assert beyond_accuracy.mean_popularity(recommended, train) == pytest.approx((3 * 8 + 2) / 4)
    assert beyond_accuracy.novelty(recommended, train, n_users=16) == pytest.approx((3 * 1 + 3) / 4)


def test_an_item_that_nobody_met_is_as_new_as_one_that_one_user_met():
    assert beyond_accuracy.novelty(np.array([1, 0]), np.array([0, 4]), n_users=8) == pytest.approx(3.0)


def test_the_share_of_the_most_popular_items():
    recommended, train = np.array([1, 6, 0, 3]), np.array([5, 5, 9, 1])
    assert beyond_accuracy.top_share(recommended, train, 0.01) == 0.0, "at least one item, the most popular"
    assert beyond_accuracy.top_share(recommended, train, 0.5) == pytest.approx(0.1), "of equals the first"
    assert beyond_accuracy.top_share(recommended, train, 1.0) == 1.0


def test_nothing_recommended():
    nothing, train = np.zeros(3, np.int64), np.ones(3, np.int64)
    assert beyond_accuracy.coverage(nothing) == 0.0
    assert beyond_accuracy.mean_popularity(nothing, train) == 0.0
    assert beyond_accuracy.top_share(nothing, train) == 0.0
    assert beyond_accuracy.novelty(nothing, train, n_users=2) == 0.0
