from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freqd.cadence import StalenessEffect, recommend
from freqd.evaluate.significance import Difference

SECONDS = {"full": 60.0, "re-distilled": 20.0}


def loss(low: float, high: float) -> StalenessEffect:
    mean = (low + high) / 2
    return StalenessEffect(3, 100, 0.2, 0.2 - mean, Difference(mean, low, high, 0.01))


NO, YES = loss(-0.01, 0.02), loss(0.001, 0.03)


def test_the_first_age_beyond_chance_decides() -> None:
    found = recommend({1: NO, 2: NO, 3: YES, 4: NO}, NO, SECONDS, 0.0)
    assert (found.every, found.decayed_at, found.undetected) == (3, 3, None)
    at_once = recommend({1: YES, 2: YES}, NO, SECONDS, 0.0)
    assert (at_once.every, at_once.decayed_at) == (1, 1)


def test_without_decay_it_says_how_much_may_have_been_missed() -> None:
    found = recommend({1: NO, 2: loss(-0.02, 0.05), 3: NO}, NO, SECONDS, 0.0)
    assert (found.every, found.decayed_at, found.undetected) == (4, None, 0.05)
    unjudged = recommend({1: NO, 2: NO, 3: None}, NO, SECONDS, 0.0)
    assert unjudged.every == 3, "of ages that could not be judged nothing is said"
    assert recommend({1: None, 2: None}, None, SECONDS, 0.0).every is None


def test_the_gates_margin_is_the_limit() -> None:
    assert recommend({1: YES}, NO, SECONDS, 0.001).decayed_at is None
    assert recommend({1: YES}, NO, SECONDS, 0.0009).decayed_at == 1
    assert recommend({1: NO}, YES, SECONDS, 0.002).kind == "re-distilled"


@pytest.mark.parametrize(
    ("against", "seconds", "kind", "why"),
    [
        (NO, SECONDS, "re-distilled", ""),
        (YES, SECONDS, "full", "worse"),
        (NO, {"full": 20.0, "re-distilled": 20.0}, "full", "costlier"),
        (None, SECONDS, "full", "unknown"),
        (NO, {"full": 60.0, "re-distilled": None}, "full", "unknown"),
    ],
)
def test_the_way_of_retraining(against: StalenessEffect | None, seconds: dict, kind: str, why: str) -> None:
    found = recommend({1: NO}, against, seconds, 0.0)
    assert (found.kind, found.why) == (kind, why)


@given(st.lists(st.tuples(st.floats(-1, 1), st.floats(0, 1)), min_size=1, max_size=8), st.floats(-0.5, 0.5))
def test_no_age_below_the_recommended_one_has_decayed(ends: list[tuple[float, float]], margin: float) -> None:
    losses = {age: loss(low, low + width) for age, (low, width) in enumerate(ends, start=1)}
    found = recommend(losses, None, SECONDS, margin)
    assert found.every is not None
    assert all(losses[age].loss.low <= margin for age in losses if age < found.every)
    assert (found.every in losses) == (found.decayed_at is not None)
