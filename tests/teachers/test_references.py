"""References of any size: fitted on train, chosen on validation."""

from __future__ import annotations

import numpy as np
import pytest

from freqd.data.interactions import Split
from freqd.embeddings import Embeddings
from freqd.errors import InputError
from freqd.evaluate.validation import Validation
from freqd.teachers.references import EASE_WORK, best_sellers, find_reference
from freqd.training.environment import TrainingEnvironment

HERE = TrainingEnvironment(seed=0, device="cpu")


def test_best_sellers_are_the_items_of_most_train_users(tastes: Split) -> None:
    found = best_sellers(tastes.train.matrix())
    counts = np.bincount(tastes.train.item, minlength=tastes.n_items)
    assert isinstance(found, Embeddings)
    np.testing.assert_array_equal(found.users @ found.items.T, np.tile(counts, (tastes.n_users, 1)))


@pytest.mark.parametrize("name", ["popular", "item-knn", "ease"])
def test_what_is_told_is_what_the_scorer_reaches(tastes: Split, name: str) -> None:
    found = find_reference(name, tastes, HERE, max_items=1000)  # type: ignore[arg-type]
    reached = Validation.of(tastes, limit=None, seed=0)(found.scorer)
    assert found.info["valid_ndcg_at_10"] == pytest.approx(reached)
    assert found.info["kind"] == name
    assert found.parameters > 0
    trials = [trial["valid_ndcg_at_10"] for trial in found.info["trials"]]
    assert not trials or reached == pytest.approx(max(value for value in trials if value is not None))


def test_personal_references_beat_best_sellers_where_tastes_differ(tastes: Split) -> None:
    popular, knn, ease = (
        find_reference(name, tastes, HERE, max_items=1000).info["valid_ndcg_at_10"]  # type: ignore[arg-type]
        for name in ("popular", "item-knn", "ease")
    )
    assert min(knn, ease) > 1.5 * popular


def test_ease_tries_fewer_strengths_where_one_costs_much(tastes: Split, monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(find_reference("ease", tastes, HERE, max_items=1000).info["trials"]) == 4
    monkeypatch.setattr("freqd.teachers.references.EASE_WORK", tastes.n_items**3 * 2)
    assert len(find_reference("ease", tastes, HERE, max_items=1000).info["trials"]) == 2
    monkeypatch.setattr("freqd.teachers.references.EASE_WORK", 1)
    assert len(find_reference("ease", tastes, HERE, max_items=1000).info["trials"]) == 1
    assert EASE_WORK > 1
    with pytest.raises(InputError, match="EASE needs a matrix"):
        find_reference("ease", tastes, HERE, max_items=tastes.n_items - 1)
