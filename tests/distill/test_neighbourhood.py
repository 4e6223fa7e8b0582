from __future__ import annotations

import numpy as np
import pytest
import torch

from freqd.distill.neighbourhood import RowFilter
from freqd.distill.projectors import LinearProjector
from freqd.spectral.filters import Filter

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
    out = RowFilter(norm_adj, filter).rows(lambda index: signal[index], rows, rng)
    expected = dense(filter, norm_adj)
    np.testing.assert_allclose(out.detach(), (expected @ signal.detach().numpy())[rows], rtol=1e-5, atol=1e-5)
    weights = rng.normal(size=(4, 3)).astype(np.float32)
    (out * torch.from_numpy(weights)).sum().backward()
    np.testing.assert_allclose(signal.grad, expected.T[:, rows] @ weights, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("filter", FILTERS, ids=lambda f: f.form)
def test_filter_then_project_is_project_then_filter_for_a_linear_projector(norm_adj, filter):
    rng = np.random.default_rng(1)
    signal = rng.normal(size=(30, 3)).astype(np.float32)
    projector = LinearProjector(3, 8, torch.Generator().manual_seed(0))
    rows = torch.arange(30)
    cheap = projector(RowFilter(norm_adj, filter).rows(lambda index: torch.from_numpy(signal)[index], rows, rng))
    costly = filter.apply(norm_adj, projector(torch.from_numpy(signal)).detach().numpy())
    np.testing.assert_allclose(cheap.detach(), costly, rtol=1e-5, atol=1e-5)


def test_dropped_edges_leave_the_mean_and_never_the_node_itself(norm_adj):
    filter = Filter(form="linear", alpha=0.4)
    signal = torch.eye(30)
    rng = np.random.default_rng(0)
    dropping = RowFilter(norm_adj, filter, keep_prob=0.5)
    draws = torch.stack([dropping.rows(lambda index: signal[index], torch.arange(30), rng) for _ in range(4000)])
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
    with pytest.raises(ValueError, match="edge dropout needs a filter of degree 2"):
        RowFilter(norm_adj, FILTERS[3], keep_prob=0.5)
