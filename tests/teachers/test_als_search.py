from collections.abc import Callable
from itertools import count, product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import sparse

from freqd.embeddings import Embeddings
from freqd.errors import InputError
from freqd.evaluate import ndcg_on_validation
from freqd.teachers import als, als_search
from freqd.teachers.als import AlsHyperparameters, AlsTrial
from freqd.teachers.als_search import FINALISTS, SCREENING_SWEEPS, AlsGrid, SearchResult, search_als
from freqd.training.environment import TrainingEnvironment
from tests.learning import Judged

GRID: dict[str, Any] = {"factors": (4, 8), "regularization": (0.1, 1.0, 10.0), "alpha": (1.0, 10.0)}
PLANNED = 6 + 3


@pytest.fixture(scope="module")
def data() -> tuple[sparse.csr_array, sparse.csr_array]:
    rng = np.random.default_rng(0)
    taste = rng.standard_normal((80, 3)) @ rng.standard_normal((3, 50)) + 0.8 * rng.standard_normal((80, 50))
    seen = taste > np.quantile(taste, 0.8)
    valid = seen & (rng.random(seen.shape) < 0.25)
    return sparse.csr_array((seen & ~valid).astype(np.float32)), sparse.csr_array(valid.astype(np.float32))


def run(data, folder: Path, validate: Callable[[Embeddings], float] | None = None, **changes: Any) -> SearchResult:
    train, valid = data
    grid = GRID | {"iterations": 8, "patience": 5, "budget_seconds": 1000.0}
    around = {name: changes.pop(name) for name in ("seed", "progress") if name in changes}
    environment = TrainingEnvironment(**{"seed": 0, "checkpoint": folder} | around)
    data = Judged(train, validate or (lambda f: ndcg_on_validation(f, train, valid)))
    return search_als(data, AlsGrid(**(grid | changes)), environment)


@pytest.fixture
def ticking(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock on which every step between two validations takes one second."""
    ticks = count()
    monkeypatch.setattr(als, "perf_counter", lambda: float(next(ticks)))
    monkeypatch.setattr(als_search, "perf_counter", lambda: 0.0)


def test_the_winner_is_the_best_trial_and_its_features_are_those_that_were_measured(data, tmp_path) -> None:
    found = run(data, tmp_path)
    values = [row["valid_ndcg_at_10"] for row in found.trials]
    assert found.best.best_ndcg() == max(values)
    assert ndcg_on_validation(found.features, *data) == max(values)
    assert found.features.dim == found.best.point.factors
    assert not found.budget_hit
    assert found.not_tried == 0
    assert found.seconds == pytest.approx(sum(row["seconds"] for row in found.trials), abs=0.01)


def test_the_winner_is_near_the_best_of_the_whole_grid_trained_to_the_end(data, tmp_path) -> None:
    train, valid = data
    every = []
    for point in product(*GRID.values()):
        trial = AlsTrial(AlsHyperparameters(*point), seed=0)
        trial.advance(Judged(train, lambda f: ndcg_on_validation(f, train, valid)), 8, eval_every=2, patience=5)
        every.append(trial.best_ndcg())
    assert run(data, tmp_path).best.best_ndcg() >= max(every) - 0.02


def test_cheap_first_and_only_the_better_half_at_larger_sizes(data, tmp_path) -> None:
    trials = run(data, tmp_path).trials
    assert [row["factors"] for row in trials] == [4] * 6 + [8] * 3
    small = sorted(trials[:6], key=lambda row: -row["valid_ndcg_at_10"])
    # a finalist's value may have grown since the screening, so compare the set with the best four
    assert {(r["regularization"], r["alpha"]) for r in trials[6:]} <= {
        (r["regularization"], r["alpha"]) for r in small[:4]
    }
    finished = [row for row in trials if row["finished"]]
    assert len(finished) == FINALISTS
    assert all(row["sweeps"] == SCREENING_SWEEPS for row in trials if not row["finished"])


def without_seconds(found: SearchResult) -> list[dict[str, Any]]:
    return [{k: v for k, v in row.items() if k != "seconds"} for row in found.trials]


def test_two_searches_are_the_same(data, tmp_path) -> None:
    first, second = run(data, tmp_path / "a"), run(data, tmp_path / "b")
    np.testing.assert_array_equal(first.features.users, second.features.users)
    assert without_seconds(first) == without_seconds(second)


@pytest.mark.parametrize("killed_at", [1, 7, 18, 20, 22])
def test_a_killed_search_goes_on_with_its_trial_and_decides_the_same(data, tmp_path, killed_at: int) -> None:
    train, valid = data
    calls = count(1)

    def validate(features: Embeddings) -> float:
        if next(calls) == killed_at:
            raise KeyboardInterrupt
        return ndcg_on_validation(features, train, valid)

    with pytest.raises(KeyboardInterrupt):
        run(data, tmp_path / "killed", validate)
    found = run(data, tmp_path / "killed", validate)
    whole_calls = count(1)
    whole = run(data, tmp_path / "whole", lambda f: (next(whole_calls), ndcg_on_validation(f, train, valid))[1])
    np.testing.assert_array_equal(found.features.items, whole.features.items)
    rows = [
        [(r["factors"], r["regularization"], r["alpha"], r["sweeps"], r["valid_ndcg_at_10"]) for r in s.trials]
        for s in (found, whole)
    ]
    assert rows[0] == rows[1]
    again = next(calls) - next(whole_calls)  # validations of the interrupted trial that were done twice
    assert 1 <= again <= 4


def test_a_finished_search_is_only_read_again(data, tmp_path) -> None:
    first = run(data, tmp_path)

    def refuse(features: Embeddings) -> float:
        raise AssertionError("nothing is left to validate")

    again = run(data, tmp_path, refuse)
    np.testing.assert_array_equal(first.features.users, again.features.users)
    assert without_seconds(again) == without_seconds(first)


def test_a_damaged_trial_is_trained_again(data, tmp_path) -> None:
    first = run(data, tmp_path)
    for path in tmp_path.glob("*.safetensors"):
        path.write_bytes(path.read_bytes()[:40])
    again = run(data, tmp_path)
    np.testing.assert_array_equal(first.features.users, again.features.users)


def test_trials_of_another_seed_are_not_taken_up(data, tmp_path) -> None:
    run(data, tmp_path)
    other = run(data, tmp_path, seed=1)
    np.testing.assert_array_equal(other.features.users, run(data, tmp_path / "fresh", seed=1).features.users)


@pytest.mark.usefixtures("ticking")
def test_even_without_time_one_setting_is_completed(data, tmp_path) -> None:
    found = run(data, tmp_path, budget_seconds=0.001)
    assert len(found.trials) == 1
    assert found.trials[0]["finished"]
    assert found.trials[0]["sweeps"] == 8
    assert found.budget_hit
    assert found.not_tried == PLANNED - 1


@pytest.mark.usefixtures("ticking")
@pytest.mark.parametrize("budget", [4.0, 7.0, 11.0, 15.0, 19.0, 23.0, 40.0])
def test_the_budget_holds(data, tmp_path, budget: float) -> None:
    found = run(data, tmp_path, budget_seconds=budget)
    assert found.seconds <= budget
    assert found.budget_hit == (found.not_tried > 0 or sum(r["finished"] for r in found.trials) < FINALISTS)
    assert found.not_tried == PLANNED - len(found.trials)
    assert (
        next(r for r in found.trials if r["valid_ndcg_at_10"] == found.best.best_ndcg())["sweeps"] >= SCREENING_SWEEPS
    )
    assert any(row["finished"] for row in found.trials)


@pytest.mark.usefixtures("ticking")
def test_the_cost_of_a_size_that_was_not_measured_is_foreseen(data, tmp_path) -> None:
    # six screenings of 2 s and finishing one more of 2 s fit, the next size, at twice the cost or more, does not
    found = run(data, tmp_path, budget_seconds=15.5)
    assert {row["factors"] for row in found.trials} == {4}
    assert len(found.trials) == 6
    assert found.budget_hit


def test_one_setting_is_trained_without_a_search(data, tmp_path) -> None:
    found = run(data, tmp_path, factors=(4, 4), regularization=(1.0,), alpha=(10.0,))
    assert len(found.trials) == 1
    assert found.trials[0]["sweeps"] == 8
    assert not found.budget_hit


def test_fewer_iterations_than_a_screening_takes(data, tmp_path) -> None:
    found = run(data, tmp_path, iterations=1)
    assert all(row["sweeps"] == 1 for row in found.trials)
    assert len(found.trials) == PLANNED


def test_every_setting_failing_is_the_users_to_mend(data, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(als, "als_sweeps", lambda *args, **kwargs: None)
    with pytest.raises(InputError, match="not finite") as caught:
        run(data, tmp_path)
    assert "teacher.regularization" in caught.value.remedy


def test_a_failing_setting_is_passed_over(data, tmp_path, monkeypatch) -> None:
    real = als.als_sweeps
    monkeypatch.setattr(als, "als_sweeps", lambda t, f, p, *a, **k: None if p.alpha == 1.0 else real(t, f, p, *a, **k))
    found = run(data, tmp_path)
    assert found.best.point.alpha == 10.0
    assert all(row["failed"] == (row["alpha"] == 1.0) for row in found.trials)


def test_only_finalists_keep_their_tables_on_disk(data, tmp_path) -> None:
    run(data, tmp_path)
    kept = [t for t in map(AlsTrial.load, tmp_path.glob("*.safetensors")) if t is not None and t.tables is not None]
    assert len(kept) == FINALISTS


def test_progress_never_goes_back_and_names_the_setting(data, tmp_path) -> None:
    shown: list[tuple[float, str]] = []
    run(data, tmp_path, progress=lambda done, text: shown.append((done, text)))
    shares = [done for done, _ in shown]
    assert shares == sorted(shares)
    assert shares[0] > 0.0
    assert shares[-1] <= 1.0
    assert "setting 1 of 9" in shown[0][1]
