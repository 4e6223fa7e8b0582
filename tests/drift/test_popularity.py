from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats

from freqd.drift.popularity import GROUPS, ks_distance, psi
from freqd.evaluate.strata import equal_groups, popularity_order

COUNTS = hnp.arrays(np.int64, st.shared(st.integers(2, 30), key="n"), elements=st.integers(0, 1000))


def test_psi_by_hand():
    before, after = np.array([79, 19]), np.array([49, 49])
    p, q = (79.5 / 99, 19.5 / 99), (0.5, 0.5)
    expected = (q[0] - p[0]) * math.log(q[0] / p[0]) + (q[1] - p[1]) * math.log(q[1] / p[1])
    assert psi(before, after) == pytest.approx(expected)
    assert 0.4 < expected < 0.45, "a half-half split out of four to one is a major change"


@given(before=COUNTS, after=COUNTS)
def test_psi_is_the_sum_of_both_kullback_leibler_divergences(before, after):
    p, q = before + 0.5, after + 0.5
    assert psi(before, after) == pytest.approx(stats.entropy(p, q) + stats.entropy(q, p), abs=1e-12)
    assert psi(before, after) == pytest.approx(psi(after, before))
    assert psi(before, after) >= 0.0


@given(counts=COUNTS)
def test_the_same_counts_are_no_drift(counts):
    assert psi(counts, counts) == 0.0
    if counts.sum():
        assert ks_distance(counts, counts) == 0.0


@given(before=COUNTS, after=COUNTS)
def test_ks_is_that_of_scipy(before, after):
    if not before.sum() or not after.sum():
        return
    values = np.arange(len(before))
    expected = stats.ks_2samp(np.repeat(values, before), np.repeat(values, after), method="asymp").statistic
    assert ks_distance(before, after) == pytest.approx(expected, abs=1e-12)


@given(counts=COUNTS, factor=st.integers(2, 9))
def test_ks_does_not_depend_on_how_many_there_are(counts, factor):
    if counts.sum():
        assert ks_distance(counts, factor * counts) == pytest.approx(0.0, abs=1e-12)


def test_groups_by_hand():
    counts = np.array([1, 40, 10, 0, 10, 39])
    assert popularity_order(counts).tolist() == [1, 5, 2, 4, 0, 3]
    assert equal_groups(counts, groups=4).tolist() == [3 - 1, 0, 2, 2, 2, 1], "an item above its share stands alone"


@given(counts=COUNTS)
def test_groups_follow_popularity_and_none_is_empty(counts):
    groups = equal_groups(counts, GROUPS)
    assert (np.diff(groups[popularity_order(counts)]) >= 0).all()
    assert set(groups) == set(range(groups.max() + 1))
    assert groups.max() < 10


def test_groups_hold_about_the_same_share_of_many_items():
    counts = np.random.default_rng(0).poisson(100 / np.arange(1, 2001) ** 0.5)
    shares = np.bincount(equal_groups(counts, GROUPS), weights=counts) / counts.sum()
    assert len(shares) == 10
    np.testing.assert_allclose(shares, 0.1, atol=0.01)
