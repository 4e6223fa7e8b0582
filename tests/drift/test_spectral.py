from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from freqd.config import GraphConfig, SpectralConfig
from freqd.data.interactions import Interactions
from freqd.drift.spectral import SpectralModel, centred_unit_rows, spectral_shift
from freqd.embeddings import Embeddings
from freqd.spectral import band_edges
from tests.oracles import dense_band_energies, dense_cooccurrence, dense_norm_adj, grocery_like

K = GraphConfig(user_neighbours=5, item_neighbours=5)
BANDS = SpectralConfig(bands=4)


def taste(data: Interactions, dim: int = 6) -> Embeddings:
    """Features that know the interactions: the leading singular vectors."""
    left, singular, right = np.linalg.svd(data.matrix().toarray(), full_matrices=False)
    return Embeddings(
        (left[:, :dim] * singular[:dim]).astype(np.float32), np.ascontiguousarray(right[:dim].T, np.float32)
    )


def halves(seed: int = 0) -> tuple[Interactions, Interactions, Embeddings]:
    """Two halves of the same interactions, and features made of all of them."""
    data = grocery_like(seed, 300, 120, mean=30.0)
    first = np.random.default_rng(seed).random(len(data)) < 0.5

    def part(rows: np.ndarray) -> Interactions:
        return replace(data, user=data.user[rows], item=data.item[rows])

    return part(first), part(~first), taste(data)


BEFORE, AFTER, FEATURES = halves()


def shift(before: Interactions, after: Interactions, features: Embeddings = FEATURES, spectral=BANDS):
    return spectral_shift(before, after, SpectralModel(features, K, spectral), np.random.default_rng(0))


@pytest.mark.parametrize(("method", "atol"), [("exact", 1e-4), ("chebyshev", 0.05)])
def test_against_a_dense_eigendecomposition(method, atol):
    found = shift(BEFORE, AFTER, spectral=BANDS.model_copy(update={"method": method, "degree": 200}))
    tables = {"user": FEATURES.users, "item": FEATURES.items}
    for window, shares, frequency in (("before", "before", "frequency_before"), ("after", "after", "frequency_after")):
        data = BEFORE if window == "before" else AFTER
        dense = data.matrix().toarray().astype(np.float64)
        for side, incidence in (("user", dense), ("item", dense.T)):
            there = incidence.any(axis=1)
            signal = tables[side] - tables[side].mean(axis=0)
            signal = (signal / np.linalg.norm(signal, axis=1, keepdims=True))[there]
            adjacency = dense_cooccurrence(incidence[there], 5)
            norm_adj = dense_norm_adj((adjacency + adjacency.T) / 2)
            expected = dense_band_energies(sparse.csr_array(norm_adj), signal, band_edges(4)) / (signal**2).sum()
            np.testing.assert_allclose(getattr(found[side], shares), expected, atol=atol)
            laplacian = np.eye(len(norm_adj)) - norm_adj
            mean = np.trace(signal.T @ laplacian @ signal) / (signal**2).sum()
            assert getattr(found[side], frequency) == pytest.approx(mean, abs=1e-5)


def test_the_same_interactions_lose_nothing():
    for found in shift(BEFORE, BEFORE).values():
        assert found.telling
        assert found.moved == 0.0
        assert found.lost == 0.0
        assert not found.beyond_chance


def test_other_interactions_of_the_same_taste_lose_little_and_those_of_none_nearly_all():
    shuffled = replace(AFTER, item=np.random.default_rng(1).permutation(AFTER.item))
    calm, lost = shift(BEFORE, AFTER), shift(BEFORE, shuffled)
    for side in ("user", "item"):
        assert abs(calm[side].lost) < 0.3
        assert lost[side].lost > 0.7
        assert lost[side].beyond_chance
        assert lost[side].moved > calm[side].moved


def test_features_that_know_nothing_have_nothing_to_lose():
    rng = np.random.default_rng(0)
    blind = Embeddings(*(rng.normal(size=(n, 6)).astype(np.float32) for n in (300, 120)))
    constant = Embeddings(np.ones((300, 6), np.float32), np.zeros((120, 6), np.float32))
    for features in (blind, constant):
        assert not any(found.telling for found in shift(BEFORE, AFTER, features).values())
    assert shift(BEFORE, AFTER, constant)["item"].before.tolist() == [0.0] * 4


@settings(max_examples=10)
@given(seed=st.integers(0, 2**16), scale=st.sampled_from([1e-3, 0.5, 7.0, 1e4]))
def test_neither_the_order_of_rows_nor_the_scale_of_features_matters(seed, scale):
    order = np.random.default_rng(seed).permutation(len(AFTER))
    mixed = replace(AFTER, user=AFTER.user[order], item=AFTER.item[order])
    scaled = Embeddings(FEATURES.users * np.float32(scale), FEATURES.items * np.float32(scale))
    one, other = shift(BEFORE, AFTER), shift(BEFORE, mixed, scaled)
    for side in ("user", "item"):
        assert one[side].lost == pytest.approx(other[side].lost, abs=1e-3)
        np.testing.assert_allclose(one[side].after, other[side].after, atol=1e-3)


def test_unit_rows():
    table = np.array([[3.0, 0.0], [1.0, 0.0], [2.0, 2.0], [2.0, -2.0]], np.float32)
    np.testing.assert_allclose(centred_unit_rows(table), [[1, 0], [-1, 0], [0, 1], [0, -1]], atol=1e-6)
    assert not centred_unit_rows(np.full((5, 3), 7.0, np.float32)).any()
