from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from freqd.config import EvaluateConfig
from freqd.embeddings import Embeddings
from freqd.evaluate import Evaluation, evaluate, group_differences, paired_bootstrap
from freqd.evaluate import paired_groups as module


def compared(a: Evaluation, *others: Evaluation, samples: int = 500, seed: int = 0, confidence: float = 0.95):
    return group_differences(a, others, samples=samples, confidence=confidence, rng=np.random.default_rng(seed))


@pytest.fixture(scope="module")
def pair(grocery_split, grocery_features) -> tuple[Evaluation, Evaluation]:
    """The SVD of 16 numbers, and its first 4 alone."""
    smaller = Embeddings(grocery_features.users.copy(), grocery_features.items.copy())
    smaller.users[:, :12] = 0.0
    config = EvaluateConfig()
    return evaluate(grocery_features, grocery_split, config), evaluate(smaller, grocery_split, config)


def test_the_mean_is_the_difference_of_what_the_groups_have(pair):
    a, b = pair
    (found,) = compared(a, b)
    for name, metric in (("activity", "ndcg_at_10"), ("popularity", "recall_at_10")):
        rows = zip(getattr(found, name), a.groups[name], b.groups[name], strict=True)
        for difference, ours, theirs in rows:
            assert difference.mean == pytest.approx(ours[metric] - theirs[metric], abs=1e-6)
            assert difference.low <= difference.mean <= difference.high


def test_one_group_of_all_users_is_the_paired_bootstrap(pair):
    a, b = (
        replace(e, activity=np.zeros_like(e.activity), groups={**e.groups, "activity": e.groups["activity"][:1]})
        for e in pair
    )
    (found,) = compared(a, b, samples=8000)
    whole = paired_bootstrap(
        a.per_user["ndcg_at_10"], b.per_user["ndcg_at_10"], samples=8000, rng=np.random.default_rng(1)
    )
    spread = (whole.high - whole.low) / 4
    assert found.activity[0].mean == pytest.approx(whole.mean)
    assert found.activity[0].low == pytest.approx(whole.low, abs=0.15 * spread)
    assert found.activity[0].high == pytest.approx(whole.high, abs=0.15 * spread)


def test_intervals_of_a_recall_hold_the_true_difference_as_often_as_they_say(pair):
    """Users with many targets succeed more often: only a ratio of sums over drawn users has the right spread."""
    rng, held = np.random.default_rng(2), 0
    n, trials = 300, 200
    blank = replace(pair[0], users=np.arange(n, dtype=np.int32), per_user={"ndcg_at_10": np.zeros(n, np.float32)})
    blank = replace(blank, activity=np.zeros(n, np.int64))
    for _ in range(trials):
        targets = rng.integers(0, 6, size=(n, 1)).repeat(3, axis=1).astype(np.int32)
        mood = np.where(rng.random((n, 1)) < 0.5, 0.1, 0.7)  # a user's targets are found together
        hits, fewer = (rng.binomial(targets, mood * share).astype(np.int32) for share in (1.0, 0.75))
        a, b = replace(blank, targets=targets, hits=hits), replace(blank, targets=targets, hits=fewer)
        (found,) = compared(a, b, samples=300, seed=int(rng.integers(1 << 30)), confidence=0.9)
        held += found.popularity[2].low <= 0.1 <= found.popularity[2].high
    assert 0.84 <= held / trials <= 0.96


def test_a_user_is_drawn_with_hits_and_targets_together(pair):
    """Where one model finds every target and the other none, no resample can differ, whoever is drawn."""
    a, b = (replace(e, hits=hits) for e, hits in zip(pair, (pair[0].targets, 0 * pair[1].targets), strict=True))
    (found,) = compared(a, b)
    assert {(d.mean, d.low, d.high) for d in found.popularity} == {(1.0, 1.0, 1.0)}


def test_a_group_without_targets_has_no_difference(pair):
    a, b = (replace(e, targets=e.targets * [1, 1, 0], hits=e.hits * [1, 1, 0]) for e in pair)
    (found,) = compared(a, b)
    assert found.popularity[2] is None
    assert found.popularity[1] is not None


def test_equal_models_differ_by_nothing_and_several_are_compared_at_once(pair, monkeypatch):
    a, b = pair
    itself, other = compared(a, a, b)
    assert {(d.mean, d.low, d.high, d.p_value) for d in (*itself.activity, *itself.popularity)} == {
        (0.0, 0.0, 0.0, 1.0)
    }
    assert other == compared(a, b)[0], "the same users are drawn, however many models there are"
    monkeypatch.setattr(module, "_WEIGHTS", 1)
    assert [d.mean for d in compared(a, b)[0].activity] == [d.mean for d in other.activity]
    assert compared(a) == []


def test_other_users_are_refused(pair):
    a, b = pair
    with pytest.raises(ValueError, match="different users"):
        compared(a, replace(b, users=b.users[::-1]))
