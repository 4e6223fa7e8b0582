from __future__ import annotations

import numpy as np
import pytest

from freqd.distill import svd_student
from freqd.distill.warm_start import warm_start
from freqd.embeddings import Embeddings


def dense_truncation(scores, dim):
    left, sizes, right = np.linalg.svd(scores)
    return left[:, :dim] * sizes[:dim] @ right[:dim]


@pytest.mark.parametrize(("n_users", "n_items", "teacher_dim"), [(40, 30, 12), (8, 30, 12), (40, 5, 12)])
def test_its_scores_are_the_truncated_svd_of_the_teachers_scores(random_table, n_users, n_items, teacher_dim):
    teacher = random_table(np.random.default_rng(0), n_users, n_items, teacher_dim)
    student = svd_student(teacher, 4)
    expected = dense_truncation(teacher.users.astype(float) @ teacher.items.T.astype(float), 4)
    np.testing.assert_allclose(student.users @ student.items.T, expected, rtol=1e-4, atol=1e-4)


def test_with_enough_numbers_it_is_the_teacher_and_the_rest_is_zero(random_table):
    teacher = random_table(np.random.default_rng(1), 20, 15, 3)
    student = svd_student(teacher, 5)
    np.testing.assert_allclose(student.users @ student.items.T, teacher.users @ teacher.items.T, atol=1e-5)
    np.testing.assert_allclose(student.users[:, 3:], 0.0, atol=1e-6)


def test_the_energy_of_a_component_is_shared_evenly_by_both_sides(random_table):
    student = svd_student(random_table(np.random.default_rng(2), 20, 15, 6), 3)
    np.testing.assert_allclose(np.linalg.norm(student.users, axis=0), np.linalg.norm(student.items, axis=0), rtol=1e-4)


def test_a_dim_below_one_is_refused(random_table):
    with pytest.raises(ValueError, match="dim must be at least 1, got 0"):
        svd_student(random_table(np.random.default_rng(0), 4, 4, 2), 0)


@pytest.mark.parametrize("scale", [0.01, 30.0])
def test_the_warm_start_ranks_as_the_svd_student_with_a_spread_that_does_not_depend_on_the_teachers_scale(
    choices, new_context, scale
):
    split, teacher = choices
    scaled = Embeddings(teacher.users * np.float32(scale), teacher.items)
    start = warm_start(new_context(split, scaled, 5))
    reference = warm_start(new_context(split, teacher, 5))
    np.testing.assert_allclose(start.users @ start.items.T, reference.users @ reference.items.T, rtol=2e-3, atol=2e-3)
    student = svd_student(teacher, 5)
    plain = student.users @ student.items.T
    ratio = (start.users @ start.items.T) / plain
    np.testing.assert_allclose(ratio[np.abs(plain) > 0.1], np.median(ratio), rtol=1e-2)


def test_idle_numbers_of_the_warm_start_can_move(choices, new_context):
    split, teacher = choices
    start = warm_start(new_context(split, teacher, 15))
    assert start.users[:, 12:].std() > 1e-3
    assert start.items[:, 12:].std() > 1e-3
