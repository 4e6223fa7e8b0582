"""Two halves of a signal are put together, noise is left out."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from freqd.embeddings import Embeddings
from freqd.evaluate.ranking import top_k
from freqd.evaluate.spread import spread
from freqd.evaluate.validation import Validation
from freqd.scorer import ItemScorer, ListScorer, Scorer
from freqd.teachers.summed import STEPS, entropy, fit_sum, held_out_gain

USERS, ITEMS, DIM = 240, 90, 4


def table(users: np.ndarray, items: np.ndarray) -> Embeddings:
    return Embeddings(users.astype(np.float32), items.astype(np.float32))


@pytest.fixture(scope="module")
def halves() -> tuple[Validation, dict[str, Scorer]]:
    """Taste is the sum of two parts; one scorer knows the first, another the second, on another scale; three know nothing."""
    rng = np.random.default_rng(0)
    users, items = rng.standard_normal((USERS, 2 * DIM)), rng.standard_normal((ITEMS, 2 * DIM))
    taste = users @ items.T + 0.5 * rng.standard_normal((USERS, ITEMS))
    seen = taste > np.sort(taste, axis=1)[:, -16, None]
    valid = seen & (rng.random(seen.shape) < 0.4)
    train, held = (sparse.csr_array(part.astype(np.float32)) for part in (seen & ~valid, valid))
    with_valid = np.flatnonzero(valid.any(axis=1)).astype(np.int32)
    known = {
        "first": table(users[:, :DIM], items[:, :DIM]),
        "second": table(20 * users[:, DIM:], items[:, DIM:]),
    }
    noise = {f"noise {n}": table(rng.standard_normal((USERS, 3)), rng.standard_normal((ITEMS, 3))) for n in range(3)}
    return Validation(train, held, with_valid), {**noise, **known}


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_both_halves_are_taken_and_noise_never(halves, seed: int) -> None:
    validation, candidates = halves
    found = fit_sum(candidates, validation, seed=seed)
    assert set(found.weights) == {"first", "second"}
    assert sum(found.weights.values()) == pytest.approx(1.0)
    assert 0.3 <= found.weights["first"] <= 0.7
    best_alone = max(validation(scorer) for scorer in candidates.values())
    assert found.valid_ndcg_at_10 > 1.2 * best_alone
    assert found.valid_ndcg_at_10 == validation(found.scorer)
    assert "first" in found.reason
    assert "second" in found.reason
    assert f"{found.valid_ndcg_at_10:.4f}" in found.reason


def test_all_trials_are_told(halves) -> None:
    validation, candidates = halves
    found = fit_sum(candidates, validation, seed=0)
    assert len(found.trials) == 5 + 4 + 3
    alone = [trial for trial in found.trials if not trial.beside]
    assert [trial.candidate for trial in alone] == list(candidates)
    assert [trial.valid_ndcg_at_10 for trial in alone] == [validation(scorer) for scorer in candidates.values()]
    assert {trial.candidate for trial in found.trials if trial.taken} == {"first", "second"}
    for trial in found.trials[5:]:
        assert trial.weight in STEPS
        assert trial.error > 0
    second = next(trial for trial in found.trials[5:] if trial.taken)
    assert second.valid_ndcg_at_10 == pytest.approx(found.valid_ndcg_at_10, abs=2e-4)


def test_weights_are_as_even_as_validation_allows(halves) -> None:
    validation, candidates = halves
    rng = np.random.default_rng(3)
    first = candidates["first"]
    blurred = table(first.users + 0.2 * rng.standard_normal(first.users.shape), first.items)
    given = {name: candidates[name] for name in ("first", "second", "noise 0")}
    found = fit_sum({**given, "blurred": blurred}, validation, seed=0)
    assert "blurred" not in {trial.candidate for trial in found.trials if trial.taken}
    assert set(found.weights) == {"first", "second", "blurred"}, "good alone, so it may be part of them; noise is not"
    fitted = max(trial.valid_ndcg_at_10 for trial in found.trials if trial.taken)
    assert 0 <= fitted - found.valid_ndcg_at_10 < 0.05 * fitted
    assert entropy(np.array(list(found.weights.values()))) > np.log(2)


def test_even_weights_have_the_largest_entropy() -> None:
    assert entropy(np.array([1.0, 0.0])) == 0.0
    assert entropy(np.array([0.5, 0.5])) == pytest.approx(np.log(2))
    assert entropy(np.array([0.4, 0.3, 0.3])) < np.log(3)


def test_with_noise_alone_beside_it_the_best_stays_alone(halves) -> None:
    validation, candidates = halves
    found = fit_sum({name: c for name, c in candidates.items() if name != "second"}, validation, seed=0)
    assert found.weights == {"first": 1.0}
    assert "nothing is added" in found.reason
    assert found.valid_ndcg_at_10 == pytest.approx(validation(candidates["first"]), abs=1e-4)


def test_a_copy_of_the_best_is_not_taken(halves) -> None:
    validation, candidates = halves
    found = fit_sum({"one": candidates["first"], "same": candidates["first"]}, validation, seed=0)
    assert found.weights == {"one": 1.0}


def test_other_kinds_of_scorers_are_added_too(halves) -> None:
    validation, candidates = halves
    lists, scores = top_k(candidates["second"], validation.train, ITEMS)
    outside = ListScorer(lists, np.where(lists >= 0, scores, 0).astype(np.float32), ITEMS)
    weights = np.random.default_rng(5).standard_normal((ITEMS, ITEMS), dtype=np.float32)
    found = fit_sum(
        {"table": candidates["first"], "lists": outside, "items": ItemScorer(validation.train, weights)},
        validation,
        seed=0,
    )
    assert set(found.weights) == {"table", "lists"}
    assert found.scorer.spreads[1] == pytest.approx(spread(outside, validation.train, seed=0))


def test_too_few_users_choose_the_best_alone(halves) -> None:
    validation, candidates = halves
    few = Validation(validation.train, validation.valid, validation.users[:3])
    found = fit_sum(candidates, few, seed=0)
    assert len(found.weights) == 1
    assert "too few users" in found.reason
    with pytest.raises(ValueError, match="no candidate"):
        fit_sum({}, validation, seed=0)


@settings(max_examples=50)
@given(seed=st.integers(0, 10_000), users=st.integers(4, 60), options=st.integers(1, 6))
def test_the_held_out_gain_lies_between_the_options_and_follows_a_shift(seed: int, users: int, options: int) -> None:
    rng = np.random.default_rng(seed)
    values, base = rng.random((options, users)), rng.random(users)
    fold = rng.permutation(users) % 10
    gain, error = held_out_gain(values, base, fold)
    assert error >= 0
    low, high = (side(values, axis=0).mean() - base.mean() for side in (np.min, np.max))
    assert low - 1e-12 <= gain <= high + 1e-12
    if options == 1:
        assert gain == pytest.approx((values[0] - base).mean())
    shifted, same = held_out_gain(values + 1.0, base, fold)
    assert shifted == pytest.approx(gain + 1.0)
    assert same == pytest.approx(error)


def test_chance_alone_does_not_gain_on_the_other_users() -> None:
    rng = np.random.default_rng(0)
    beyond = 0
    for _ in range(200):
        values, base = rng.random((9, 100)), rng.random(100)
        gain, error = held_out_gain(values, base, rng.permutation(100) % 10)
        beyond += gain > 2 * error
    assert beyond <= 12
