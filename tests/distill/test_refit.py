"""The refit goes on from the judged student: it stays near it, learns what is new, and looks at no validation."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from freqd.config import DistillConfig, GraphConfig, ObjectiveConfig, SpectralConfig
from freqd.data import everything
from freqd.data.interactions import Split
from freqd.distill import DistillSources, distill, refit_student
from freqd.distill.refit import REFIT_EPOCHS
from freqd.embeddings import Embeddings, TrainedModel
from freqd.errors import RefitError
from freqd.evaluate import Validation
from freqd.graph import build_graphs
from freqd.low_rank import low_rank
from freqd.spectral import FeatureEvaluator, analyse, apply_filters
from freqd.teachers.previous_model import PreviousModel
from freqd.training.environment import TrainingEnvironment

HERE = TrainingEnvironment(seed=0, device="cpu")
OBJECTIVES = (ObjectiveConfig(name="freqd", weight=0.01), ObjectiveConfig(name="rce", weight=1.0))
CONFIG = DistillConfig(dim=6, epochs=12, eval_every=2, patience=2, learning_rate=0.02, batch_size=256, objectives=OBJECTIVES)  # fmt: skip


@pytest.fixture(scope="module")
def sources(choices: tuple[Split, Embeddings]) -> DistillSources:
    split, truth = choices
    teacher = TrainedModel(truth)
    graphs = build_graphs(split.train, GraphConfig(user_neighbours=3, item_neighbours=3))
    evaluate = FeatureEvaluator.of(Validation.of(split, limit=None, seed=0), teacher)
    config = SpectralConfig(bands=4, band_weights=False)
    return DistillSources(
        split, teacher, graphs, analyse(graphs, truth, evaluate, config, rng=np.random.default_rng(0))
    )


@pytest.fixture(scope="module")
def judged(sources: DistillSources) -> TrainedModel:
    return distill(sources, CONFIG, HERE)


def refitting(sources: DistillSources, student: TrainedModel, **info: object) -> DistillSources:
    """All interactions and one new user, whose row of the teacher is that of the first one."""
    split, model = sources.split, replace(student, info={**student.info, **info})  # type: ignore[typeddict-item]
    whole = everything(replace(split, latecomers=pl.DataFrame({"user": ["new"] * 5, "item": split.item_ids[:5]})))
    features = sources.teacher.features
    teacher = TrainedModel(Embeddings(np.vstack([features.users, features.users[:1]]), features.items))
    graphs = build_graphs(whole.train, GraphConfig(user_neighbours=3, item_neighbours=3))
    return replace(sources, split=whole, teacher=teacher, graphs=graphs, previous=PreviousModel.of(model, split, whole))


@pytest.mark.parametrize("change", [{}, {"warm_start": "random"}, {"backbone": "lightgcn", "warm_start": "random"}])
def test_it_stays_near_the_judged_student_and_knows_the_new_user(
    sources: DistillSources, change: dict[str, str]
) -> None:
    config = CONFIG.model_copy(update=change)
    student = distill(sources, config, HERE)
    assert student.info["best_epoch"] > 0
    again = refit_student(refitting(sources, student), config, HERE)
    assert again.info["best_epoch"] == min(REFIT_EPOCHS, student.info["best_epoch"])
    assert "valid_ndcg_at_10" not in again.info
    assert set(again.extra) == set(student.extra)
    n = sources.split.n_users
    old, new = (table.users[:n] @ table.items.T for table in (student.features, again.features))
    assert np.corrcoef(old.ravel(), new.ravel())[0, 1] > 0.8
    assert not np.allclose(old, new, atol=1e-3)
    scores = again.features.users[n] @ again.features.items.T
    assert scores[:5].mean() > scores.mean()


def test_no_more_epochs_than_were_best(sources: DistillSources, judged: TrainedModel) -> None:
    for best, epochs in ((2, 2), (40, REFIT_EPOCHS)):
        again = refit_student(refitting(sources, judged, best_epoch=best), CONFIG, HERE)
        assert again.info["epochs"] == epochs


def test_where_no_epoch_was_better_the_svd_of_the_refitted_teacher_is_the_student(
    sources: DistillSources, judged: TrainedModel
) -> None:
    all_of_it = refitting(sources, judged, best_epoch=0)
    again = refit_student(all_of_it, CONFIG, HERE)
    ranking = apply_filters(all_of_it.teacher.features, all_of_it.graphs, sources.spectrum.ranking_filters)
    svd = low_rank(ranking, CONFIG.dim)
    one, other = (table.users @ table.items.T for table in (again.features, svd))
    assert np.corrcoef(one.ravel(), other.ravel())[0, 1] == pytest.approx(1.0, abs=1e-5)


def test_where_no_epoch_was_better_than_an_earlier_student_that_one_is_taken_on(
    sources: DistillSources, judged: TrainedModel
) -> None:
    again = refit_student(refitting(sources, judged, best_epoch=0, warm_start="previous"), CONFIG, HERE)
    np.testing.assert_allclose(again.features.users[:-1], judged.features.users, atol=1e-6)
    np.testing.assert_allclose(again.features.items, judged.features.items, atol=1e-6)


def test_a_killed_refit_goes_on(sources: DistillSources, judged: TrainedModel, tmp_path: Path) -> None:
    class Killed(Exception):
        """Stands for a kill."""

    def kill(done: float, text: str) -> None:
        if "epoch 5" in text:
            raise Killed

    given, file = refitting(sources, judged, best_epoch=40), tmp_path / "state.safetensors"
    with pytest.raises(Killed):
        refit_student(given, CONFIG, replace(HERE, checkpoint=file, progress=kill))
    resumed = refit_student(given, CONFIG, replace(HERE, checkpoint=file))
    assert resumed.info["resumed_from"]
    whole = refit_student(given, CONFIG, HERE)
    np.testing.assert_allclose(resumed.features.users, whole.features.users, rtol=1e-5, atol=1e-6)


def test_an_objective_on_the_teachers_way_is_refused(sources: DistillSources, judged: TrainedModel) -> None:
    config = CONFIG.model_copy(update={"objectives": (ObjectiveConfig(name="hetcomp"),)})
    with pytest.raises(RefitError, match="'hetcomp' learns from rankings of the teacher's training"):
        refit_student(refitting(sources, judged), config, HERE)
