from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from freqd.config import GraphConfig, SpectralConfig
from freqd.data.interactions import Interactions
from freqd.graph import Graph, build_graphs
from freqd.spectral import band_edges, chebyshev
from freqd.spectral.bands import ChebyshevBands, ExactBands, resolve_bands
from freqd.spectral.chebyshev import apply_bands, band_coefficients, spectral_moments
from freqd.spectral.eigen import eigenpairs
from tests.oracles import dense_band_energies, dense_function, dense_spectrum, grocery_like

GRAPHS = build_graphs(grocery_like(0, 300, 200), GraphConfig())
GRAPH = GRAPHS.user
SPECTRUM = dense_spectrum(GRAPH.norm_adj)
EDGES = band_edges(8)
GRID = np.linspace(0, 2, 2001)


def smooth_signal(graph: Graph, columns: int = 24, seed: int = 0) -> np.ndarray:
    """Random features, smoothed over the graph as a trained teacher's are: energy in all bands, most of it low."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=(graph.n, columns)).astype(np.float32)
    signal = noise.copy()
    for _ in range(4):
        signal = 0.5 * signal + 0.5 * (graph.norm_adj @ signal)
    return (6.0 * signal + noise).astype(np.float32)


SIGNAL = smooth_signal(GRAPH)


def exact(graph: Graph = GRAPH, edges: np.ndarray = EDGES) -> ExactBands:
    return ExactBands(eigenpairs(graph), edges)


# -- edges ------------------------------------------------------------------------------------------


def test_edges_by_hand():
    np.testing.assert_allclose(band_edges(8), [0, 1 / 8, 3 / 8, 5 / 8, 7 / 8, 9 / 8, 11 / 8, 13 / 8, 2])
    np.testing.assert_allclose(band_edges(5), [0, 0.4, 0.8, 1.2, 1.6, 2.0])
    np.testing.assert_allclose(band_edges(2), [0, 0.5, 2.0])
    with pytest.raises(ValueError, match="at least 2"):
        band_edges(1)


@pytest.mark.parametrize("bands", range(2, 65))
def test_edges_rise_and_keep_away_from_one(bands):
    edges = band_edges(bands)
    assert len(edges) == bands + 1
    assert (np.diff(edges) > 0).all()
    assert np.abs(edges - 1.0).min() >= 0.9 / bands


# -- filters of the bands ---------------------------------------------------------------------------


@pytest.mark.parametrize("degree", [8, 9, 64])
@pytest.mark.parametrize("bands", [2, 7, 8])
def test_band_filters_sum_to_one_and_stay_in_the_unit_interval(bands, degree):
    responses = np.polynomial.chebyshev.chebval(GRID - 1.0, band_coefficients(band_edges(bands), degree).T)
    np.testing.assert_allclose(responses.sum(axis=0), 1.0, atol=1e-12)
    assert responses.min() >= -1e-12
    assert responses.max() <= 1.0 + 1e-12


def test_band_filters_are_sharp_within_the_stated_width():
    degree = 64
    responses = np.polynomial.chebyshev.chebval(GRID - 1.0, band_coefficients(EDGES, degree).T)
    for band, response in enumerate(responses):
        inside = (EDGES[band] <= GRID) & ((EDGES[band + 1] > GRID) | (band == 7))
        distance = np.abs(GRID[:, None] - EDGES[None, 1:-1]).min(axis=1)
        width = 3 * np.pi / degree * np.sqrt(1 - (GRID - 1) ** 2)
        far = distance > width + 0.01
        np.testing.assert_allclose(response[far], inside[far], atol=0.01)


# -- Chebyshev against dense ------------------------------------------------------------------------


def test_moments_equal_dense_quadratic_forms():
    degree = 9
    found = spectral_moments(GRAPH.norm_adj, SIGNAL, degree)
    for k in range(2 * degree + 1):
        unit = np.eye(2 * degree + 1)[k]
        dense = dense_function(SPECTRUM, lambda lam, unit=unit: np.polynomial.chebyshev.chebval(lam - 1, unit))
        expected = np.sum(SIGNAL * (dense @ SIGNAL), dtype=np.float64)
        assert found[k] == pytest.approx(expected, abs=2e-6 * found[0])


@pytest.mark.parametrize("max_bytes", [1, 2 * SIGNAL.nbytes, 3 * SIGNAL.nbytes, 1 << 30])
def test_bands_equal_dense_filters_whatever_memory_is_allowed(max_bytes, monkeypatch):
    monkeypatch.setattr(chebyshev, "MAX_BLOCK", 7)  # a last block that is narrower than the others
    coefficients = band_coefficients(EDGES, 40)
    parts = list(apply_bands(GRAPH.norm_adj, SIGNAL, coefficients, max_bytes=max_bytes))
    assert len(parts) == 8
    for part, series in zip(parts, coefficients, strict=True):
        dense = dense_function(SPECTRUM, lambda lam, s=series: np.polynomial.chebyshev.chebval(lam - 1, s))
        np.testing.assert_allclose(part, dense @ SIGNAL, rtol=1e-4, atol=2e-5)
        assert part.dtype == np.float32
    np.testing.assert_allclose(sum(parts), SIGNAL, rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("columns", [1, 24, 40])
def test_the_signal_is_left_as_it_was(columns):
    signal = smooth_signal(GRAPH, columns)
    before = signal.copy()
    spectral_moments(GRAPH.norm_adj, signal, 5)
    list(apply_bands(GRAPH.norm_adj, signal, band_coefficients(EDGES, 20)))
    np.testing.assert_array_equal(signal, before)


@pytest.mark.parametrize("layout", ["C", "F"])
def test_signals_of_any_layout_give_the_same(layout):
    signal = np.asarray(SIGNAL, order=layout)
    np.testing.assert_array_equal(
        spectral_moments(GRAPH.norm_adj, signal, 8), spectral_moments(GRAPH.norm_adj, SIGNAL, 8)
    )


@pytest.mark.parametrize("side", ["user", "item"])
def test_chebyshev_energies_are_within_one_percent_of_exact(side):
    # A thousand nodes: of fewer, single eigenvalues near an edge would count.
    graph = getattr(build_graphs(grocery_like(1, 1000, 800), GraphConfig()), side)
    signal = smooth_signal(graph)
    reference = dense_band_energies(graph.norm_adj, signal, EDGES)
    total = reference.sum()
    np.testing.assert_allclose(exact(graph).energies(signal), reference, rtol=1e-5, atol=1e-9 * total)
    found = ChebyshevBands(graph, EDGES, 64)
    assert np.abs(found.energies(signal) - reference).max() < 0.01 * total
    # The filters of the parts are half as sharp: measured .9 %, bounded here by 2 %.
    assert np.abs(found.part_energies(signal) - reference).max() < 0.02 * total
    # The signal carries something in at least five bands, so that a wrong sign (λ -> 2 − λ) or shifted edges fail.
    assert (reference > 0.02 * total).sum() >= 5
    assert np.abs(reference - reference[::-1]).max() > 0.05 * total


def test_part_energies_are_those_of_the_parts():
    found = ChebyshevBands(GRAPH, EDGES, 33)
    expected = [np.vdot(SIGNAL.astype(np.float64), part) for part in found.parts(SIGNAL)]
    np.testing.assert_allclose(found.part_energies(SIGNAL), expected, rtol=1e-4)


@pytest.mark.parametrize("method", ["exact", "chebyshev"])
def test_split_gives_the_energies_and_the_parts_of_separate_calls(method):
    bands = resolve_bands(GRAPH, EDGES, SpectralConfig(method=method, degree=33))
    energies, part_energies, parts = bands.split(SIGNAL)
    np.testing.assert_allclose(energies, bands.energies(SIGNAL), atol=2e-6 * energies.sum())
    np.testing.assert_allclose(part_energies, bands.part_energies(SIGNAL), atol=2e-6 * energies.sum())
    for found, expected in zip(parts, bands.parts(SIGNAL), strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("method", ["exact", "chebyshev"])
def test_some_rows_of_the_parts_are_those_of_the_whole(method, monkeypatch):
    monkeypatch.setattr(chebyshev, "MAX_BLOCK", 7)
    bands = resolve_bands(GRAPH, EDGES, SpectralConfig(method=method, degree=33))
    rows = np.array([3, 0, 17], np.int32)
    whole, some = bands.split(SIGNAL), bands.split(SIGNAL, rows)
    np.testing.assert_allclose(some.energies, whole.energies, atol=2e-6 * whole.energies.sum())
    np.testing.assert_allclose(some.part_energies, whole.part_energies, atol=2e-6 * whole.energies.sum())
    for found, expected in zip(some.parts, whole.parts, strict=True):
        np.testing.assert_allclose(found, expected[rows], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("method", ["exact", "chebyshev"])
def test_forms_are_those_of_the_parts(method, monkeypatch):
    monkeypatch.setattr(chebyshev, "MAX_BLOCK", 3)
    bands = resolve_bands(GRAPH, EDGES, SpectralConfig(method=method, degree=33))
    basis, other = SIGNAL[:, :8], SIGNAL[:, 8:16]
    own, cross = bands.forms(basis, other)
    for band, part in enumerate(bands.parts(basis)):
        np.testing.assert_allclose(own[band], part.T @ basis, atol=1e-4 * np.abs(own).max())
        assert cross[band] == pytest.approx(np.vdot(part, other), abs=1e-4 * np.abs(cross).max())


@pytest.mark.parametrize(
    ("n", "held", "width"), [(30_000, 24, 26 // 8 * 8), (1_000_000, 24, 8), (5_000_000, 2, 16), (10**8, 2, 4)]
)
def test_a_block_is_as_wide_as_a_cache_line_where_memory_allows(n, held, width, monkeypatch):
    monkeypatch.setattr(chebyshev.threads, "count", lambda: 2)
    monkeypatch.setattr(chebyshev.threads, "run", lambda work, blocks: [work(block) for block in blocks])
    signal = np.broadcast_to(np.float32(0.0), (n, 64))
    widths = chebyshev._over_blocks(lambda columns: columns.stop - columns.start, signal, held)
    assert widths[0] == width


def test_energies_are_the_same_bits_whatever_the_threads(monkeypatch):
    found = []
    for count, most in ((1, 32), (2, 32), (3, 7)):
        monkeypatch.setattr(chebyshev.threads, "count", lambda count=count: count)
        monkeypatch.setattr(chebyshev, "MAX_BLOCK", most)
        found.append(spectral_moments(GRAPH.norm_adj, SIGNAL, 12))
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])


def test_parts_of_both_methods_agree_but_for_the_smeared_edges():
    norm = np.linalg.norm(SIGNAL)
    pairs = zip(exact().parts(SIGNAL), ChebyshevBands(GRAPH, EDGES, 64).parts(SIGNAL), strict=True)
    coarse = [np.linalg.norm(a - b) / norm for a, b in pairs]
    pairs = zip(exact().parts(SIGNAL), ChebyshevBands(GRAPH, EDGES, 512).parts(SIGNAL), strict=True)
    fine = [np.linalg.norm(a - b) / norm for a, b in pairs]
    assert max(coarse) < 0.2
    assert max(fine) < 0.5 * max(coarse)


# -- invariants -------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["exact", "chebyshev"])
def test_parseval_and_partition_of_unity(method):
    bands = exact() if method == "exact" else ChebyshevBands(GRAPH, EDGES, 64)
    total = np.sum(SIGNAL.astype(np.float64) ** 2)
    assert bands.energies(SIGNAL).sum() == pytest.approx(total, rel=1e-5)
    parts = list(bands.parts(SIGNAL))
    np.testing.assert_allclose(sum(parts), SIGNAL, rtol=1e-4, atol=2e-5)
    assert bands.density(8, np.random.default_rng(0)).sum() == pytest.approx(1.0, abs=1e-6)
    if method == "exact":
        squares = [np.sum(part.astype(np.float64) ** 2) for part in parts]
        np.testing.assert_allclose(squares, bands.energies(SIGNAL), rtol=1e-4)


def test_density_by_random_vectors_is_near_the_count():
    counted = exact().density(1, np.random.default_rng(0))
    assert counted[0] == np.sum(SPECTRUM[0] < EDGES[1]) / GRAPH.n
    bands = ChebyshevBands(GRAPH, EDGES, 64)
    estimated = bands.density(64, np.random.default_rng(1))
    np.testing.assert_allclose(estimated, counted, atol=0.01)
    np.testing.assert_array_equal(estimated, bands.density(64, np.random.default_rng(1)))


@settings(max_examples=15)
@given(st.integers(0, 10_000))
def test_relabelling_nodes_changes_no_energy(seed):
    order = np.random.default_rng(seed).permutation(GRAPH.n)
    moved = Graph("user", GRAPH.adjacency[order][:, order])
    before = ChebyshevBands(GRAPH, EDGES, 16).energies(SIGNAL[:, :4])
    after = ChebyshevBands(moved, EDGES, 16).energies(SIGNAL[order, :4])
    np.testing.assert_allclose(before, after, rtol=1e-4)


@settings(max_examples=25)
@given(st.integers(0, 10_000), st.integers(1, 30), st.integers(2, 12), st.floats(0.0, 0.5))
def test_energies_are_never_negative_and_sum_to_the_whole(seed, n, bands, filling):
    rng = np.random.default_rng(seed)
    upper = np.triu(rng.random((n, n)) < filling, 1) * rng.integers(1, 9, (n, n))
    graph = Graph("user", sparse.csr_array((upper + upper.T).astype(np.float32)))
    signal = rng.normal(size=(n, 3)).astype(np.float32)
    edges = band_edges(bands)
    total = np.sum(signal.astype(np.float64) ** 2)
    for found in (exact(graph, edges), ChebyshevBands(graph, edges, 24)):
        energies = found.energies(signal)
        assert energies.min() > -1e-5 * total
        assert energies.sum() == pytest.approx(total, rel=1e-5)
    values, _ = dense_spectrum(graph.norm_adj)
    assert values.min() > -1e-6
    assert values.max() < 2 + 1e-6


@pytest.mark.parametrize("bands", [2, 3, 8])
def test_isolated_nodes_lie_in_the_band_of_frequency_one(bands):
    graph = Graph("user", sparse.csr_array((6, 6), dtype=np.float32))
    signal = np.ones((6, 2), np.float32)
    edges = band_edges(bands)
    home = int(np.searchsorted(edges, 1.0, side="right") - 1)
    for found in (exact(graph, edges), ChebyshevBands(graph, edges, 64)):
        expected = 12.0 * np.eye(bands)[home]
        np.testing.assert_allclose(found.energies(signal), expected, atol=0.02)
        np.testing.assert_allclose(found.density(4, np.random.default_rng(0)), expected / 12.0, atol=0.002)


def test_method_by_size_and_by_setting():
    assert resolve_bands(GRAPH, EDGES, SpectralConfig(exact_below=300)).method == "exact"
    assert resolve_bands(GRAPH, EDGES, SpectralConfig(exact_below=299)).method == "chebyshev"
    assert resolve_bands(GRAPH, EDGES, SpectralConfig(method="chebyshev")).method == "chebyshev"
    assert resolve_bands(GRAPH, EDGES, SpectralConfig(method="exact", exact_below=2)).method == "exact"


def citeulike_train() -> Interactions:
    root = os.environ.get("FREQD_DATA_DIR") or Path(__file__).parents[3] / "shared" / "data"
    path = Path(root) / "citeulike" / "train.parquet"
    if not path.is_file():
        pytest.skip("the citeulike data are not on this machine")
    frame = pl.read_parquet(path)
    user, item = (frame[name].to_numpy().astype(np.int32) for name in ("user", "item"))
    return Interactions(user, item, int(user.max()) + 1, int(item.max()) + 1)


@pytest.mark.slow
@pytest.mark.parametrize("bands", [8, 16])
def test_energies_on_real_users_are_within_one_percent_of_exact(bands):
    graph = build_graphs(citeulike_train(), GraphConfig()).user
    edges = band_edges(bands)
    signal = smooth_signal(graph, 64)
    reference = exact(graph, edges).energies(signal)
    found = ChebyshevBands(graph, edges, 64).energies(signal)
    assert np.abs(found - reference).max() < 0.01 * reference.sum()
