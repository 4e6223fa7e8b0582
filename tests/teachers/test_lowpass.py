"""The low-pass teacher against the definition on dense matrices."""

from __future__ import annotations

import numpy as np
import pytest

from freqd.embeddings import Embeddings
from freqd.evaluate.validation import Validation
from freqd.teachers.lowpass import LowpassGrid, lowpass_factors, lowpass_table, search_lowpass
from freqd.training.environment import TrainingEnvironment


def dense(train, dim: int, a: float, b: float, p: float, q: float) -> tuple[np.ndarray, np.ndarray]:
    """Scores and users, as the definition reads."""
    r = train.toarray().astype(np.float64)
    du, di = r.sum(1), r.sum(0)
    matrix = np.zeros_like(r)
    for u, i in zip(*np.nonzero(r), strict=True):
        matrix[u, i] = du[u] ** -a * di[i] ** -b
    left, sizes, right = np.linalg.svd(matrix)
    users = left[:, :dim] * sizes[:dim] ** p
    norms = np.linalg.norm(users, axis=1, keepdims=True)
    users = np.where(du[:, None] > 0, users / np.where(norms > 0, norms, 1), 0)
    items = right[:dim].T * sizes[:dim] ** p * np.where(di > 0, di, 1)[:, None] ** q
    return users @ items.T * (di > 0), users


@pytest.mark.parametrize(("a", "b", "p", "q"), [(0.5, 0.5, 0.5, 0.5), (0.3, 0.7, 1.0, 0.25), (0.5, 0.4, 0.0, 0.0)])
def test_a_table_scores_as_the_dense_definition(train, a: float, b: float, p: float, q: float) -> None:
    factors = lowpass_factors(train, min(train.shape), seed=0, alpha_user=a, alpha_item=b)
    table = lowpass_table(factors, 12, spectrum=p, item_degree=q)
    scores, _ = dense(train, 12, a, b, p, q)
    there = np.diff(train.indptr) > 0
    np.testing.assert_allclose((table.users @ table.items.T)[there], scores[there], atol=2e-3 * np.abs(scores).max())
    np.testing.assert_allclose(np.linalg.norm(table.users[there], axis=1), 1.0, rtol=1e-5)


def test_rows_without_an_interaction_are_zero(train) -> None:
    table = lowpass_table(lowpass_factors(train, 8, seed=0), 8, item_degree=-0.5)
    lonely_users = np.diff(train.indptr) == 0
    lonely_items = np.bincount(train.indices, minlength=train.shape[1]) == 0
    assert lonely_users.any()
    assert lonely_items.any()
    assert not table.items[lonely_items].any()
    np.testing.assert_allclose(table.users[lonely_users], 0.0, atol=1e-6)


def test_smaller_sizes_come_from_the_same_factors(train) -> None:
    large = lowpass_factors(train, 24, seed=0)
    cut, own = lowpass_table(large, 6), lowpass_table(lowpass_factors(train, 6, seed=0), 6)
    one, other = (table.users @ table.items.T for table in (cut, own))
    assert np.linalg.norm(one - other) < 0.1 * np.linalg.norm(one)
    with pytest.raises(ValueError, match="between 1 and the 24"):
        lowpass_table(large, 25)


def test_a_scale_of_the_data_does_not_matter_only_the_pattern(train) -> None:
    doubled = train * np.float32(2)
    one, other = (lowpass_table(lowpass_factors(matrix, 6, seed=0), 6) for matrix in (train, doubled))
    np.testing.assert_array_equal(one.items, other.items)


def test_the_search_returns_the_best_trial_and_what_was_measured(validation: Validation) -> None:
    said: list[tuple[float, str]] = []
    environment = TrainingEnvironment(seed=0, progress=lambda done, text: said.append((done, text)))
    grid = LowpassGrid((4, 12, 10_000), ((0.5, 0.5), (0.3, 0.5)), (0.0, 1.0), (0.0, 0.5))
    found = search_lowpass(validation, grid, environment)
    info = found.info
    assert len(info["trials"]) == 2 * 3 * 2 * 2
    assert {trial["factors"] for trial in info["trials"]} == {4, 12, min(validation.train.shape)}
    assert info["valid_ndcg_at_10"] == max(trial["valid_ndcg_at_10"] for trial in info["trials"])
    assert validation(found.features) == info["valid_ndcg_at_10"]
    assert info["kind"] == "lowpass"
    assert info["factors"] == found.features.dim
    assert [done for done, _ in said] == sorted(done for done, _ in said)
    assert said[-1][0] == 1.0
    popular = np.bincount(validation.train.indices, minlength=validation.train.shape[1]).astype(np.float32)
    best_sellers = Embeddings(np.ones((validation.train.shape[0], 1), np.float32), popular[:, None])
    assert info["valid_ndcg_at_10"] > 1.1 * validation(best_sellers)
