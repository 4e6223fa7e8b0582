from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from freqd.config import StartConfig, TeacherConfig
from freqd.data.interactions import Interactions, Split
from freqd.embeddings import Embeddings, TrainedModel
from freqd.errors import InputError
from freqd.evaluate import ndcg_on_validation
from freqd.teachers.als import AlsHyperparameters, als_sweeps, solve_new_rows
from freqd.teachers.als_warm_start import continue_als
from freqd.teachers.kinds import als as module
from freqd.teachers.previous_model import PreviousModel, als_point, incompatibility
from freqd.teachers.training import train_teacher
from freqd.training.environment import TrainingEnvironment
from tests.learning import Judged

POINT = AlsHyperparameters(6, 3.0, 10.0)
HERE = TrainingEnvironment(seed=0, device="cpu")
GRID = TeacherConfig(kind="als", factors=(6, 12), regularization=(3.0, 30.0), alpha=(10.0, 1.0), iterations=10)


def split_of(where: np.ndarray, users: list[str], items: list[str]) -> Split:
    """A split from a matrix with −1 for nothing, else the part."""

    def part(number: int) -> Interactions:
        user, item = np.nonzero(where == number)
        return Interactions(user.astype(np.int32), item.astype(np.int32), *where.shape)

    return Split(part(0), part(1), part(2), pl.Series(users), pl.Series(items))


@pytest.fixture(scope="module")
def states() -> tuple[Split, Split]:
    """The same shop before and now: the order of all rows has changed, some are gone and some are new."""
    rng = np.random.default_rng(0)
    taste = rng.standard_normal((90, 3)) @ rng.standard_normal((3, 60)) + 0.5 * rng.standard_normal((90, 60))
    when = np.where(taste > np.quantile(taste, 0.8), rng.choice(4, taste.shape, p=[0.5, 0.2, 0.15, 0.15]), 9)
    users, items = np.array([f"u{n}" for n in range(90)]), np.array([f"i{n}" for n in range(60)])
    order_u, order_i = rng.permutation(75), rng.permutation(52)
    early = np.where(when < 3, when, -1)[np.ix_(order_u, order_i)]
    before = split_of(early, list(users[order_u]), list(items[order_i]))
    order_u, order_i = rng.permutation(np.arange(5, 90)), rng.permutation(np.arange(4, 60))
    late = np.where(when < 9, np.maximum(when - 1, 0), -1)[np.ix_(order_u, order_i)]
    return before, split_of(late, list(users[order_u]), list(items[order_i]))


@pytest.fixture(scope="module")
def earlier(states: tuple[Split, Split], tmp_path_factory: pytest.TempPathFactory) -> TrainedModel:
    return train_teacher(states[0], GRID, replace(HERE, checkpoint=tmp_path_factory.mktemp("teacher")))


def normal_equations(pattern: np.ndarray, other: np.ndarray, point: AlsHyperparameters) -> np.ndarray:
    """(Σ_i c_i y_i y_iᵀ + reg I)⁻¹ Σ_i c_i p_i y_i with c = 1 + alpha p, for one row."""
    confidence = 1.0 + point.alpha * pattern
    gram = (other * confidence[:, None]).T @ other + point.regularization * np.eye(other.shape[1])
    return np.linalg.solve(gram, other.T @ (confidence * pattern))


def test_new_rows_are_the_solutions_of_the_normal_equations_and_old_ones_stay(states: tuple[Split, Split]) -> None:
    train = states[1].train.matrix()
    dense = train.toarray().astype(float)
    rng = np.random.default_rng(1)
    tables = Embeddings(*(rng.standard_normal((n, 6)).astype(np.float32) for n in train.shape))
    users, items = np.array([3, 11, 40]), np.array([0, 17])
    given = tables.users.copy(), tables.items.copy()

    found = solve_new_rows(train, tables, POINT, users, items)

    known_items = tables.items.astype(float)
    known_items[items] = 0.0
    expected = tables.users.astype(float)
    for user in users:
        expected[user] = normal_equations(dense[user], known_items, POINT)
    np.testing.assert_allclose(found.users, expected, rtol=2e-3, atol=1e-5)
    for item in items:
        np.testing.assert_allclose(
            found.items[item], normal_equations(dense[:, item], expected, POINT), rtol=2e-3, atol=1e-5
        )
    rest = np.setdiff1d(np.arange(train.shape[1]), items)
    assert np.array_equal(found.items[rest], given[1][rest])
    assert np.array_equal(tables.users, given[0]), "what was given is not changed"
    assert np.array_equal(tables.items, given[1])


def test_nothing_new_changes_nothing(states: tuple[Split, Split]) -> None:
    train = states[1].train.matrix()
    tables = als_sweeps(train, None, POINT, 2, seed=0)
    assert tables is not None
    nobody = np.zeros(0, np.int64)
    found = solve_new_rows(train, tables, POINT, nobody, nobody)
    assert np.array_equal(found.users, tables.users)
    assert np.array_equal(found.items, tables.items)


def test_a_converged_state_is_a_fixed_point_of_the_fold_in(states: tuple[Split, Split]) -> None:
    train = states[1].train.matrix()
    tables = als_sweeps(train, None, POINT, 60, seed=0)
    assert tables is not None
    found = solve_new_rows(train, tables, POINT, np.array([5]), np.zeros(0, np.int64))
    np.testing.assert_allclose(found.users[5], tables.users[5], rtol=0.02, atol=1e-3)


def test_the_order_of_rows_does_not_matter(states: tuple[Split, Split], earlier: TrainedModel) -> None:
    before, now = states
    rng = np.random.default_rng(2)
    order_u, order_i = rng.permutation(before.n_users), rng.permutation(before.n_items)
    users, items = before.user_ids.to_numpy()[order_u], before.item_ids.to_numpy()[order_i]
    shuffled = Split(before.train, before.valid, before.test, pl.Series(users), pl.Series(items))
    model = TrainedModel(
        Embeddings(earlier.features.users[order_u], earlier.features.items[order_i]), info=earlier.info
    )
    one, other = PreviousModel.of(earlier, before, now), PreviousModel.of(model, shuffled, now)
    assert np.array_equal(one.move(earlier.features).users, other.move(model.features).users)
    assert np.array_equal(one.move(earlier.features).items, other.move(model.features).items)
    assert one.counts() == other.counts()
    assert one.counts()["users"]["new"] > 0
    assert one.counts()["items"]["gone"] > 0


def test_the_teacher_is_carried_on_without_a_search_and_is_as_good(
    states: tuple[Split, Split], earlier: TrainedModel, tmp_path
) -> None:
    before, now = states
    cold = train_teacher(now, GRID, replace(HERE, checkpoint=tmp_path / "cold"))
    warm = train_teacher(
        now,
        GRID,
        replace(HERE, checkpoint=tmp_path / "warm"),
        previous=PreviousModel.of(earlier, before, now),
        start=StartConfig(run="x", tolerance=0.5),
    )
    assert warm.info["start"]["way"] == "continued"
    assert len(warm.info["trials"]) == 1
    assert sum(t["sweeps"] for t in warm.info["trials"]) < sum(t["sweeps"] for t in cold.info["trials"]) / 4
    assert warm.info["start"]["rows"]["users"] == PreviousModel.of(earlier, before, now).users.counts()
    assert [e["epoch"] for e in warm.history] == list(range(len(warm.history)))
    assert warm.info["valid_ndcg_at_10"] == ndcg_on_validation(warm.features, now.train.matrix(), now.valid.matrix())
    assert warm.info["valid_ndcg_at_10"] > 0.9 * cold.info["valid_ndcg_at_10"]


def test_sweeps_that_spoil_the_teacher_are_not_taken(states: tuple[Split, Split], earlier: TrainedModel) -> None:
    before, now = states
    values = iter([0.5, 0.4, 0.3, 0.2, 0.1])
    previous = PreviousModel.of(earlier, before, now)
    train, point = now.train.matrix(), als_point(earlier, GRID)
    trial = continue_als(Judged(train, lambda _: next(values)), previous, point, 4, TrainingEnvironment(seed=0))
    assert (trial.best_sweep(), trial.sweeps) == (0, 2)
    start = solve_new_rows(train, previous.move(earlier.features), point, previous.users.new, previous.items.new)
    assert trial.best is not None
    assert np.array_equal(trial.best.users, start.users)


def test_a_teacher_that_has_become_bad_is_searched_for(
    states: tuple[Split, Split], earlier: TrainedModel, tmp_path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, now = states
    rng = np.random.default_rng(0)
    noise = Embeddings(
        *(rng.standard_normal(t.shape).astype(np.float32) for t in (earlier.features.users, earlier.features.items))
    )
    spoilt = TrainedModel(noise, info=earlier.info | {"valid_ndcg_at_10": 0.99})
    searched = train_teacher(
        now,
        GRID,
        replace(HERE, checkpoint=tmp_path / "t"),
        previous=PreviousModel.of(spoilt, before, now),
        start=StartConfig(),
    )
    cold = train_teacher(now, GRID, replace(HERE, checkpoint=tmp_path / "cold"))
    assert searched.info["start"]["way"] in ("searched", "continued after a search")
    assert searched.info["valid_ndcg_at_10"] >= cold.info["valid_ndcg_at_10"]
    assert len(searched.info["trials"]) == 1 + len(cold.info["trials"])
    monkeypatch.setattr(module, "search_als", lambda *a, **k: pytest.fail("searched within the tolerance"))
    kept = train_teacher(
        now,
        GRID,
        replace(HERE, checkpoint=tmp_path / "k"),
        previous=PreviousModel.of(spoilt, before, now),
        start=StartConfig(tolerance=1.0),
    )
    assert kept.info["start"]["way"] == "continued"


@pytest.mark.parametrize(
    ("info", "problem"),
    [
        ({"kind": "bpr"}, "teacher of kind bpr"),
        (
            {"kind": "als", "factors": 8, "regularization": 3.0, "alpha": 10.0},
            "factors 8, and teacher.factors is 6, 12",
        ),
        ({"kind": "als", "factors": 6, "regularization": 5.0, "alpha": 10.0}, "regularization 5"),
        ({"kind": "als", "factors": 6, "regularization": 3.0, "alpha": 7.5}, "alpha 7.5"),
    ],
)
def test_a_teacher_that_is_not_asked_for_is_refused(info: dict[str, object], problem: str) -> None:
    model = TrainedModel(Embeddings(np.zeros((2, 6), np.float32), np.zeros((2, 6), np.float32)), info=info)
    with pytest.raises(InputError, match=problem):
        als_point(model, GRID)


def test_models_that_know_the_answers_or_nothing_at_all_are_not_used(states: tuple[Split, Split]) -> None:
    before, now = states
    assert incompatibility(before, now) == ""
    assert "has seen" in incompatibility(now, before)
    stranger = Split(before.train, before.valid, before.test, before.user_ids + "'", before.item_ids)
    assert "no user in common" in incompatibility(stranger, now)
