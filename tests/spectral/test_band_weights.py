from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from freqd.config import GraphConfig, SpectralConfig
from freqd.data.interactions import Interactions
from freqd.embeddings import Embeddings, TrainedModel
from freqd.evaluate.target_ranks import ndcg_of_users
from freqd.evaluate.validation import Validation
from freqd.graph import build_graphs
from freqd.scorer import ItemScorer, SumScorer
from freqd.spectral import (
    FeatureEvaluator,
    Filter,
    SideFilters,
    SideSpectrum,
    analyse,
    apply_filters,
    band_edges,
    filtered_scorer,
)
from freqd.spectral.band_weights import (
    BOUND,
    ListedBands,
    ListedRest,
    best_lists,
    fit_weights,
    hat_coefficients,
    importance,
    importance_weights,
    weighted_filter,
)
from tests.oracles import dense_spectrum, grocery_like

EDGES = band_edges(4)
MIDDLES = (EDGES[:-1] + EDGES[1:]) / 2
DEGREE = 120
BASE = 0.1

WHOLE = grocery_like(7, 260, 160, mean=16)
HELD_OUT = np.random.default_rng(0).random(len(WHOLE)) < 0.25
TRAIN = Interactions(WHOLE.user[~HELD_OUT], WHOLE.item[~HELD_OUT], WHOLE.n_users, WHOLE.n_items)
VALID = Interactions(WHOLE.user[HELD_OUT], WHOLE.item[HELD_OUT], WHOLE.n_users, WHOLE.n_items)
VALIDATION = Validation(TRAIN.matrix(), VALID.matrix(), np.flatnonzero(np.diff(VALID.matrix().indptr)).astype(np.int32))
GRAPHS = build_graphs(TRAIN, GraphConfig(user_neighbours=8, item_neighbours=8))


def spectrum(energies: list[float], worth: list[float]) -> SideSpectrum:
    """Bands whose worth is what they rank alone and what their removal costs."""
    value, count = np.array(worth), len(worth)
    shares = np.array(energies) / sum(energies)
    return SideSpectrum("exact", shares, np.full(count, 1 / count), value, BASE - value, shares)


EVEN = spectrum([1] * 4, [0.01] * 4)


def teacher(noise: float = 0.0, band: int = 3) -> Embeddings:
    """Truncated SVD of the train matrix, with noise on the items in one band of their graph."""
    u, s, vt = np.linalg.svd(TRAIN.matrix().toarray(), full_matrices=False)
    users, items = u[:, :16] * np.sqrt(s[:16]), vt[:16].T * np.sqrt(s[:16])
    values, vectors = dense_spectrum(GRAPHS.item.norm_adj)
    inside = vectors[:, (values >= EDGES[band]) & (values < EDGES[band + 1])]
    random = inside @ np.random.default_rng(1).normal(size=(inside.shape[1], 16))
    return Embeddings(users.astype(np.float32), (items + noise * items.std() * random).astype(np.float32))


def listed(table: Embeddings, side: str = "item", validation: Validation = VALIDATION) -> ListedBands:
    make = ListedBands.of_items if side == "item" else ListedBands.of_users
    lists = best_lists(table, validation)
    return make(table, getattr(GRAPHS, side), validation, hat_coefficients(EDGES, DEGREE), lists)


def test_importance_is_the_mean_of_both_measurements_and_never_negative():
    bands = SideSpectrum(
        "exact", np.full(2, 0.5), np.full(2, 0.5), np.array([0.04, 0.0]), np.array([0.06, 0.12]), np.full(2, 0.5)
    )
    np.testing.assert_allclose(importance(bands, 0.1), [(0.04 + 0.1 - 0.06) / 2, 0.0])


@settings(deadline=None)
@given(st.lists(st.floats(0.01, 1.0), min_size=4, max_size=4), st.lists(st.floats(0.001, 0.05), min_size=4, max_size=4))
def test_with_exponent_one_the_energy_goes_where_the_worth_is(energies, worth):
    bands = spectrum(energies, worth)
    weights = importance_weights(bands, BASE, 1.0)
    energy = bands.energies * weights**2
    np.testing.assert_allclose(energy / energy.sum(), np.array(worth) / sum(worth), rtol=1e-6)
    assert weights.mean() == pytest.approx(1.0)


def test_bands_without_energy_and_teachers_without_worth_are_left_alone():
    assert importance_weights(spectrum([1, 1, 1, 1e-9], [0.01, 0.02, 0.03, 0.5]), BASE, 1.0)[3] == 1.0
    np.testing.assert_array_equal(importance_weights(spectrum([1] * 4, [0.0] * 4), BASE, 1.0), 1.0)


@settings(deadline=None)
@given(st.lists(st.floats(0.5, 2.0), min_size=4, max_size=4))
def test_the_filter_has_the_weights_at_the_middles_and_equal_weights_are_a_constant(weights):
    chosen = weighted_filter(weights, EDGES, DEGREE)
    assert chosen.weights == tuple(weights)
    np.testing.assert_allclose(chosen.response(MIDDLES), weights, atol=0.08)
    even = weighted_filter([weights[0]] * 4, EDGES, 16)
    np.testing.assert_allclose(even.response(np.linspace(0, 2, 30)), weights[0], rtol=1e-6)


@pytest.mark.parametrize("side", ["user", "item"])
@pytest.mark.parametrize("weights", [[1, 1, 1, 1], [1.3, 0.8, 1.0, 0.6]])
def test_lists_of_all_items_give_the_ndcg_of_the_filtered_teacher(side, weights):
    table = teacher(1.0)
    filters = SideFilters(**{side: weighted_filter(weights, EDGES, DEGREE)})
    full = ndcg_of_users(
        apply_filters(table, GRAPHS, filters), VALIDATION.train, VALIDATION.valid, sample=VALIDATION.users
    )
    # Only where rounding turns a tie around may a user differ.
    difference = np.abs(listed(table, side).ndcg(np.array(weights)) - full)
    assert (difference > 1e-6).mean() < 0.02


def test_noise_in_one_band_is_weighed_down_and_the_gain_holds_for_users_not_fitted_to():
    table = teacher(2.0, band=2)
    fitted = fit_weights(listed(table), EVEN, BASE, np.random.default_rng(0))
    assert fitted.weights[2] == fitted.weights.min() < 0.8
    assert fitted.gain > 2 * fitted.error > 0
    raw = VALIDATION(table)
    lifted = VALIDATION(apply_filters(table, GRAPHS, SideFilters(item=weighted_filter(fitted.weights, EDGES, DEGREE))))
    assert lifted > 1.05 * raw


@pytest.mark.parametrize("seed", range(4))
def test_where_targets_are_random_no_gain_holds(seed):
    rng = np.random.default_rng(seed)
    drawn = rng.random((WHOLE.n_users, WHOLE.n_items)) < 0.02
    users, items = np.nonzero(drawn & (TRAIN.matrix().toarray() == 0))
    valid = Interactions(users.astype(np.int32), items.astype(np.int32), WHOLE.n_users, WHOLE.n_items).matrix()
    validation = Validation(TRAIN.matrix(), valid, np.flatnonzero(np.diff(valid.indptr)).astype(np.int32))
    fitted = fit_weights(listed(teacher(1.0), validation=validation), EVEN, BASE, rng)
    assert fitted.gain <= 2.5 * fitted.error
    assert ((fitted.weights >= 1 / BOUND) & (fitted.weights <= BOUND)).all()


@pytest.mark.parametrize("users", [1, 2, 3])
def test_too_few_users_are_fitted_to_nothing(users):
    few = Validation(VALIDATION.train, VALIDATION.valid, VALIDATION.users[:users])
    fitted = fit_weights(listed(teacher(1.0), validation=few), EVEN, BASE, np.random.default_rng(0))
    np.testing.assert_array_equal(fitted.weights, 1.0)
    assert fitted.gain == 0.0


def test_the_analysis_takes_such_a_filter_where_it_ranks_best_and_can_be_told_not_to():
    table = teacher(2.0, band=2)

    def run(**settings: object):
        config = SpectralConfig(bands=4, weights_degree=DEGREE, **settings)
        rng = np.random.default_rng(0)
        return analyse(GRAPHS, table, FeatureEvaluator.of(VALIDATION, TrainedModel(table)), config, rng=rng)

    found, without = run(), run(band_weights=False)
    assert found.ranking_filters.item.weights
    assert "Items: per-band weights (" in found.reason
    tried = [trial["weights"] for trial in found.trials if trial["weights"]]
    assert list(found.ranking_filters.item.weights) in tried
    assert not any(trial["weights"] for trial in without.trials)
    best = max(trial["ndcg"] for trial in without.trials)
    assert max(trial["ndcg"] for trial in found.trials) > best


def test_weights_belong_to_a_series_and_name_it():
    assert weighted_filter([0.5, 1, 1, 1.25], EDGES, 8).label() == "per-band weights (0.50 to 1.25)"
    with pytest.raises(ValueError, match="weights of bands have no meaning for form 'linear'"):
        Filter(form="linear", alpha=0.1, weights=(1.0,))


def beside(table: Embeddings) -> SumScorer:
    """The table, and an item-item model that knows more."""
    train = TRAIN.matrix()
    return SumScorer((table, ItemScorer(train, sparse.csr_array(train.T @ train))), (0.5, 0.5), (1.0, 40.0))


def test_a_filtered_model_is_judged_on_its_lists_as_by_the_full_ranking() -> None:
    """There are fewer items than places in a list."""
    table = teacher(0.5)
    full, near = beside(table), teacher(0.3)
    rest = ListedRest.of(full, near, VALIDATION)
    for filters in (
        SideFilters(),
        SideFilters(item=Filter(form="linear", alpha=0.3)),
        SideFilters(user=Filter(form="quadratic", alpha=0.2)),
        SideFilters(item=Filter(form="linear", alpha=0.3), user=Filter(form="linear", alpha=-0.2)),
    ):
        filtered = apply_filters(near, GRAPHS, filters)
        wanted = VALIDATION.per_user(filtered_scorer(full, near, filtered))
        np.testing.assert_allclose(rest.ndcg(filtered), wanted, atol=1e-6)
    bands = ListedBands.of_items(near, GRAPHS.item, VALIDATION, hat_coefficients(EDGES, DEGREE), rest.lists)
    np.testing.assert_allclose(rest.beside(bands).ndcg(np.ones(4)), VALIDATION.per_user(full), atol=1e-6)
    few = np.array([3, 0])
    np.testing.assert_array_equal(
        rest.beside(bands).rows(few).ndcg(np.ones(4)), rest.beside(bands).ndcg(np.ones(4))[few]
    )


def test_weights_that_lift_a_noisy_table_beside_a_model_are_found_and_lift_the_model() -> None:
    table = teacher(3.0)
    full = beside(table)
    config = SpectralConfig(bands=4, degree=64, weights_degree=DEGREE)
    found = analyse(
        GRAPHS,
        table,
        FeatureEvaluator.of(VALIDATION, TrainedModel(table, full=full)),
        config,
        rng=np.random.default_rng(0),
    )
    chosen = filtered_scorer(full, table, apply_filters(table, GRAPHS, found.ranking_filters))
    assert not found.ranking_filters.item.is_identity
    assert found.whole_ndcg == pytest.approx(VALIDATION(full), abs=1e-6)
    assert VALIDATION(chosen) > VALIDATION(full)
