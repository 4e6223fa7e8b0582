from __future__ import annotations

import numpy as np
import pytest

from freqd.distill.feature_filters import choose_by_trials, trial_epochs
from freqd.spectral.filters import Filter, SideFilters

LOW, HIGH = (SideFilters(user=Filter(form="linear", alpha=a), item=Filter(form="linear", alpha=a)) for a in (0.5, -0.5))
CANDIDATES = (SideFilters(), LOW, HIGH)


def values(gain: float, users: int) -> np.ndarray:
    return gain + 0.1 * np.random.default_rng(3).normal(size=users)


@pytest.mark.parametrize(("users", "taken"), [(400, True), (4, False)])
def test_a_filter_is_taken_where_it_gains_beyond_chance(users, taken):
    raw = np.random.default_rng(0).random(users)
    given = {CANDIDATES[0]: raw, LOW: raw - 0.01, HIGH: raw + values(0.03, users)}
    found = choose_by_trials(CANDIDATES, given.__getitem__)
    assert found.filters == (HIGH if taken else SideFilters())
    assert ("by chance alone" in found.reason) != taken
    assert [trial["item"] for trial in found.trials] == ["identity", "linear α=0.5", "linear α=-0.5"]
    difference = given[HIGH] - raw
    assert found.trials[2]["gain"] == pytest.approx(difference.mean())
    assert found.trials[2]["error"] == pytest.approx(difference.std(ddof=1) / users**0.5)
    assert found.trials[0]["gain"] == 0.0


def test_no_filter_stays_where_it_is_best():
    raw = np.random.default_rng(0).random(50)
    found = choose_by_trials(CANDIDATES, lambda filters: raw - (filters != SideFilters()) * 0.1)
    assert found.filters == SideFilters()
    assert "no filter does better" in found.reason


@pytest.mark.parametrize(("interactions", "epochs"), [(100_000, 8), (810_000, 1), (10**8, 1), (10, 81_920)])
def test_a_trial_has_a_bounded_number_of_steps(interactions, epochs):
    assert trial_epochs(interactions, 2048) == epochs
