from __future__ import annotations

import numpy as np
import pytest

from freqd.embeddings import Embeddings
from freqd.low_rank import low_rank


@pytest.fixture
def random_table():
    def make(rng: np.random.Generator, n_users: int, n_items: int, dim: int) -> Embeddings:
        return Embeddings(*(rng.standard_normal((n, dim), np.float32) for n in (n_users, n_items)))

    return make


def dense_truncation(scores, dim):
    left, sizes, right = np.linalg.svd(scores)
    return left[:, :dim] * sizes[:dim] @ right[:dim]


@pytest.mark.parametrize(("n_users", "n_items", "teacher_dim"), [(40, 30, 12), (8, 30, 12), (40, 5, 12)])
def test_its_scores_are_the_truncated_svd_of_the_teachers_scores(random_table, n_users, n_items, teacher_dim):
    teacher = random_table(np.random.default_rng(0), n_users, n_items, teacher_dim)
    student = low_rank(teacher, 4)
    expected = dense_truncation(teacher.users.astype(float) @ teacher.items.T.astype(float), 4)
    np.testing.assert_allclose(student.users @ student.items.T, expected, rtol=1e-4, atol=1e-4)


def test_with_enough_numbers_it_is_the_teacher_and_the_rest_is_zero(random_table):
    teacher = random_table(np.random.default_rng(1), 20, 15, 3)
    student = low_rank(teacher, 5)
    np.testing.assert_allclose(student.users @ student.items.T, teacher.users @ teacher.items.T, atol=1e-5)
    np.testing.assert_allclose(student.users[:, 3:], 0.0, atol=1e-6)


@pytest.mark.parametrize("kept", [0, 1, 4])
def test_a_table_whose_columns_repeat_or_are_zero(random_table, kept):
    teacher = random_table(np.random.default_rng(3), 30, 20, kept)
    wide = Embeddings(
        *(
            np.hstack([table, 2 * table, np.zeros((len(table), 2), np.float32)])
            for table in (teacher.users, teacher.items)
        )
    )
    student = low_rank(wide, 6)
    assert np.isfinite(student.users).all()
    np.testing.assert_allclose(student.users @ student.items.T, wide.users @ wide.items.T, atol=1e-4)
    np.testing.assert_allclose(student.items[:, kept:], 0.0, atol=1e-3)


def test_the_energy_of_a_component_is_shared_evenly_by_both_sides(random_table):
    student = low_rank(random_table(np.random.default_rng(2), 20, 15, 6), 3)
    np.testing.assert_allclose(np.linalg.norm(student.users, axis=0), np.linalg.norm(student.items, axis=0), rtol=1e-4)


def test_a_dim_below_one_is_refused(random_table):
    with pytest.raises(ValueError, match="dim must be at least 1, got 0"):
        low_rank(random_table(np.random.default_rng(0), 4, 4, 2), 0)
