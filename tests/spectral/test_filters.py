from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy import sparse

from freqd.config import GraphConfig
from freqd.embeddings import Embeddings
from freqd.graph import build_graphs
from freqd.spectral import Filter, SideFilters, apply_filters
from tests.oracles import dense_function, dense_spectrum, grocery_like

GRAPHS = build_graphs(grocery_like(0, 90, 70), GraphConfig(user_neighbours=5, item_neighbours=5))
NORM_ADJ = GRAPHS.user.norm_adj
SPECTRUM = dense_spectrum(NORM_ADJ)
SIGNAL = np.random.default_rng(0).normal(size=(90, 6)).astype(np.float32)

FILTERS = [
    Filter(),
    Filter(form="linear", alpha=0.3),
    Filter(form="linear", alpha=1.0),
    Filter(form="linear", alpha=-0.4),
    Filter(form="quadratic", alpha=0.3),
    Filter(form="quadratic", alpha=0.7),
    Filter(form="chebyshev", coefficients=(0.4,)),
    Filter(form="chebyshev", coefficients=(0.4, -0.3)),
    Filter(form="chebyshev", coefficients=(0.4, -0.3, 0.2)),
]
SERIES = Filter(form="chebyshev", coefficients=(0.5, -0.4, 0.3, 0.2, -0.1, 0.05))


def by_definition(name: str):
    """h(λ) written out once more, apart from ``response``."""
    return {
        "identity": lambda lam: np.ones_like(lam),
        "linear α=0.3": lambda lam: 1 - 0.3 * lam,
        "linear α=-0.4": lambda lam: 1 + 0.4 * lam,
        "linear α=1": lambda lam: 1 - lam,
        "quadratic α=0.3": lambda lam: (1 - 0.3 * lam) ** 2,
        "quadratic α=0.7": lambda lam: (1 - 0.7 * lam) ** 2,
        "chebyshev degree 0": lambda lam: np.full_like(lam, 0.4),
        "chebyshev degree 1": lambda lam: 0.4 - 0.3 * (lam - 1),
        "chebyshev degree 2": lambda lam: 0.4 - 0.3 * (lam - 1) + 0.2 * (2 * (lam - 1) ** 2 - 1),
    }[name]


@pytest.mark.parametrize("chosen", FILTERS, ids=lambda f: f.label())
def test_apply_and_matrix_equal_the_eigendecomposition(chosen):
    dense = dense_function(SPECTRUM, by_definition(chosen.label()))
    np.testing.assert_allclose(chosen.apply(NORM_ADJ, SIGNAL), dense @ SIGNAL, rtol=1e-5, atol=2e-6)
    if chosen.form in ("identity", "linear"):
        matrix = chosen.matrix(NORM_ADJ)
        np.testing.assert_allclose(matrix.toarray(), dense, rtol=1e-5, atol=1e-6)
        assert matrix.dtype == np.float32
    grid = np.linspace(0, 2, 41)
    np.testing.assert_allclose(chosen.response(grid), by_definition(chosen.label())(grid), rtol=1e-12, atol=1e-15)
    assert chosen.apply(NORM_ADJ, SIGNAL).dtype == np.float32


def test_series_of_high_degree_is_applied_but_has_no_sparse_matrix():
    dense = dense_function(SPECTRUM, SERIES.response)
    np.testing.assert_allclose(SERIES.apply(NORM_ADJ, SIGNAL), dense @ SIGNAL, rtol=1e-5, atol=2e-6)
    with pytest.raises(ValueError, match="degree 5"):
        SERIES.matrix(NORM_ADJ)


def test_linear_filter_by_hand_on_two_nodes():
    # A path of two nodes: λ = 0 for (1, 1)/√2 and λ = 2 for (1, −1)/√2.
    path = sparse.csr_array(np.array([[0, 1], [1, 0]], np.float32))
    signal = np.array([[3.0], [1.0]], np.float32)
    np.testing.assert_allclose(Filter(form="linear", alpha=0.25).apply(path, signal), [[2.5], [1.5]])
    np.testing.assert_allclose(Filter(form="quadratic", alpha=0.25).apply(path, signal), [[2.25], [1.75]])


def test_isolated_nodes_keep_the_weight_of_frequency_one():
    chosen = Filter(form="linear", alpha=0.3)
    np.testing.assert_allclose(chosen.apply(NORM_ADJ, SIGNAL)[87:], 0.7 * SIGNAL[87:], rtol=1e-6)


@settings(max_examples=30)
@given(st.floats(0.01, 0.5), st.sampled_from(["linear", "quadratic"]))
def test_weights_fall_up_to_one_half_and_not_above(alpha, form):
    grid = np.linspace(0, 2, 101)
    weights = Filter(form=form, alpha=alpha).response(grid) ** 2
    assert (np.diff(weights) <= 0).all()
    above = Filter(form=form, alpha=0.5 + alpha).response(grid) ** 2
    assert (np.diff(above) > 0).any()


@settings(max_examples=25)
@given(st.integers(0, 10_000), st.sampled_from([*FILTERS, SERIES]))
def test_relabelling_nodes_relabels_the_result(seed, chosen):
    order = np.random.default_rng(seed).permutation(90)
    moved = NORM_ADJ[order][:, order]
    np.testing.assert_allclose(
        chosen.apply(moved, SIGNAL[order]), chosen.apply(NORM_ADJ, SIGNAL)[order], rtol=1e-4, atol=1e-5
    )


def test_apply_filters_uses_each_side_with_its_own_graph():
    rng = np.random.default_rng(1)
    table = Embeddings(SIGNAL, rng.normal(size=(70, 6)).astype(np.float32))
    user, item = Filter(form="linear", alpha=0.4), Filter(form="quadratic", alpha=0.2)
    found = apply_filters(table, GRAPHS, SideFilters(user=user, item=item))
    np.testing.assert_array_equal(found.users, user.apply(GRAPHS.user.norm_adj, table.users))
    np.testing.assert_array_equal(found.items, item.apply(GRAPHS.item.norm_adj, table.items))
    same = apply_filters(table, GRAPHS, SideFilters())
    assert same.users is table.users


@pytest.mark.parametrize(
    "chosen",
    [
        Filter(),
        Filter(form="linear", alpha=0.3),
        Filter(form="quadratic", alpha=-0.5),
        Filter(form="chebyshev", coefficients=(0.5, -0.3, 0.2, 0.1)),
    ],
    ids=lambda chosen: chosen.label(),
)
def test_some_rows_are_those_of_the_whole(chosen):
    rows = np.array([7, 2, 31], np.int32)
    found = chosen.apply(NORM_ADJ, SIGNAL, rows)
    assert found.shape == SIGNAL.shape
    np.testing.assert_allclose(found[rows], chosen.apply(NORM_ADJ, SIGNAL)[rows], rtol=1e-4, atol=1e-6)


def test_zero_alpha_is_the_identity():
    zero = Filter(form="linear", alpha=0.0)
    assert zero.is_identity
    assert zero.label() == "identity"
    assert zero.degree == 0


@pytest.mark.parametrize(
    "wrong",
    [
        {"form": "linear", "alpha": 1.5},
        {"form": "linear", "alpha": -1.5},
        {"form": "identity", "alpha": 0.2},
        {"form": "chebyshev"},
        {"form": "linear", "coefficients": (1.0,)},
        {"form": "cubic"},
        {"from": "linear"},
    ],
)
def test_impossible_filters_are_refused(wrong):
    with pytest.raises(ValidationError):
        Filter(**wrong)


def test_a_signal_of_the_wrong_length_is_refused():
    with pytest.raises(ValueError, match="89 rows"):
        Filter(form="linear", alpha=0.3).apply(NORM_ADJ, SIGNAL[:89])


def test_filters_survive_json():
    for chosen in (*FILTERS, SERIES):
        assert Filter.model_validate_json(chosen.model_dump_json()) == chosen
