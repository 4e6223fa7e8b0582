from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from freqd.evaluate import strata


def test_activity_groups_by_hand():
    counts = np.array([1, 9, 2, 30, 1, 5, 2, 12])
    values = np.arange(8, dtype=np.float32)
    rows = strata.by_activity(counts, {"ndcg_at_10": values})
    assert [row["train_interactions"] for row in rows] == [[1, 1], [2, 2], [5, 9], [12, 30]]
    assert [row["users"] for row in rows] == [2, 2, 2, 2]
    assert [row["ndcg_at_10"] for row in rows] == [2.0, 4.0, 3.0, 5.0]
    assert rows[0]["group"] == "1 train interactions"
    assert rows[3]["group"] == "12–30 train interactions"


@given(arrays(np.int64, st.integers(1, 60), elements=st.integers(0, 12)), st.integers(1, 6))
def test_activity_groups_hold_everyone_once_and_never_tear_equals_apart(counts, n_groups):
    rows = strata.by_activity(counts, {"x": counts.astype(np.float32)}, n_groups)
    assert 1 <= len(rows) <= n_groups
    assert sum(row["users"] for row in rows) == len(counts)
    ends = [row["train_interactions"] for row in rows]
    assert all(before[1] < after[0] for before, after in pairwise(ends))
    assert sum(row["users"] * row["x"] for row in rows) == pytest.approx(counts.sum())


def test_no_users_make_no_groups():
    assert strata.by_activity(np.zeros(0, np.int64), {}) == []


def test_popularity_groups_by_share_of_the_interactions():
    # In order of popularity: 50, 30, 10, 10, 0 of 100; shares before them 0, .5, .8, .9, 1.
    np.testing.assert_array_equal(strata.popularity_groups(np.array([10, 50, 0, 30, 10])), [2, 0, 2, 1, 2])


def test_items_that_nobody_met_are_tail_even_if_there_is_nothing_else():
    np.testing.assert_array_equal(strata.popularity_groups(np.zeros(3, np.int64)), [2, 2, 2])


def test_what_each_popularity_group_gets():
    groups = strata.popularity_groups(np.array([50, 30, 10, 10]))
    targets = strata.count_by_popularity(np.array([0, 0, 2, 3, 0, 0, 3, 3]), np.array([3, 0, 5]), groups)
    np.testing.assert_array_equal(targets, [[2, 0, 1], [0, 0, 0], [2, 0, 3]])
    found = np.array([[1, 0, 0], [0, 0, 0], [2, 0, 1]])
    rows = strata.by_popularity(groups, targets, found, recommended=np.array([6, 2, 1, 1]), k=10)
    assert rows == [
        {"group": "head", "items": 1, "targets": 4, "recall_at_10": 0.75, "share_of_recommendations": 0.6},
        {"group": "mid", "items": 1, "targets": 0, "recall_at_10": None, "share_of_recommendations": 0.2},
        {"group": "tail", "items": 2, "targets": 4, "recall_at_10": 0.25, "share_of_recommendations": 0.2},
    ]
