from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from freqd.config import DistillConfig
from freqd.data.interactions import Split
from freqd.data.realign import Rows
from freqd.distill.warm_start import align_previous_student, check_student, choose_start, warm_start
from freqd.embeddings import Embeddings, TrainedModel
from freqd.errors import InputError
from freqd.evaluate.validation import Validation
from freqd.low_rank import low_rank
from freqd.teachers.previous_model import PreviousModel

INFO = {"backbone": "mf"}


def previous_of(split: Split, student: Embeddings, users: list[str], items: list[str], **more) -> PreviousModel:
    rows = Rows.of(pl.Series(users), split.user_ids), Rows.of(pl.Series(items), split.item_ids)
    return PreviousModel(TrainedModel(student, info=INFO, **more), *rows)


@pytest.fixture
def partly(choices, random_table):
    """A student of two thirds of the users and items, in another order, that is a linear image of the teacher."""
    split, teacher = choices
    rng = np.random.default_rng(0)
    users, items = rng.permutation(split.n_users)[:100], rng.permutation(split.n_items)[:80]
    maps = [rng.standard_normal((teacher.dim, 5)).astype(np.float32) for _ in range(2)]
    student = Embeddings(teacher.users[users] @ maps[0], teacher.items[items] @ maps[1])
    ids = [f"u{n}" for n in users], [f"i{n}" for n in items]
    return split, teacher, maps, previous_of(split, student, *ids)


def test_new_rows_are_the_teachers_through_the_map_that_known_rows_show(partly) -> None:
    _, teacher, maps, previous = partly
    found = align_previous_student(previous, teacher)
    np.testing.assert_allclose(found.users, teacher.users @ maps[0], rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(found.items, teacher.items @ maps[1], rtol=1e-3, atol=1e-3)


def test_known_rows_stay_as_they_were_and_new_ones_are_at_least_squares(partly, random_table) -> None:
    split, teacher, _, _ = partly
    rng = np.random.default_rng(4)
    student = random_table(rng, 100, 80, 5)
    users, items = [f"u{n}" for n in range(50, 150)], [f"i{n}" for n in range(80)]
    previous = previous_of(split, student, users, items)
    found = align_previous_student(previous, teacher)
    assert np.array_equal(found.users[50:], student.users)
    assert np.array_equal(found.items[:80], student.items)
    dense = np.linalg.lstsq(teacher.users[50:].astype(float), student.users.astype(float), rcond=None)[0]
    np.testing.assert_allclose(found.users[:50], teacher.users[:50] @ dense, rtol=1e-3, atol=1e-4)
    # a teacher in other coordinates leads to the same student
    turned = Embeddings(
        *(t @ np.linalg.qr(rng.standard_normal((12, 12)))[0].astype(np.float32) for t in (teacher.users, teacher.items))
    )
    np.testing.assert_allclose(align_previous_student(previous, turned).users, found.users, rtol=1e-3, atol=1e-3)


def test_the_parameters_of_a_propagated_student_are_carried_over(partly, random_table) -> None:
    split, teacher, _, _ = partly
    raw, final = (random_table(np.random.default_rng(seed), 150, 120, 5) for seed in (1, 2))
    extra = {"raw_users": raw.users, "raw_items": raw.items}
    previous = previous_of(split, final, list(split.user_ids), list(split.item_ids), extra=extra)
    found = align_previous_student(previous, teacher)
    assert np.array_equal(found.users, raw.users)
    assert np.array_equal(found.items, raw.items)


def test_the_better_start_on_validation_is_taken(choices, new_context, random_table) -> None:
    split, teacher = choices
    context, config = new_context(split, teacher, 12), DistillConfig(dim=12)
    validate = Validation.of(split, limit=None, seed=0)
    ids = list(split.user_ids), list(split.item_ids)
    perfect = previous_of(split, teacher, *ids)
    noise = previous_of(split, random_table(np.random.default_rng(9), 150, 120, 12), *ids)
    svd = warm_start(context)

    good = choose_start(context, config, validate, perfect)
    assert good.name == "previous"  # as good as the SVD of as many numbers as the teacher has, within rounding
    bad = choose_start(context, config, validate, noise)
    assert bad.name == "svd"
    assert np.array_equal(bad.tables.users, svd.users)
    assert bad.info["valid_ndcg_at_10"] == {
        "previous": pytest.approx(validate(noise.model.features)),
        "svd": pytest.approx(validate(svd)),
    }
    assert bad.info["rows"]["users"] == {"kept": 150, "new": 0, "gone": 0}
    random = choose_start(context, DistillConfig(dim=12, warm_start="random"), validate, noise)
    assert random.name == "previous"
    assert choose_start(context, config, validate, None).info is None


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        (DistillConfig(dim=7), "student of dimension 5, and distill.dim is 7"),
        (DistillConfig(dim=5, backbone="lightgcn"), "mf"),
    ],
)
def test_a_student_of_another_kind_is_refused(config: DistillConfig, problem: str, random_table) -> None:
    student = TrainedModel(random_table(np.random.default_rng(0), 3, 3, 5), info=INFO)
    with pytest.raises(InputError, match=problem):
        check_student(student, config)


@pytest.mark.parametrize("scale", [0.01, 30.0])
def test_the_warm_start_ranks_as_the_svd_student_with_a_spread_that_does_not_depend_on_the_teachers_scale(
    choices, new_context, scale
):
    split, teacher = choices
    scaled = Embeddings(teacher.users * np.float32(scale), teacher.items)
    start = warm_start(new_context(split, scaled, 5))
    reference = warm_start(new_context(split, teacher, 5))
    np.testing.assert_allclose(start.users @ start.items.T, reference.users @ reference.items.T, rtol=2e-3, atol=2e-3)
    student = low_rank(teacher, 5)
    plain = student.users @ student.items.T
    ratio = (start.users @ start.items.T) / plain
    np.testing.assert_allclose(ratio[np.abs(plain) > 0.1], np.median(ratio), rtol=1e-2)


def test_idle_numbers_of_the_warm_start_can_move(choices, new_context):
    split, teacher = choices
    start = warm_start(new_context(split, teacher, 15))
    assert start.users[:, 12:].std() > 1e-3
    assert start.items[:, 12:].std() > 1e-3
