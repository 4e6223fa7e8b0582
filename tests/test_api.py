"""The small interface for notebooks: from a frame to a student that answers."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from freqd import Distiller
from freqd.errors import InputError

SMALL = {
    "teacher.factors": 8, "teacher.regularization": 1.0, "teacher.alpha": 10.0, "teacher.iterations": 2, "distill.epochs": 3,
    "spectral.bands": 2, "threads": 1, "data.split": "random",
}  # fmt: skip


def small() -> Distiller:
    return Distiller(dim=4, settings=SMALL)


@pytest.fixture(scope="module")
def frame(planted: Callable[..., pl.DataFrame]) -> pl.DataFrame:
    """Integer ids under names of a shop's own."""
    return planted(users=120, items=80).select(
        shopper=pl.col("user").str.slice(1).cast(pl.Int64), sku=pl.col("item").str.slice(1).cast(pl.Int64), time="time"
    )


@pytest.fixture(scope="module")
def fitted(frame: pl.DataFrame) -> Distiller:
    return small().fit(frame, user="shopper", item="sku")


def test_recommendations_are_new_to_the_user_and_have_the_frames_ids(fitted: Distiller, frame: pl.DataFrame) -> None:
    found = fitted.recommend(7, k=5)
    assert found.schema == {"item": pl.Int64, "score": pl.Float64}
    assert len(found) == 5
    assert found["score"].is_sorted(descending=True)
    assert not set(found["item"]) & set(frame.filter(shopper=7)["sku"])
    several = fitted.recommend([7, 8], k=5)
    assert several.columns == ["user", "item", "score"]
    assert_frame_equal(several.filter(user=7).drop("user"), found)


def test_similar_items_are_others_of_the_frame(fitted: Distiller) -> None:
    found = fitted.similar(3, k=4)
    assert len(found) == 4
    assert 3 not in found["item"].to_list()
    with pytest.raises(InputError, match="does not know item"):
        fitted.similar(10_000)


def test_the_spectrum_has_a_row_a_side_and_band(fitted: Distiller) -> None:
    found = fitted.spectrum
    assert found["side"].to_list() == ["user", "user", "item", "item"]
    assert found.group_by("side").agg(pl.col("energy", "density").sum())["energy"].to_list() == pytest.approx([1, 1])


def test_teacher_and_student_are_evaluated(fitted: Distiller) -> None:
    found = fitted.evaluate()
    assert found["model"].to_list() == ["teacher", "student"]
    assert found["dim"].to_list() == [8, 4]
    assert (found["ndcg_at_10"] > 0.0).all()


def test_what_is_saved_answers_the_same_after_loading(fitted: Distiller, tmp_path: Path) -> None:
    fitted.save(tmp_path / "model")
    again = Distiller.load(tmp_path / "model")
    assert again.config == fitted.config
    assert repr(again) == repr(fitted)
    assert_frame_equal(again.recommend([1, 2, 3]), fitted.recommend([1, 2, 3]))
    assert_frame_equal(again.spectrum, fitted.spectrum)
    with pytest.raises(InputError, match="no saved Distiller"):
        Distiller.load(tmp_path)


def test_a_pandas_frame_and_times_give_the_same_as_polars(frame: pl.DataFrame, fitted: Distiller) -> None:
    own = frame.rename({"shopper": "user", "sku": "item", "time": "when"})
    again = small().fit(own.to_pandas(), time="when")
    assert_frame_equal(again.recommend([1, 2, 3]), fitted.recommend([1, 2, 3]))


def test_what_is_wrong_is_said_before_anything_is_trained(frame: pl.DataFrame) -> None:
    with pytest.raises(InputError, match="not fitted"):
        Distiller().recommend(1)
    with pytest.raises(InputError, match="no column 'user' for the user; it has 'shopper'"):
        Distiller().fit(frame)
    with pytest.raises(InputError, match=r"did you mean 'distill.dim'"):
        Distiller(settings={"distill.dims": 3})
    with pytest.raises(InputError, match="no teacher of kind 'oracle'"):
        Distiller(teacher="oracle").fit(frame)


def test_what_is_shown_is_short(fitted: Distiller) -> None:
    made = fitted.fitted
    for part in (made.split, made.split.train, made.graphs, made.graphs.user, made.teacher, made.student.features):
        assert len(repr(part)) < 160
        assert "array" not in repr(part)
    assert len(repr(made.spectrum)) < 250
    assert "dim=4" in repr(fitted)


def test_it_needs_neither_servers_nor_torch_before_it_is_used() -> None:
    code = """
import sys, freqd, freqd.models, freqd.teachers
assert "torch" not in sys.modules
freqd.Distiller, freqd.models.LightGCN, freqd.teachers.train_teacher, freqd.teachers.teacher
assert callable(freqd.teachers.teacher)
print([name for name in ("prefect", "mlflow") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
