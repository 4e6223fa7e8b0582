from __future__ import annotations

import numpy as np
import pytest

from freqd.config import SpectralConfig
from freqd.spectral import Filter, SideFilters, SideSpectrum, band_edges
from freqd.spectral.band_weights import weighted_filter
from freqd.spectral.selection import (
    Measured,
    choose_ranking_filters,
    feature_candidates,
    fixed_filters,
    high_pass,
    low_passes,
)

CONFIG = SpectralConfig(min_gain=0.01)
EDGES = band_edges(8)
BASE = 0.1


def side(energies: list[float], worth: list[float]) -> SideSpectrum:
    value = np.array(worth)
    shares = np.array(energies) / sum(energies)
    return SideSpectrum("exact", shares, np.full(8, 1 / 8), value, BASE - value, shares)


EVEN = [1.0] * 8


def choose(score, config: SpectralConfig = CONFIG) -> tuple[SideFilters, str, Measured]:
    """``score(user strength, item strength)`` stands for the measured ranking; strength is −h'(0)."""

    def strength(chosen: Filter) -> float:
        return chosen.alpha * {"identity": 0, "linear": 1, "quadratic": 2}[chosen.form]

    measured = Measured(lambda filters: score(strength(filters.user), strength(filters.item)))
    measured.know(SideFilters(), BASE)
    filters, reason = choose_ranking_filters(measured, config, BASE)
    return filters, reason, measured


def test_where_every_filter_hurts_nothing_is_filtered():
    filters, reason, measured = choose(lambda u, i: BASE * (1 - 0.2 * abs(u) - 0.3 * abs(i)))
    assert filters == SideFilters()
    assert "Items: identity is kept" in reason
    assert "hurts" in reason
    # Every scan ended after two falls: 2 sides x (low-pass linear, quadratic; high-pass linear) x 2 values.
    assert len(measured.trials) == 12


def test_the_side_that_gains_is_filtered_at_its_best_strength():
    filters, reason, _ = choose(lambda u, i: BASE * (1 - abs(u) + 0.5 * i - 0.8 * i**2))
    assert filters == SideFilters(item=Filter(form="linear", alpha=0.3))
    assert "Items: linear α=0.3 lifts NDCG@10 on validation from 0.1000 to 0.1078 (+7.8%)" in reason
    assert "Users: identity is kept" in reason


def test_both_sides_and_the_items_again_once_the_users_are_filtered():
    def score(u, i):  # the items want .2, but .4 once the users are filtered
        wanted = 0.2 if u == 0 else 0.4
        return BASE * (1.3 - (i - wanted) ** 2 - 3 * (u - 0.3) ** 2)

    filters, _, _ = choose(score)
    assert filters == SideFilters(user=Filter(form="linear", alpha=0.3), item=Filter(form="linear", alpha=0.4))


def test_quadratic_is_taken_where_it_is_needed():
    filters, _, _ = choose(lambda u, i: BASE * (1.0 - abs(u) + 0.2 * i))
    assert filters == SideFilters(item=Filter(form="quadratic", alpha=0.5))


@pytest.mark.parametrize(("gain", "taken"), [(0.02, True), (0.009, False), (0.0, False)])
def test_a_gain_below_the_smallest_that_counts_is_no_reason(gain, taken):
    filters, reason, _ = choose(lambda u, i: BASE * (1.0 + (gain if i > 0 and u == 0 else 0.0)))
    assert (filters.item.form == "linear") == taken
    assert filters.item.alpha == (0.1 if taken else 0.0)
    assert ("gains too little" in reason) or taken


def test_a_teacher_that_ranks_nothing_right_divides_by_no_zero():
    measured = Measured(lambda filters: 0.0)
    measured.know(SideFilters(), 0.0)
    filters, _ = choose_ranking_filters(measured, CONFIG, 0.0)
    assert filters == SideFilters()


def test_no_pair_is_measured_twice_and_every_trial_is_kept():
    seen = []
    measured = Measured(lambda filters: seen.append(filters) or 0.2)
    for _ in range(2):
        assert measured.ndcg("item", SideFilters(item=Filter(form="linear", alpha=0.3))) == 0.2
    assert len(seen) == 1
    assert measured.trials == [
        {"side": "item", "form": "linear", "alpha": 0.3, "weights": [], "other": "identity", "ndcg": 0.2}
    ]


def test_low_and_high_passes_of_all_strengths_are_tried():
    config = SpectralConfig(alphas=(0.4, 0.2))
    labels = [[each.label() for each in scan] for scan in [*low_passes(config), high_pass(config)]]
    assert labels == [
        ["linear α=0.2", "linear α=0.4"],
        ["quadratic α=0.2", "quadratic α=0.4"],
        ["linear α=-0.2", "linear α=-0.4"],
    ]


def test_a_high_pass_is_taken_where_smoothing_hurts():
    filters, reason, _ = choose(lambda u, i: BASE * (1 - abs(u) - 0.5 * i - 0.8 * i**2))
    assert filters == SideFilters(item=Filter(form="linear", alpha=-0.3))
    assert "linear α=-0.3 lifts" in reason


def test_a_fitted_filter_is_taken_where_it_ranks_best_and_is_fitted_to_the_present_filters():
    fitted, asked = weighted_filter([1.0, 0.5] * 4, EDGES, 8), []

    def fit(side, current):
        asked.append((side, current))
        return [fitted] if side == "item" else []

    measured = Measured(lambda f: BASE * (1.0 - abs(f.user.alpha) + (0.2 if f.item.weights else -abs(f.item.alpha))))
    measured.know(SideFilters(), BASE)
    filters, reason = choose_ranking_filters(measured, CONFIG, BASE, fit)
    assert filters == SideFilters(item=fitted)
    assert "Items: per-band weights (0.50 to 1.00) lifts NDCG@10 on validation from 0.1000 to 0.1200" in reason
    assert asked == [("item", SideFilters()), ("user", SideFilters(item=fitted))]
    assert measured.trials[6]["weights"] == list(fitted.weights)


def test_fixed_filters():
    linear = Filter(form="linear", alpha=0.3)
    assert fixed_filters(SpectralConfig(filter="linear", alpha=0.3)) == SideFilters(user=linear, item=linear)
    assert fixed_filters(SpectralConfig(filter="quadratic", alpha=0.0)) == SideFilters()
    assert fixed_filters(SpectralConfig(filter="identity", alpha=0.3)) == SideFilters()


# -- the filter of the feature loss -----------------------------------------------------------------


def candidates(users: SideSpectrum, items: SideSpectrum, config: SpectralConfig = CONFIG) -> tuple[SideFilters, ...]:
    return feature_candidates({"user": users, "item": items}, EDGES, config, BASE)


def test_none_a_low_pass_a_high_pass_and_weights_of_the_bands_are_to_be_tried():
    none, low, high, weights = candidates(side(EVEN, [8, 7, 6, 5, 4, 3, 2, 1]), side(EVEN, [1, 1, 1, 1, 4, 4, 4, 4]))
    assert none == SideFilters()
    for filters, alpha in ((low, 0.5), (high, -0.5)):
        assert filters.user == filters.item == Filter(form="linear", alpha=alpha)
    expected = np.sqrt([8, 7, 6, 5, 4, 3, 2, 1])
    np.testing.assert_allclose(weights.user.weights, expected / expected.mean())
    assert weights.item.response([0.2]) < 1.0 < weights.item.response([1.8])
    assert weights.user.degree == weights.item.degree == 4


def test_bands_without_any_worth_all_weigh_the_same():
    weights = candidates(side(EVEN, [0.0] * 8), side(EVEN, [-0.01] * 8))[3]
    assert set(weights.user.weights) == set(weights.item.weights) == {1.0}


def test_a_filter_that_was_set_is_the_only_one():
    linear = Filter(form="linear", alpha=0.3)
    found = candidates(side(EVEN, EVEN), side(EVEN, EVEN), SpectralConfig(filter="linear", alpha=0.3))
    assert found == (SideFilters(user=linear, item=linear),)


@pytest.mark.parametrize(("users", "taken"), [(400, True), (4, False)])
def test_a_gain_that_may_be_chance_is_no_reason(users, taken):
    rng = np.random.default_rng(0)
    raw, luck = rng.random(users), rng.normal(0.02, 0.1, users)
    measured = Measured(lambda filters: raw + (luck if not filters.item.is_identity else 0.0))
    measured.know(SideFilters(), raw)
    difference, error = measured.gain(SideFilters(), SideFilters())
    assert (difference, error) == (0.0, 0.0)
    filters, reason = choose_ranking_filters(measured, CONFIG, float(raw.mean()))
    assert (not filters.item.is_identity) == taken
    assert taken or "by chance alone" in reason
    always, _ = choose_ranking_filters(measured, CONFIG.model_copy(update={"min_errors": 0.0}), float(raw.mean()))
    assert (not always.item.is_identity) == (luck.mean() / raw.mean() >= CONFIG.min_gain)
