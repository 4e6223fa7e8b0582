from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from freqd.embeddings import Embeddings
from freqd.evaluate import ndcg_on_validation, ranking, top_k
from freqd.numerics import threads


def dense_top_k(features: Embeddings, seen: sparse.csr_array | None, k: int) -> tuple[np.ndarray, np.ndarray]:
    """All scores, a stable sort, and the same padding: what ``top_k`` has to equal."""
    scores = features.users @ features.items.T
    if seen is not None:
        pattern = sparse.csr_array((np.ones(seen.nnz), seen.indices, seen.indptr), shape=seen.shape)
        scores[pattern.toarray() > 0] = -np.inf
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    best = np.take_along_axis(scores, order, axis=1)
    items = np.full((len(scores), k), -1)
    values = np.full((len(scores), k), -np.inf, np.float32)
    items[:, : order.shape[1]] = np.where(np.isneginf(best), -1, order)
    values[:, : order.shape[1]] = best
    return items, values


def whole_numbers(rng: np.random.Generator, n_users: int, n_items: int, dim: int) -> Embeddings:
    """Features whose inner products are exact in float32, with many ties."""
    return Embeddings(
        rng.integers(-2, 3, (n_users, dim)).astype(np.float32), rng.integers(-2, 3, (n_items, dim)).astype(np.float32)
    )


def random_seen(rng: np.random.Generator, n_users: int, n_items: int, density: float) -> sparse.csr_array:
    return sparse.csr_array((rng.random((n_users, n_items)) < density).astype(np.float32))


@settings(max_examples=60)
@given(
    seed=st.integers(0, 2**32 - 1),
    n_users=st.integers(1, 40),
    n_items=st.integers(1, 60),
    k=st.integers(1, 70),
    density=st.sampled_from([0.0, 0.1, 0.7, 1.0]),
    block=st.integers(1, 17),
    tile=st.integers(1, 23),
)
def test_equals_a_stable_sort_for_any_tiling(seed, n_users, n_items, k, density, block, tile):
    rng = np.random.default_rng(seed)
    features = whole_numbers(rng, n_users, n_items, 3)
    seen = random_seen(rng, n_users, n_items, density)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ranking, "USER_BLOCK", block)
        patch.setattr(ranking, "ITEM_TILE", tile)
        items, scores = top_k(features, seen, k)
        earlier, _ = top_k(whole_numbers(rng, n_users, n_items, 3), seen, k)
        hinted = top_k(features, seen, k, hint=earlier)
    expected_items, expected_scores = dense_top_k(features, seen, k)
    np.testing.assert_array_equal(items, expected_items)
    np.testing.assert_array_equal(scores, expected_scores)
    np.testing.assert_array_equal(hinted[0], expected_items)
    np.testing.assert_array_equal(hinted[1], expected_scores)
    assert items.dtype == np.int32
    assert scores.dtype == np.float32


@pytest.mark.parametrize("n_users", [1, ranking.USER_BLOCK - 1, ranking.USER_BLOCK, ranking.USER_BLOCK + 1])
@pytest.mark.parametrize("n_items", [ranking.ITEM_TILE, ranking.ITEM_TILE + 1, 2 * ranking.ITEM_TILE + 65])
def test_edges_of_the_shipped_blocks(n_users, n_items):
    rng = np.random.default_rng(n_users + n_items)
    features = whole_numbers(rng, n_users, n_items, 5)
    seen = random_seen(rng, n_users, n_items, 0.05)
    for got, expected in zip(top_k(features, seen, 13), dense_top_k(features, seen, 13), strict=True):
        np.testing.assert_array_equal(got, expected)


def test_real_valued_scores_and_long_lists():
    rng = np.random.default_rng(5)
    features = Embeddings(
        rng.standard_normal((700, 24)).astype(np.float32), rng.standard_normal((1500, 24)).astype(np.float32)
    )
    items, scores = top_k(features, None, 300)
    expected_items, expected_scores = dense_top_k(features, None, 300)
    np.testing.assert_allclose(scores, expected_scores, rtol=1e-5, atol=1e-5)
    own = np.einsum("ud,ukd->uk", features.users, features.items[items])
    np.testing.assert_allclose(own, scores, rtol=1e-4, atol=1e-4)
    assert (items == expected_items).mean() > 0.999


@pytest.mark.parametrize("dim", [7, 400])
def test_a_hint_changes_nothing_however_the_scores_are_rounded(dim):
    rng = np.random.default_rng(dim)
    features = Embeddings(
        rng.normal(size=(300, dim)).astype(np.float32), rng.normal(size=(700, dim)).astype(np.float32)
    )
    seen = random_seen(rng, 300, 700, 0.05)
    plain = top_k(features, seen, 20)
    for given_again, before in zip(top_k(features, seen, 20, hint=plain[0]), plain, strict=True):
        np.testing.assert_array_equal(given_again, before)
    with pytest.raises(ValueError, match="seen or repeated"):
        top_k(features, seen, 20, hint=np.repeat(plain[0][:, :1], 20, axis=1))


def test_equal_scores_come_in_order_of_the_ids():
    features = Embeddings(np.ones((2, 1), np.float32), np.ones((2000, 1), np.float32))
    seen = sparse.csr_array(([1.0, 1.0], ([1, 1], [0, 2])), shape=(2, 2000))
    items, _ = top_k(features, seen, 4)
    np.testing.assert_array_equal(items, [[0, 1, 2, 3], [1, 3, 4, 5]])


def test_is_the_same_for_any_number_of_threads(monkeypatch):
    rng = np.random.default_rng(3)
    features = Embeddings(
        rng.standard_normal((1300, 20)).astype(np.float32), rng.standard_normal((900, 20)).astype(np.float32)
    )
    seen = random_seen(rng, 1300, 900, 0.02)
    found = []
    for workers in (1, 2, 4):
        monkeypatch.setattr(threads, "count", lambda workers=workers: workers)
        found.append(top_k(features, seen, 10))
    one, two, four = found
    for other in (two, four):
        np.testing.assert_array_equal(one[0], other[0])
        np.testing.assert_array_equal(one[1], other[1])


def test_users_may_be_chosen_in_any_order():
    rng = np.random.default_rng(4)
    features = whole_numbers(rng, 50, 80, 4)
    seen = random_seen(rng, 50, 80, 0.2)
    users = np.array([31, 2, 2, 49], np.int32)
    everyone = top_k(features, seen, 6)
    for got, expected in zip(top_k(features, seen, 6, users=users), everyone, strict=True):
        np.testing.assert_array_equal(got, expected[users])
    assert top_k(features, seen, 6, users=users[:0])[0].shape == (0, 6)


def test_seen_items_are_never_recommended_even_with_unsorted_or_zero_entries(monkeypatch):
    monkeypatch.setattr(ranking, "ITEM_TILE", 1)
    features = Embeddings(np.ones((1, 1), np.float32), np.array([[5], [4], [3], [2]], np.float32))
    unsorted = sparse.csr_array((np.array([0.0, 1.0]), np.array([2, 0]), np.array([0, 2])), shape=(1, 4))
    items, scores = top_k(features, unsorted, 3)
    np.testing.assert_array_equal(items, [[1, 3, -1]])
    np.testing.assert_array_equal(scores, [[4, 2, -np.inf]])
    np.testing.assert_array_equal(unsorted.indices, [2, 0])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("table", ["user", "item"])
def test_refuses_features_that_are_not_finite(value, table):
    users, items = np.ones((4, 2), np.float32), np.ones((5, 2), np.float32)
    (users if table == "user" else items)[3, 1] = value
    with pytest.raises(ValueError, match=f"features of {table} 3 are not finite"):
        top_k(Embeddings(users, items), None, 2)


def test_refuses_scores_that_overflow_but_not_large_ones_that_fit():
    big = np.full((2, 2), 1.5e19, np.float32)
    with pytest.raises(ValueError, match="scores are not finite"):
        top_k(Embeddings(big, big), None, 1)
    _, scores = top_k(Embeddings(big, np.array([[1.5e19, -1.5e19]], np.float32)), None, 1)
    np.testing.assert_array_equal(scores, 0.0)


def test_names_what_is_wrong_with_the_arguments():
    features = Embeddings(np.ones((3, 2), np.float32), np.ones((4, 2), np.float32))
    with pytest.raises(ValueError, match="k must be at least 1, got 0"):
        top_k(features, None, 0)
    with pytest.raises(ValueError, match=r"seen has shape \(3, 5\)"):
        top_k(features, sparse.csr_array((3, 5)), 1)
    with pytest.raises(ValueError, match=r"users must lie in \[0, 3\)"):
        top_k(features, None, 1, users=np.array([3], np.int32))


def test_ndcg_on_validation_by_hand():
    # User 0 ranks items 3 2 1 0; 3 is in train, so 2 is first and 1 second. User 1 ranks 0 1 2 3. User 2 has no target.
    features = Embeddings(np.array([[1], [-1], [1]], np.float32), np.arange(4, dtype=np.float32)[:, None])
    train = sparse.csr_array(([1.0], ([0], [3])), shape=(3, 4))
    valid = sparse.csr_array((np.ones(3), ([0, 1, 1], [1, 0, 3])), shape=(3, 4))
    second = 1 / np.log2(3)
    users = [second, (1 + 1 / np.log2(5)) / (1 + second)]
    assert ndcg_on_validation(features, train, valid) == pytest.approx(np.mean(users))
    assert ndcg_on_validation(features, train, valid, k=1) == pytest.approx(0.5)
    assert ndcg_on_validation(features, train, valid, sample=np.array([2, 1], np.int32)) == pytest.approx(users[1])
    with pytest.raises(ValueError, match="no user has a validation item"):
        ndcg_on_validation(features, train, valid, sample=np.array([2], np.int32))
