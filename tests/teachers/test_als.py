import warnings

import implicit.utils
import numpy as np
import pytest
from scipy import sparse

from freqd.embeddings import Embeddings
from freqd.evaluate import ndcg_on_validation
from freqd.numerics.threads import limited
from freqd.teachers import als
from freqd.teachers.als import AlsHyperparameters, AlsTrial, als_sweeps, sweep_cost
from tests.learning import Judged


def planted(
    seed: int = 0, n_users: int = 60, n_items: int = 40, groups: int = 4
) -> tuple[sparse.csr_array, sparse.csr_array]:
    """Users of a group like the items of that group; a fifth of what they like is validation."""
    rng = np.random.default_rng(seed)
    likes = (np.arange(n_users)[:, None] % groups) == (np.arange(n_items)[None, :] % groups)
    seen = rng.random((n_users, n_items)) < np.where(likes, 0.7, 0.05)
    valid = seen & (rng.random(seen.shape) < 0.2)
    return sparse.csr_array((seen & ~valid).astype(np.float32)), sparse.csr_array(valid.astype(np.float32))


def exact_side(pattern: np.ndarray, other: np.ndarray, point: AlsHyperparameters) -> np.ndarray:
    """x_u = (Σ_i c_ui y_i y_iᵀ + reg I)⁻¹ Σ_i c_ui p_ui y_i, dense, in float64."""
    confidence = np.where(pattern, 1.0 + point.alpha, 1.0)
    rows = []
    for c, p in zip(confidence, pattern.astype(float), strict=True):
        gram = (other * c[:, None]).T @ other + point.regularization * np.eye(other.shape[1])
        rows.append(np.linalg.solve(gram, other.T @ (c * p)))
    return np.array(rows)


@pytest.mark.parametrize(("alpha", "regularization"), [(1.0, 0.5), (7.0, 3.0), (40.0, 10.0)])
def test_a_sweep_solves_the_weighted_least_squares_with_confidence_one_plus_alpha(
    alpha: float, regularization: float
) -> None:
    train, _ = planted()
    point = AlsHyperparameters(2, regularization, alpha)  # three conjugate-gradient steps solve a 2 x 2 system exactly
    rng = np.random.default_rng(3)
    start = Embeddings(*(rng.standard_normal((n, 2)).astype(np.float32) for n in train.shape))
    items = start.items.astype(float)

    found = als_sweeps(train, start, point, 1, seed=0)

    pattern = train.toarray() > 0
    users = exact_side(pattern, items, point)
    assert found is not None
    np.testing.assert_allclose(found.users, users, rtol=2e-3, atol=1e-5)
    np.testing.assert_allclose(found.items, exact_side(pattern.T, users, point), rtol=2e-3, atol=1e-5)
    wrong = exact_side(pattern, items, AlsHyperparameters(2, regularization, alpha - 1.0))
    assert not np.allclose(found.users, wrong, rtol=2e-3, atol=1e-5)


def test_only_the_pattern_of_the_interactions_counts() -> None:
    train, _ = planted()
    scaled = train * np.float32(3.0)
    first = als_sweeps(train, None, AlsHyperparameters(4, 1.0, 10.0), 2, seed=0)
    second = als_sweeps(scaled, None, AlsHyperparameters(4, 1.0, 10.0), 2, seed=0)
    assert first is not None
    assert second is not None
    np.testing.assert_array_equal(first.users, second.users)


def test_threads_do_not_change_the_result_and_seeds_do() -> None:
    train, _ = planted()
    runs = []
    for seed, workers in ((0, 1), (0, 2), (1, 1)):
        with limited(workers):
            runs.append(als_sweeps(train, None, AlsHyperparameters(8, 1.0, 10.0), 3, seed=seed))
    tables = [run.users for run in runs if run is not None]
    np.testing.assert_array_equal(tables[0], tables[1])
    assert np.abs(tables[0] - tables[2]).max() > 1e-4


def test_sweeps_in_pieces_are_sweeps_in_one_go() -> None:
    train, _ = planted()
    point = AlsHyperparameters(8, 1.0, 10.0)
    whole = als_sweeps(train, None, point, 5, seed=0)
    piece = als_sweeps(train, None, point, 2, seed=0)
    rest = als_sweeps(train, piece, point, 3, seed=99)
    assert whole is not None
    assert rest is not None
    np.testing.assert_array_equal(whole.users, rest.users)
    np.testing.assert_array_equal(whole.items, rest.items)


def test_rows_without_interactions_become_zero() -> None:
    train, _ = planted()
    dense = train.toarray()
    dense[5], dense[:, 7] = 0, 0
    found = als_sweeps(sparse.csr_array(dense), None, AlsHyperparameters(4, 1.0, 10.0), 1, seed=0)
    assert found is not None
    assert not found.users[5].any()
    assert not found.items[7].any()
    assert found.users[4].any()


def test_no_warning_about_blas_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(implicit.utils, "_checked_blas_config", False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert als_sweeps(planted()[0], None, AlsHyperparameters(4, 1.0, 10.0), 1, seed=0) is not None


def test_it_learns_planted_groups() -> None:
    train, valid = planted()
    found = als_sweeps(train, None, AlsHyperparameters(4, 1.0, 10.0), 8, seed=0)
    assert found is not None
    rng = np.random.default_rng(0)
    chance = Embeddings(*(rng.standard_normal((n, 4)).astype(np.float32) for n in train.shape))
    assert ndcg_on_validation(found, train, valid) > 2 * ndcg_on_validation(chance, train, valid)


def test_numbers_that_are_not_finite_end_the_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(als, "als_sweeps", lambda *args, **kwargs: None)
    trial = AlsTrial(AlsHyperparameters(4, 0.0, 1.0), seed=0)
    trial.advance(Judged(planted()[0], lambda _: 1.0), 4, eval_every=1, patience=3)
    assert trial.failed
    assert trial.exhausted(3)
    assert trial.sweeps == 0


def test_als_sweeps_reports_divergence() -> None:
    train, _ = planted()
    start = Embeddings(*(np.full((n, 3), np.inf, np.float32) for n in train.shape))
    with np.errstate(invalid="ignore"):
        assert als_sweeps(train, start, AlsHyperparameters(3, 0.0, 1.0), 1, seed=0) is None


def test_a_trial_keeps_the_best_and_stops_after_patience() -> None:
    train, _ = planted()
    values = iter([0.1, 0.3, 0.2, 0.3, 0.9])
    trial = AlsTrial(AlsHyperparameters(4, 1.0, 10.0), seed=0)
    trial.advance(Judged(train, lambda _: next(values)), 20, eval_every=2, patience=2)
    assert trial.sweeps == 8
    assert trial.best_sweep() == 4
    assert trial.best_ndcg() == 0.3
    assert trial.best_ndcg(until=3) == 0.1
    assert [entry["epoch"] for entry in trial.history] == [2, 4, 6, 8]
    best = als_sweeps(train, None, trial.point, 4, seed=0)
    assert best is not None
    assert trial.best is not None
    np.testing.assert_array_equal(trial.best.items, best.items)


@pytest.mark.parametrize("stop", [2, 3, 6])
def test_a_saved_trial_goes_on_bit_for_bit(tmp_path, stop: int) -> None:
    train, valid = planted()

    def validate(features: Embeddings) -> float:
        return ndcg_on_validation(features, train, valid)

    settings = {"eval_every": 2, "patience": 9}
    whole = AlsTrial(AlsHyperparameters(6, 1.0, 10.0), seed=4)
    whole.advance(Judged(train, validate), 9, **settings)
    piece = AlsTrial(AlsHyperparameters(6, 1.0, 10.0), seed=4)
    piece.advance(Judged(train, validate), stop, **settings)
    piece.save(tmp_path / "trial.safetensors")
    rest = AlsTrial.load(tmp_path / "trial.safetensors")
    assert rest is not None
    rest.advance(Judged(train, validate), 9, **settings)
    assert whole.tables is not None
    assert rest.tables is not None
    np.testing.assert_array_equal(whole.tables.users, rest.tables.users)
    assert whole.sweeps == rest.sweeps == 9
    if stop != 3:  # stopping at 3 asked for one validation more
        assert whole.best_sweep() == rest.best_sweep()
        assert whole.best is not None
        assert rest.best is not None
        np.testing.assert_array_equal(whole.best.users, rest.best.users)


def test_a_trial_survives_only_as_a_whole_file(tmp_path) -> None:
    path = tmp_path / "trial.safetensors"
    assert AlsTrial.load(path) is None
    trial = AlsTrial(AlsHyperparameters(4, 1.0, 10.0), seed=0)
    trial.advance(Judged(planted()[0], lambda _: 0.5), 2, eval_every=2, patience=2)
    trial.save(path)
    assert [p.name for p in tmp_path.iterdir()] == ["trial.safetensors"]
    path.write_bytes(path.read_bytes()[:-10])
    assert AlsTrial.load(path) is None


def test_the_cost_of_a_sweep_grows_between_linearly_and_quadratically() -> None:
    shape = {"n_users": 1000, "n_items": 2000, "n_interactions": 100_000}
    ratio = sweep_cost(128, **shape) / sweep_cost(64, **shape)
    assert 2.0 < ratio < 4.0
    assert sweep_cost(64, n_users=10, n_items=10, n_interactions=200_000) == pytest.approx(
        2 * sweep_cost(64, n_users=10, n_items=10, n_interactions=100_000), rel=0.01
    )
