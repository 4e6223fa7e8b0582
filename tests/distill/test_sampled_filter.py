from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import sparse

from freqd.distill.projectors import LinearProjector
from freqd.distill.sampled_filter import RowFilter
from freqd.models.readers import Reader, RowReader
from freqd.spectral.filters import Filter
from freqd.training.row_adam import RowTable

FILTERS = [
    Filter(),
    Filter(form="linear", alpha=0.3),
    Filter(form="quadratic", alpha=0.4),
    Filter(form="chebyshev", coefficients=(0.5, -0.3, 0.2, 0.1)),
]


def dense(filter: Filter, norm_adj) -> np.ndarray:
    """h(L) from the eigenvectors of L."""
    frequencies, modes = np.linalg.eigh(np.eye(norm_adj.shape[0]) - norm_adj.toarray().astype(float))
    return (modes * filter.response(frequencies)) @ modes.T


@pytest.mark.parametrize("filter", FILTERS, ids=lambda f: f.form)
def test_filtered_rows_and_their_gradient_are_those_of_the_dense_filter(norm_adj, filter):
    rng = np.random.default_rng(0)
    signal = torch.tensor(rng.normal(size=(30, 3)).astype(np.float32), requires_grad=True)
    rows = torch.tensor([4, 7, 0, 29])
    out = RowFilter(norm_adj, filter).rows(Reader(lambda index: signal[index]), rows, rng)
    expected = dense(filter, norm_adj)
    np.testing.assert_allclose(out.detach(), (expected @ signal.detach().numpy())[rows], rtol=1e-5, atol=1e-5)
    weights = rng.normal(size=(4, 3)).astype(np.float32)
    (out * torch.from_numpy(weights)).sum().backward()
    np.testing.assert_allclose(signal.grad, expected.T[:, rows] @ weights, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("neighbours", [None, 2])
@pytest.mark.parametrize("keep_prob", [1.0, 0.6])
@pytest.mark.parametrize("filter", FILTERS[:3], ids=lambda f: f.form)
def test_a_row_table_filters_in_place_as_gathered_rows_do(norm_adj, filter, keep_prob, neighbours):
    signal = torch.randn(30, 3, generator=torch.Generator().manual_seed(0))
    row_filter = RowFilter(norm_adj, filter, keep_prob=keep_prob, neighbours=neighbours)
    rows = torch.tensor([4, 7, 0, 29])
    table, plain = RowTable(signal.clone(), 0.1), signal.clone().requires_grad_()
    out = row_filter.rows(RowReader(table), rows, np.random.default_rng(5))
    expected = row_filter.rows(Reader(lambda index: plain[index]), rows, np.random.default_rng(5))
    torch.testing.assert_close(out, expected)
    for result in (out, expected):
        result.sin().sum().backward()
    touched = table.rows.touched[: table.rows.n_touched[0]]
    gradient = np.zeros((30, 3), np.float32)
    gradient[touched] = table.rows.gradient[: len(touched)]
    np.testing.assert_allclose(gradient, plain.grad, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("filter", FILTERS, ids=lambda f: f.form)
def test_filter_then_project_is_project_then_filter_for_a_linear_projector(norm_adj, filter):
    rng = np.random.default_rng(1)
    signal = rng.normal(size=(30, 3)).astype(np.float32)
    projector = LinearProjector(3, 8, torch.Generator().manual_seed(0))
    rows = torch.arange(30)
    cheap = projector(
        RowFilter(norm_adj, filter).rows(Reader(lambda index: torch.from_numpy(signal)[index]), rows, rng)
    )
    costly = filter.apply(norm_adj, projector(torch.from_numpy(signal)).detach().numpy())
    np.testing.assert_allclose(cheap.detach(), costly, rtol=1e-5, atol=1e-5)


def test_a_hub_makes_no_dense_square():
    """A star of n nodes: its square has n² entries, its slices have a few n."""
    n = 5_000
    ends = np.arange(1, n)
    hub = np.zeros(n - 1, int)
    weight = np.full(2 * (n - 1), (n - 1) ** -0.5, np.float32)
    star = sparse.csr_array((weight, (np.r_[hub, ends], np.r_[ends, hub])), shape=(n, n))
    signal = torch.eye(n, 1)
    row_filter = RowFilter(star, Filter(form="quadratic", alpha=0.4))
    assert len(row_filter.matrix[1]) < 4 * n
    out = row_filter.rows(Reader(lambda index: signal[index]), torch.tensor([0, 1]), np.random.default_rng(0))
    # (0.6 I + 0.4 Â)² on the hub's indicator: 0.36 + 0.16 at the hub, 2 · 0.6 · 0.4 / √(n − 1) at an end.
    torch.testing.assert_close(out, torch.tensor([[0.52], [0.48 * (n - 1) ** -0.5]]), rtol=1e-3, atol=0)


def test_dropped_edges_leave_the_mean_of_a_quadratic_filter(norm_adj):
    filter, signal, rng = Filter(form="quadratic", alpha=0.4), torch.eye(30), np.random.default_rng(0)
    dropping = RowFilter(norm_adj, filter, keep_prob=0.5)
    draws = torch.stack(
        [dropping.rows(Reader(lambda index: signal[index]), torch.arange(30), rng) for _ in range(3000)]
    )
    torch.testing.assert_close(draws.mean(0), torch.from_numpy(dense(filter, norm_adj)).float(), atol=0.02, rtol=0)


def test_dropped_edges_leave_the_mean_and_never_the_node_itself(norm_adj):
    filter = Filter(form="linear", alpha=0.4)
    signal = torch.eye(30)
    rng = np.random.default_rng(0)
    dropping = RowFilter(norm_adj, filter, keep_prob=0.5)
    draws = torch.stack(
        [dropping.rows(Reader(lambda index: signal[index]), torch.arange(30), rng) for _ in range(4000)]
    )
    expected = torch.from_numpy(dense(filter, norm_adj)).float()
    torch.testing.assert_close(draws.mean(0), expected, atol=0.02, rtol=0)
    assert torch.equal(draws.std(0).diagonal(), torch.zeros(30))
    kept = (draws != 0).float().mean(0)[expected.abs() > 1e-6]
    assert set(torch.round(kept[kept < 1.0] * 10).int().tolist()) == {5}


@pytest.mark.parametrize("keep_prob", [0.0, 1.5])
def test_a_wrong_keep_prob_is_refused(norm_adj, keep_prob):
    with pytest.raises(ValueError, match="keep_prob must lie in"):
        RowFilter(norm_adj, FILTERS[1], keep_prob=keep_prob)


def test_edge_dropout_of_a_long_series_is_refused(norm_adj):
    with pytest.raises(ValueError, match="edge dropout needs a linear or quadratic filter"):
        RowFilter(norm_adj, FILTERS[3], keep_prob=0.5)


def matrix_of(part, n):
    """Drawn rows of a filter as a dense matrix."""
    starts, columns, values = (tensor.numpy() for tensor in part)
    return sparse.csr_array((values, columns, starts), shape=(len(starts) - 1, n)).toarray()


@pytest.mark.parametrize("filter", FILTERS[1:2], ids=lambda f: f.form)
def test_a_slice_is_rows_of_the_dense_filter(norm_adj, filter):
    rows = torch.tensor([4, 7, 0, 29])
    part = RowFilter(norm_adj, filter).slice(rows, np.random.default_rng(0))
    np.testing.assert_allclose(matrix_of(part, 30), dense(filter, norm_adj)[rows], rtol=1e-5, atol=1e-6)


@pytest.fixture
def signed():
    """Rows of all lengths from 0 to 24, entries of either sign, a self-loop in every second row."""
    rng = np.random.default_rng(3)
    matrix = rng.gamma(0.5, size=(25, 25)) * rng.choice([-1.0, 1.0], (25, 25)) * np.tri(25, k=-1)
    return sparse.csr_array((matrix + np.diag(np.arange(25) % 2)).astype(np.float32))


@pytest.mark.parametrize("alpha", [0.4, 1.0])
def test_drawn_neighbours_are_right_in_the_mean_and_keep_the_weight_of_all(signed, alpha):
    """Of every row; α = 1 has rows without a diagonal."""
    filter = Filter(form="linear", alpha=alpha)
    exact = filter.matrix(signed).toarray()
    bounded, rng = RowFilter(signed, filter, neighbours=3), np.random.default_rng(0)
    others = ~np.eye(25, dtype=bool)
    short = ((exact != 0) & others).sum(1) <= 3
    assert 0 < short.sum() < 10
    n_draws, mean = 5000, np.zeros((25, 25))
    for _ in range(n_draws):
        drawn = matrix_of(bounded.slice(torch.arange(25), rng), 25)
        assert (((drawn != 0) & others).sum(1) <= 3).all()
        np.testing.assert_array_equal(np.diag(drawn), np.diag(exact))
        np.testing.assert_array_equal(drawn[short], exact[short])
        np.testing.assert_allclose((abs(drawn) * others).sum(1), (abs(exact) * others).sum(1), rtol=1e-5)
        mean += drawn / n_draws
    # An entry v is hit floor or ceil of x = 3|v|/S times, so that its deviation is at most half of S/3.
    error = (abs(exact) * others).sum(1, keepdims=True) / 3 / 2 / n_draws**0.5
    assert (abs(mean - exact) <= 5 * error + 1e-5).all()


def test_drawn_neighbours_leave_the_mean_of_a_quadratic_filter(norm_adj):
    filter, signal, rng = Filter(form="quadratic", alpha=0.4), torch.eye(30), np.random.default_rng(0)
    bounded = RowFilter(norm_adj, filter, neighbours=2)
    draws = torch.stack([bounded.rows(Reader(lambda index: signal[index]), torch.arange(30), rng) for _ in range(3000)])
    torch.testing.assert_close(draws.mean(0), torch.from_numpy(dense(filter, norm_adj)).float(), atol=0.02, rtol=0)


def test_no_neighbours_are_refused(norm_adj):
    with pytest.raises(ValueError, match="neighbours must be at least 1, got 0"):
        RowFilter(norm_adj, FILTERS[1], neighbours=0)
