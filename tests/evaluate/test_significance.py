from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from freqd.evaluate import gap_closed, holm, paired_bootstrap


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_agrees_with_scipy():
    rng = generator(1)
    a = np.where(rng.random(400) < 0.3, rng.random(400), 0.0).astype(np.float32)
    b = np.where(rng.random(400) < 0.3, 0.8 * rng.random(400), 0.0).astype(np.float32)
    got = paired_bootstrap(a, b, samples=20_000, rng=generator(2))
    reference = stats.bootstrap(
        (a.astype(np.float64) - b,), np.mean, n_resamples=20_000, method="percentile", rng=generator(3)
    )
    spread = reference.standard_error
    assert got.mean == pytest.approx(float((a.astype(np.float64) - b).mean()))
    assert got.low == pytest.approx(reference.confidence_interval.low, abs=0.06 * spread)
    assert got.high == pytest.approx(reference.confidence_interval.high, abs=0.06 * spread)


def test_intervals_hold_the_true_difference_as_often_as_they_say():
    rng = generator(4)
    held = below = 0
    trials = 300
    for _ in range(trials):
        b = rng.random(150)
        a = b + 0.1 + 0.3 * rng.standard_normal(150)
        result = paired_bootstrap(a, b, samples=400, confidence=0.9, rng=rng)
        held += result.low <= 0.1 <= result.high
        below += result.high < 0.1
    assert 0.84 <= held / trials <= 0.95
    assert 0.01 <= below / trials <= 0.10


def test_p_values_without_a_difference_are_spread_evenly():
    rng = generator(5)
    p_values = []
    for _ in range(300):
        noise = rng.standard_normal(100) * (rng.random(100) < 0.5)
        p_values.append(paired_bootstrap(noise, np.zeros(100), samples=300, rng=rng).p_value)
    assert 0.02 <= np.mean(np.array(p_values) < 0.05) <= 0.10
    assert stats.kstest(p_values, "uniform").pvalue > 0.001


def test_a_clear_difference_is_found_either_way_round():
    b = generator(6).random(500)
    a = b + 0.05
    up = paired_bootstrap(a, b, samples=999, rng=generator(7))
    down = paired_bootstrap(b, a, samples=999, rng=generator(7))
    assert up.p_value == down.p_value == pytest.approx(2 / 1000)
    assert up.low > 0 > down.high


def test_equal_models_differ_by_nothing():
    same = np.ones(20, np.float32)
    result = paired_bootstrap(same, same, rng=generator())
    assert (result.mean, result.low, result.high, result.p_value) == (0.0, 0.0, 0.0, 1.0)


def test_is_reproducible_by_the_generator():
    a, b = generator(8).random((2, 50))
    assert paired_bootstrap(a, b, rng=generator(9)) == paired_bootstrap(a, b, rng=generator(9))
    assert paired_bootstrap(a, b, rng=generator(9)) != paired_bootstrap(a, b, rng=generator(10))


@pytest.mark.parametrize(
    ("a", "b", "options", "message"),
    [
        (np.ones(3), np.ones(4), {}, "same users"),
        (np.ones(0), np.ones(0), {}, "same users"),
        (np.array([1.0, np.nan]), np.ones(2), {}, "value of user 1 is not finite"),
        (np.ones(2), np.ones(2), {"confidence": 1.0}, r"confidence must lie in \(0, 1\), got 1.0"),
        (np.ones(2), np.zeros(2), {"samples": 0}, "samples must be at least 1, got 0"),
    ],
)
def test_names_what_is_wrong(a, b, options, message):
    with pytest.raises(ValueError, match=message):
        paired_bootstrap(a, b, rng=generator(), **options)


def test_gap_closed_by_hand_and_its_interval():
    rng = generator(11)
    scratch = rng.random(2000)
    noise = 0.1 * rng.standard_normal((2, 2000))
    teacher = scratch + 0.2 + noise[0]
    student = scratch + 0.1 + noise[1]
    got = gap_closed(student, scratch, teacher, rng=generator(12))
    assert got.value == pytest.approx((student - scratch).mean() / (teacher - scratch).mean())
    # Delta method: the ratio's standard error from the two independent means.
    error = np.hypot(0.1 / 0.2, 0.5 * 0.1 / 0.2) / np.sqrt(2000)
    assert got.high - got.low == pytest.approx(2 * 1.96 * error, rel=0.1)
    assert got.low < got.value < got.high
    assert got.reason == ""


def test_gap_closed_resamples_both_gaps_together():
    # A student that is the teacher closes the whole gap in every resample.
    scratch, teacher = generator(13).random((2, 100))
    teacher += 1.0
    got = gap_closed(teacher, scratch, teacher, rng=generator())
    assert (got.value, got.low, got.high) == pytest.approx((1.0, 1.0, 1.0))


def test_without_a_better_teacher_there_is_no_gap():
    scratch = generator(14).random(100)
    got = gap_closed(scratch + 0.1, scratch, scratch - 0.01, rng=generator())
    assert (got.value, got.low, got.high) == (None, None, None)
    assert "does not beat" in got.reason
    assert gap_closed(scratch, scratch, scratch, rng=generator()).value is None


def test_where_the_lead_may_be_chance_the_gap_is_not_defined():
    rng = generator(15)
    scratch = rng.random(200)
    noise = rng.standard_normal(200)
    teacher = scratch + noise - noise.mean() + 0.01
    got = gap_closed(scratch + 0.01, scratch, teacher, rng=generator())
    assert (got.value, got.low, got.high) == (None, None, None)
    assert "may be chance" in got.reason


def test_holm_by_hand():
    got = holm({"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.005})
    assert got == pytest.approx({"a": 0.03, "b": 0.06, "c": 0.06, "d": 0.02})
    assert list(got) == ["a", "b", "c", "d"]
    assert holm({}) == {}
    with pytest.raises(ValueError, match="p-value of 'x'"):
        holm({"x": 1.2})


@settings(max_examples=50)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_lies_between_the_raw_values_and_bonferroni(p_values):
    got = holm({str(index): p_value for index, p_value in enumerate(p_values)})
    for index, p_value in enumerate(p_values):
        assert p_value <= got[str(index)] <= min(1.0, len(p_values) * p_value)
    order = np.argsort(p_values, kind="stable")
    assert (np.diff([got[str(index)] for index in order]) >= 0).all()


@pytest.mark.parametrize("confidence", [0.8, 0.95])
def test_the_gaps_interval_leaves_as_much_out_at_each_end_as_it_says(confidence: float) -> None:
    rng = generator(8)
    n = 4000
    scratch = rng.random(n)
    teacher = scratch + 0.2
    student = scratch + 0.15 + 0.5 * rng.standard_normal(n)
    got = gap_closed(student, scratch, teacher, samples=8000, confidence=confidence, rng=generator(9))
    assert got.low is not None
    assert got.high is not None
    error = (
        float(np.std(student - scratch) / np.sqrt(n)) / 0.2
    )  # the teacher's lead is the same for all: no ratio to spread
    expected = 2 * stats.norm.ppf((1 + confidence) / 2) * error
    assert got.high - got.low == pytest.approx(expected, rel=0.04)
