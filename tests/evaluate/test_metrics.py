from __future__ import annotations

from itertools import pairwise

import ir_measures
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ir_measures import AP, RR, P, R, Success, nDCG
from scipy import sparse

from freqd.evaluate import metrics, top_k

REFERENCE = {"ndcg": nDCG, "recall": R, "precision": P, "map": AP, "mrr": RR, "hit_rate": Success}


def values(ranked: np.ndarray, targets: sparse.csr_array, k: int) -> dict[str, np.ndarray]:
    users = np.arange(len(ranked), dtype=np.int32)
    hits = metrics.hits(ranked.astype(np.int32), targets, users)
    return {name: metric(hits, np.diff(targets.indptr), k) for name, metric in metrics.METRICS.items()}


def assert_equals_ir_measures(ranked: np.ndarray, targets: sparse.csr_array, k: int) -> None:
    rows, columns = targets.nonzero()
    qrels = [ir_measures.Qrel(str(user), str(item), 1) for user, item in zip(rows, columns, strict=True)]
    run = [
        ir_measures.ScoredDoc(str(user), str(item), float(-rank))
        for user, items in enumerate(ranked)
        for rank, item in enumerate(items)
        if item >= 0
    ]
    wanted = {str(measure @ k): name for name, measure in REFERENCE.items()}
    got = values(ranked, targets, k)
    compared = 0
    for metric in ir_measures.iter_calc([measure @ k for measure in REFERENCE.values()], qrels, run):
        assert got[wanted[str(metric.measure)]][int(metric.query_id)] == pytest.approx(metric.value, abs=1e-6)
        compared += 1
    assert compared >= len(REFERENCE) * len(np.unique(rows))


@pytest.mark.parametrize("k", [1, 5, 10, 20])
def test_equals_ir_measures_on_random_lists(k):
    rng = np.random.default_rng(k)
    n_users, n_items = 60, 40
    ranked = rng.permuted(np.tile(np.arange(n_items), (n_users, 1)), axis=1)[:, :20]
    ranked[: n_users // 4, 7:] = -1
    density = rng.choice([0.02, 0.2, 0.8], size=(n_users, 1))
    assert_equals_ir_measures(ranked, sparse.csr_array(rng.random((n_users, n_items)) < density), k)


def test_equals_ir_measures_on_purchases(grocery_split, grocery_features):
    ranked, _ = top_k(grocery_features, grocery_split.train.matrix(), 20)
    assert_equals_ir_measures(ranked, grocery_split.test.matrix(), 10)


lists = st.integers(0, 2**32 - 1).map(np.random.default_rng)


@settings(max_examples=60)
@given(rng=lists, n_items=st.integers(2, 30), density=st.sampled_from([0.0, 0.1, 0.5, 1.0]))
def test_invariants(rng, n_items, density):
    n_users = 8
    depth = int(rng.integers(1, n_items + 1))
    ranked = rng.permuted(np.tile(np.arange(n_items), (n_users, 1)), axis=1)[:, :depth]
    dense = rng.random((n_users, n_items)) < density
    targets = sparse.csr_array(dense)
    by_cutoff = [values(ranked, targets, k) for k in range(1, depth + 1)]
    for at in by_cutoff:
        for name, per_user in at.items():
            assert per_user.dtype == np.float32, name
            assert ((per_user >= 0) & (per_user <= 1 + 1e-6)).all(), name
            assert (per_user[~dense.any(axis=1)] == 0).all(), name
        np.testing.assert_array_equal(at["hit_rate"] > 0, at["ndcg"] > 0)
    for shorter, longer in pairwise(by_cutoff):
        for name in ("recall", "hit_rate", "mrr", "map"):
            assert (longer[name] >= shorter[name]).all(), name
    renamed = rng.permutation(n_items)
    columns = np.empty_like(dense)
    columns[:, renamed] = dense
    after = values(renamed[ranked], sparse.csr_array(columns), depth)
    for name, per_user in after.items():
        np.testing.assert_array_equal(per_user, by_cutoff[-1][name], err_msg=name)


@pytest.mark.parametrize("n_targets", [1, 3, 5])
def test_targets_first_is_perfect(n_targets):
    ranked = np.arange(5)[None]
    targets = sparse.csr_array((np.arange(5) < n_targets)[None])
    got = values(ranked, targets, 5)
    for name in ("ndcg", "recall", "hit_rate", "map", "mrr"):
        assert got[name][0] == 1.0, name
    assert got["precision"][0] == pytest.approx(n_targets / 5)


def test_ideal_list_is_no_longer_than_the_cutoff():
    got = values(np.arange(10)[None], sparse.csr_array(np.ones((1, 10), bool)), 4)
    assert got["ndcg"][0] == 1.0
    assert got["recall"][0] == pytest.approx(0.4)
    assert got["map"][0] == pytest.approx(0.4)


def test_by_hand():
    # Targets 7 and 8; the list 1 7 2 8 hits at ranks 2 and 4.
    targets = sparse.csr_array(([True, True], ([0, 0], [7, 8])), shape=(1, 9))
    got = values(np.array([[1, 7, 2, 8]]), targets, 4)
    ideal = 1 + 1 / np.log2(3)
    expected = {
        "ndcg": (1 / np.log2(3) + 1 / np.log2(5)) / ideal,
        "recall": 1.0,
        "precision": 0.5,
        "hit_rate": 1.0,
        "map": (1 / 2 + 2 / 4) / 2,
        "mrr": 1 / 2,
    }
    assert {name: float(per_user[0]) for name, per_user in got.items()} == pytest.approx(expected)


def test_unsorted_targets_and_a_wrong_number_of_users():
    unsorted = sparse.csr_array((np.ones(3), np.array([4, 0, 2]), np.array([0, 3])), shape=(1, 5))
    ranked = np.array([[2, 1, 4]], np.int32)
    np.testing.assert_array_equal(metrics.hits(ranked, unsorted, np.zeros(1, np.int32)), [[True, False, True]])
    with pytest.raises(ValueError, match="1 lists for 2 users"):
        metrics.hits(ranked, unsorted, np.zeros(2, np.int32))
