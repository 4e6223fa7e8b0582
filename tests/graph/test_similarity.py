from __future__ import annotations

import numpy as np
import pytest

from freqd.errors import InputError
from freqd.graph import similarity
from freqd.graph.similarity import cosine_neighbours
from tests.oracles import dense_cosine


def found_matrix(features: np.ndarray, k: int) -> np.ndarray:
    neighbours = cosine_neighbours(features, k)
    return neighbours.directed(neighbours.scores.view(np.float32)).toarray()


@pytest.mark.parametrize("k", [1, 6, 500])
def test_equals_dense_reference_across_tiles(k, monkeypatch):
    monkeypatch.setattr(similarity, "ROW_TILE", 32)
    monkeypatch.setattr(similarity, "COLUMN_TILE", 48)
    features = np.random.default_rng(0).normal(size=(150, 12)).astype(np.float32)
    expected = dense_cosine(features, k)
    found = found_matrix(features, k)
    np.testing.assert_array_equal(found > 0, expected > 0)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_negative_cosines_and_zero_rows_give_no_edge():
    features = np.array([[1, 0], [-1, 0], [1, 1], [0, 0]], np.float32)
    found = found_matrix(features, 3)
    expected = np.zeros((4, 4))
    expected[0, 2] = expected[2, 0] = np.sqrt(0.5)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_length_of_a_row_does_not_matter():
    features = np.random.default_rng(1).normal(size=(40, 5)).astype(np.float32)
    scaled = features * np.random.default_rng(2).uniform(0.1, 9.0, (40, 1)).astype(np.float32)
    np.testing.assert_allclose(found_matrix(features, 4), found_matrix(scaled, 4), rtol=1e-5)


def test_values_that_are_not_finite_are_named():
    features = np.ones((5, 2), np.float32)
    features[3, 1] = np.nan
    with pytest.raises(InputError, match="row 3"):
        cosine_neighbours(features, 2)


def test_too_many_nodes_are_refused_before_the_work(monkeypatch):
    monkeypatch.setattr(similarity, "MAX_NODES", 10)
    with pytest.raises(InputError, match="cooccurrence"):
        cosine_neighbours(np.ones((11, 2), np.float32), 2)
