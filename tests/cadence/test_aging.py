from __future__ import annotations

import numpy as np
import pytest

from freqd.cadence import Sample, aging, compared
from freqd.config import EvaluateConfig

CONFIG = EvaluateConfig(bootstrap_samples=400)


def sample(users: list[int], fresh: list[float], other: list[float]) -> Sample:
    return Sample(np.array(users), np.array(fresh), np.array(other))


def test_only_users_that_both_were_judged_on_are_compared() -> None:
    found = Sample.of(
        (np.array([1, 4, 7]), np.array([0.1, 0.4, 0.7])), (np.array([0, 4, 7, 9]), np.array([1.0, 2.0, 3.0, 4.0]))
    )
    assert found.users.tolist() == [4, 7]
    assert found.fresh.tolist() == [0.4, 0.7]
    assert found.other.tolist() == [2.0, 3.0]


def test_a_user_of_several_windows_counts_once() -> None:
    windows = [sample([3, 8], [1.0, 0.5], [0.0, 0.5]), sample([8], [0.1], [0.7]), sample([], [], [])]
    fresh, other = compared(windows)
    np.testing.assert_allclose(fresh, [1.0, 0.3])
    np.testing.assert_allclose(other, [0.0, 0.6])
    found = aging(windows, CONFIG, np.random.default_rng(0))
    assert found is not None
    assert (found.windows, found.users) == (2, 2)
    assert found.fresh == pytest.approx(0.65)
    assert found.other == pytest.approx(0.3)
    assert found.loss.mean == pytest.approx(0.35)


def test_a_loss_beyond_chance_is_told_from_one_that_is_not() -> None:
    rng = np.random.default_rng(1)
    users, fresh = np.arange(500), rng.random(500)
    clear = Sample(users, fresh, fresh - 0.1 + rng.normal(0, 0.1, 500))
    none = Sample(users, fresh, fresh + rng.normal(0, 0.1, 500))
    lost, kept = (aging([one], CONFIG, rng) for one in (clear, none))
    assert lost is not None
    assert kept is not None
    assert 0.08 < lost.loss.low < 0.1 < lost.loss.high < 0.12
    assert kept.loss.low < 0.0 < kept.loss.high


def test_nobody_to_judge_is_no_number() -> None:
    assert aging([], CONFIG, np.random.default_rng(0)) is None
    assert aging([sample([], [], [])], CONFIG, np.random.default_rng(0)) is None
