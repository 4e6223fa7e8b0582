from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from freqd.config import TeacherConfig
from freqd.data.interactions import Interactions, Split
from freqd.embeddings import Embeddings, TrainedModel
from freqd.errors import InputError
from freqd.evaluate import top_k
from freqd.teachers.als import AlsHyperparameters, AlsTrial, als_sweeps
from freqd.teachers.training import check_teacher, train_teacher
from freqd.teachers.trajectory import TRAJECTORY_TOP, TrajectoryRecorder, als_trajectory, ranked, spaced
from freqd.training.environment import TrainingEnvironment

HERE = TrainingEnvironment(seed=0, device="cpu")


@pytest.fixture(scope="module")
def split() -> Split:
    import polars as pl

    rng = np.random.default_rng(0)
    pairs = np.argwhere(rng.random((80, 70)) < 0.3).astype(np.int32)
    part = rng.choice(3, len(pairs), p=[0.7, 0.2, 0.1])
    parts = [Interactions(*pairs[part == number].T.copy(), 80, 70) for number in range(3)]
    return Split(*parts, pl.Series([f"u{n}" for n in range(80)]), pl.Series([f"i{n}" for n in range(70)]))


def test_steps_are_even_and_end_at_the_last():
    assert spaced(12, 4) == [1, 5, 8, 12]
    assert spaced(2, 4) == [1, 2]
    assert spaced(1, 4) == spaced(1, 1) == [1]
    assert spaced(9, 1) == [9]


def test_the_way_of_als_is_that_of_its_sweeps(split):
    train, point = split.train.matrix(), AlsHyperparameters(4, 1.0, 10.0)
    end = als_sweeps(train, None, point, 6, seed=3)
    way = als_trajectory(train, end, AlsTrial(point, 3, history=[{"epoch": 6, "valid_ndcg_at_10": 1.0}]), 3)
    assert way.shape == (3, 80, TRAJECTORY_TOP)
    assert way.dtype == np.int32
    for lists, sweeps in zip(way, (1, 4, 6), strict=True):
        tables = als_sweeps(train, None, point, sweeps, seed=3)
        np.testing.assert_array_equal(lists, top_k(tables, train, TRAJECTORY_TOP)[0])


def test_a_teacher_keeps_its_way_if_it_is_asked_to(split, tmp_path: Path):
    config = TeacherConfig(kind="als", factors=(4,), regularization=(1.0,), alpha=(10.0,), iterations=6)
    assert train_teacher(split, config, replace(HERE, checkpoint=tmp_path / "without")).trajectory is None
    asked = config.model_copy(update={"trajectory_points": 3})
    model = train_teacher(split, asked, replace(HERE, checkpoint=tmp_path / "with"))
    best, _ = top_k(model.features, split.train.matrix(), TRAJECTORY_TOP)
    np.testing.assert_array_equal(model.trajectory[-1], best)
    assert not np.array_equal(model.trajectory[0], best)
    model.write(tmp_path)
    np.testing.assert_array_equal(TrainedModel.read(tmp_path).trajectory, model.trajectory)


def test_a_model_without_a_way_has_none_when_it_is_read(tmp_path: Path):
    table = Embeddings(np.ones((2, 1), np.float32), np.ones((3, 1), np.float32))
    TrainedModel(table).write(tmp_path)
    assert TrainedModel.read(tmp_path).trajectory is None


def test_external_embeddings_have_no_way():
    with pytest.raises(InputError, match="'features' keeps no rankings of its training"):
        check_teacher(TeacherConfig(kind="features", features="x", trajectory_points=3))


def kept_after(folder, table, train, epochs):
    capture = TrajectoryRecorder(folder, train, points=2, every=5)
    for epoch in epochs:
        assert capture(epoch, table(epoch), 0.0) == {}
    return capture


def test_a_long_training_keeps_few_rankings_also_when_it_is_resumed(split, tmp_path: Path):
    train = split.train.matrix()

    def table(epoch):
        rng = np.random.default_rng(epoch)
        return Embeddings(rng.normal(size=(80, 3)).astype(np.float32), rng.normal(size=(70, 3)).astype(np.float32))

    capture = kept_after(tmp_path / "whole", table, train, range(0, 51, 5))
    kept = sorted(int(path.stem) for path in (tmp_path / "whole").iterdir())
    assert kept == [20, 40]
    kept_after(tmp_path / "parts", table, train, range(0, 31, 5))
    kept_after(tmp_path / "parts", table, train, range(20, 51, 5))
    assert sorted(int(path.stem) for path in (tmp_path / "parts").iterdir()) == kept
    way = capture.trajectory(45, table(45))
    np.testing.assert_array_equal(way, [ranked(table(20), train), ranked(table(45), train)])
    assert len(capture.trajectory(0, table(0))) == 1


def test_gradient_teachers_keep_their_way(split, tmp_path: Path):
    config = TeacherConfig(kind="bpr", factors=(4,), epochs=6, eval_every=1, learning_rate=0.05, trajectory_points=3)
    model = train_teacher(split, config, replace(HERE, checkpoint=tmp_path))
    best, _ = top_k(model.features, split.train.matrix(), TRAJECTORY_TOP)
    np.testing.assert_array_equal(model.trajectory[-1], best)
    assert 1 <= len(model.trajectory) <= 3
