"""Teachers without a training: tables of the size that was asked for, better than best-sellers, searched on validation."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

from freqd.config import TeacherConfig
from freqd.data.interactions import Split
from freqd.embeddings import Embeddings
from freqd.errors import InputError
from freqd.evaluate.validation import Validation
from freqd.scorer import ItemScorer
from freqd.teachers.item_search import search_ease
from freqd.teachers.kinds import closed_form
from freqd.teachers.training import check_teacher, train_teacher
from freqd.training.environment import TrainingEnvironment

HERE = TrainingEnvironment(seed=0, device="cpu")


def best_sellers(split: Split) -> Embeddings:
    sold = np.bincount(split.train.item, minlength=split.n_items).astype(np.float32)
    return Embeddings(np.ones((split.n_users, 1), np.float32), sold[:, None])


@pytest.mark.parametrize("kind", ["lowpass", "ease", "graphfilter", "softmax"])
def test_it_beats_best_sellers_and_says_how_it_was_found(shelf: Split, tmp_path: Path, kind: str) -> None:
    config = TeacherConfig(kind=kind, factors=(4, 16))
    model = train_teacher(shelf, config, replace(HERE, checkpoint=tmp_path))
    judge = Validation.of(shelf, limit=None, seed=0)
    assert model.info["kind"] == kind
    assert model.info["factors"] == model.features.dim
    assert model.features.dim in (4, 16)
    assert model.info["valid_ndcg_at_10"] == pytest.approx(judge(model.scorer))
    assert judge(model.scorer) > judge(best_sellers(shelf))
    assert len(model.info["trials"]) > 1
    assert all(trial["valid_ndcg_at_10"] is not None for trial in model.info["trials"])


def test_a_table_of_all_items_ranks_as_the_weights_do(shelf: Split, tmp_path: Path) -> None:
    config = TeacherConfig(kind="ease", factors=(shelf.n_items,))
    model = train_teacher(shelf, config, replace(HERE, checkpoint=tmp_path))
    best = search_ease(Validation.of(shelf, limit=None, seed=0), HERE).best
    assert model.info["valid_ndcg_at_10"] == pytest.approx(best["valid_ndcg_at_10"], abs=0.002)


def test_the_graph_filter_is_the_model_in_full_with_a_table_beside_it(shelf: Split, tmp_path: Path) -> None:
    config = TeacherConfig(kind="graphfilter", factors=(4, 16))
    model = train_teacher(shelf, config, replace(HERE, checkpoint=tmp_path))
    judge = Validation.of(shelf, limit=None, seed=0)
    best = max(trial["valid_ndcg_at_10"] or 0.0 for trial in model.info["trials"])
    assert isinstance(model.scorer, ItemScorer)
    assert sparse.issparse(model.scorer.weights)
    assert judge(model.scorer) == pytest.approx(best)
    assert model.info["table_valid_ndcg_at_10"] == pytest.approx(judge(model.features))


@pytest.mark.parametrize(("factors", "errors", "whole"), [(2, 2.0, True), (2, 1000.0, False), (10_000, 2.0, False)])
def test_ease_is_kept_whole_where_its_table_is_worse_by_so_many_standard_errors(
    shelf: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, factors: int, errors: float, whole: bool
) -> None:
    monkeypatch.setattr(closed_form, "ERRORS", errors)
    config = TeacherConfig(kind="ease", factors=(min(factors, shelf.n_items),))
    model = train_teacher(shelf, config, replace(HERE, checkpoint=tmp_path))
    judge = Validation.of(shelf, limit=None, seed=0)
    assert (model.full is not None) == whole
    assert model.info["valid_ndcg_at_10"] == pytest.approx(judge(model.scorer))


def test_too_many_items_for_ease_are_refused(shelf: Split, tmp_path: Path) -> None:
    config = TeacherConfig(kind="ease", options={"max_items": shelf.n_items - 1})
    with pytest.raises(InputError, match="EASE needs a matrix of"):
        train_teacher(shelf, config, replace(HERE, checkpoint=tmp_path))


def test_what_keeps_no_rankings_is_not_asked_for_them() -> None:
    with pytest.raises(InputError, match="keeps no rankings of its training") as error:
        check_teacher(TeacherConfig(kind="lowpass", trajectory_points=3))
    assert "als, bpr, lightgcn" in error.value.remedy
