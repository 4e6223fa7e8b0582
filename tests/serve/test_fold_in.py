"""A new user's features, against the same least squares written another way."""

from __future__ import annotations

import numpy as np

from freqd.serve.fold_in import fold_in


def test_it_solves_its_equation() -> None:
    items = np.random.default_rng(0).standard_normal((30, 3)).astype(np.float32)
    history, alpha, strength = [2, 5, 17], 4.0, 0.3
    y = items.astype(np.float64)
    ridge = strength * np.trace(y.T @ y) / 3
    target = np.zeros(30)
    target[history] = 1.0
    weight = np.where(target > 0, 1 + alpha, 1.0)
    # the same least squares written as stacked equations: √c_i y_i·x = √c_i p_i and √ρ x = 0
    stacked = np.vstack([np.sqrt(weight)[:, None] * y, np.sqrt(ridge) * np.eye(3)])
    expected = np.linalg.lstsq(stacked, np.append(np.sqrt(weight) * target, np.zeros(3)), rcond=None)[0]
    found = fold_in(items[history], y.T @ y, alpha=alpha, regularization=strength)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_rank_deficient_items_without_regularization_are_no_error() -> None:
    items = np.ones((6, 3), np.float32)
    assert np.isfinite(fold_in(items[:1], items.T.astype(np.float64) @ items, regularization=0.0)).all()
