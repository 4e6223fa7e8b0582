"""Item-item weights against their definitions on dense matrices."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from freqd.errors import InputError
from freqd.evaluate.validation import Validation
from freqd.numerics import threads
from freqd.scorer import ItemScorer
from freqd.teachers import item_weights
from freqd.teachers.item_search import search_ease, search_graph_filter, search_neighbours
from freqd.teachers.item_weights import ease_weights, graph_filter_weights, neighbour_weights, truncated_table
from freqd.training.environment import TrainingEnvironment


def power(values: np.ndarray, exponent: float) -> np.ndarray:
    return np.array([value**exponent if value > 0 else 0.0 for value in values])


def dense_filter(train, alpha: float, beta: float) -> np.ndarray:
    r = train.toarray().astype(np.float64)
    users, items = power(r.sum(1), -alpha), r.sum(0)
    weights = np.diag(power(items, -alpha)) @ r.T @ np.diag(users) @ r @ np.diag(power(items, -beta))
    np.fill_diagonal(weights, 0)
    return weights


def dense_cosine(train, shrink: float) -> np.ndarray:
    r = train.toarray().astype(np.float64)
    degrees = r.sum(0)
    weights = np.zeros((len(degrees), len(degrees)))
    for i in range(len(degrees)):
        for j in range(len(degrees)):
            if i != j and degrees[i] and degrees[j]:
                weights[i, j] = (r[:, i] @ r[:, j]) / (np.sqrt(degrees[i] * degrees[j]) + shrink)
    return weights


def largest_of_columns(weights: np.ndarray, keep: int) -> np.ndarray:
    kept = np.zeros_like(weights)
    for column in range(weights.shape[1]):
        values = weights[:, column].astype(np.float32)
        for row in sorted(np.flatnonzero(values), key=lambda row: (-values[row], row))[:keep]:
            kept[row, column] = weights[row, column]
    return kept


@pytest.mark.parametrize(("alpha", "beta"), [(0.5, 0.3), (0.2, 0.6), (1.0, 0.0)])
def test_a_whole_graph_filter_is_the_product_of_its_matrices(train, alpha: float, beta: float) -> None:
    found = graph_filter_weights(train, alpha, beta)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found.toarray(), dense_filter(train, alpha, beta), rtol=1e-6)


@pytest.mark.parametrize("keep", [1, 7, 60])
def test_the_largest_weights_towards_each_item_are_kept(train, keep: int) -> None:
    found = graph_filter_weights(train, 0.5, 0.3, keep)
    whole = dense_filter(train, 0.5, 0.3)
    wanted = largest_of_columns(whole, keep)
    np.testing.assert_allclose(found.sum(axis=0), wanted.sum(axis=0), rtol=1e-5)
    assert (np.diff(found.tocsc().indptr) == (wanted > 0).sum(axis=0)).all()
    kept = found.toarray()
    np.testing.assert_allclose(kept[kept > 0], whole[kept > 0], rtol=1e-6)


def test_among_equal_weights_the_lower_id_is_kept() -> None:
    train = sparse.csr_array(np.ones((3, 5), np.float32))
    found = graph_filter_weights(train, 0.5, 0.5, 2).toarray() > 0
    assert [np.flatnonzero(column).tolist() for column in found.T] == [[1, 2], [0, 2], [0, 1], [0, 1], [0, 1]]


@pytest.mark.parametrize("shrink", [0.0, 12.0])
def test_neighbours_are_the_most_similar_items(train, shrink: float) -> None:
    found = neighbour_weights(train, 9, shrink)
    wanted = largest_of_columns(dense_cosine(train, shrink), 9)
    np.testing.assert_allclose(found.sum(axis=0), wanted.sum(axis=0), rtol=1e-5)
    whole = neighbour_weights(train, train.shape[1], shrink)
    np.testing.assert_allclose(whole.toarray(), dense_cosine(train, shrink), rtol=1e-6)


def test_threads_and_pieces_change_nothing(train, monkeypatch: pytest.MonkeyPatch) -> None:
    with threads.limited(1):
        one = graph_filter_weights(train, 0.5, 0.3, 11)
    monkeypatch.setattr(item_weights, "ROWS_A_PIECE", 7)
    with threads.limited(2):
        other = graph_filter_weights(train, 0.5, 0.3, 11)
    for name in ("indptr", "indices", "data"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


@settings(max_examples=30)
@given(seed=st.integers(0, 999), keep=st.integers(1, 12))
def test_items_that_change_their_numbers_keep_their_weights(seed: int, keep: int) -> None:
    rng = np.random.default_rng(seed)
    pattern = (rng.random((15, 10)) < 0.3).astype(np.float32)
    order = rng.permutation(10)
    one = graph_filter_weights(sparse.csr_array(pattern), 0.5, 0.4, keep)
    other = graph_filter_weights(sparse.csr_array(pattern[:, order]), 0.5, 0.4, keep)
    np.testing.assert_allclose(one.sum(axis=0)[order], other.sum(axis=0), rtol=1e-5)
    np.testing.assert_array_equal(np.diff(one.tocsc().indptr)[order], np.diff(other.tocsc().indptr))


@pytest.mark.parametrize("piece", [1024, 33])
def test_ease_is_the_constrained_regression(train, piece: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(item_weights, "ROWS_A_PIECE", piece)
    found = ease_weights(train, 20.0)
    r = train.toarray().astype(np.float64)
    inverse = np.linalg.inv(r.T @ r + 20.0 * np.eye(r.shape[1]))
    wanted = -inverse / np.diag(inverse)
    np.fill_diagonal(wanted, 0)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-8)
    # each column is the ridge regression of an item on all others
    item = 3
    others = np.delete(r, item, axis=1)
    solved = np.linalg.solve(others.T @ others + 20.0 * np.eye(others.shape[1]), others.T @ r[:, item])
    np.testing.assert_allclose(np.delete(found[:, item], item), solved, rtol=1e-4, atol=1e-7)


def test_ease_says_what_it_cannot_do(train) -> None:
    with pytest.raises(InputError, match="199 items at the most") as refused:
        ease_weights(train, 20.0, max_items=199)
    assert "200 x 200" in refused.value.problem
    with pytest.raises(InputError, match="regularization 0"):
        ease_weights(train, 0.0)  # items without an interaction: no inverse
    with pytest.raises(ValueError, match="at least one weight"):
        graph_filter_weights(train, 0.5, 0.5, 0)


def test_a_table_of_full_rank_scores_as_the_weights_and_a_short_one_best(train) -> None:
    users = np.arange(train.shape[0], dtype=np.int32)
    for weights in (ease_weights(train, 20.0), neighbour_weights(train, 20, 5.0)):
        dense = weights if isinstance(weights, np.ndarray) else weights.toarray()
        scores = ItemScorer(train, weights).block(users)
        full = truncated_table(weights, train, train.shape[1], seed=0)
        np.testing.assert_allclose(full.block(users), scores, atol=1e-4)
        short = truncated_table(weights, train, 10, seed=0)
        left, sizes, right = np.linalg.svd(dense.astype(np.float64))
        best = train.toarray() @ ((left[:, :10] * sizes[:10]) @ right[:10])
        error = np.linalg.norm(short.block(users) - best)
        assert error < 0.1 * np.linalg.norm(best)


def test_searches_return_the_best_of_their_grids(validation: Validation) -> None:
    said: list[str] = []
    environment = TrainingEnvironment(seed=0, progress=lambda done, text: said.append(text))
    for found, count in (
        (search_graph_filter(validation, environment, alpha=(0.3, 0.5), beta=(0.3, 0.5), keep=50), 4),
        (search_neighbours(validation, environment, neighbours=(5, 50), shrink=(0.0, 20.0)), 4),
        (search_ease(validation, environment, regularization=(5.0, 50.0, 500.0)), 3),
    ):
        assert len(found.trials) == count
        assert found.best["valid_ndcg_at_10"] == max(trial["valid_ndcg_at_10"] for trial in found.trials)
        assert validation(found.scorer) == found.best["valid_ndcg_at_10"]
    assert len(said) == 11
    with pytest.raises(ValueError, match="empty"):
        search_ease(validation, environment, regularization=())
