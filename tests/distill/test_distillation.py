from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from freqd.config import BaselinesConfig, DistillConfig, ObjectiveConfig
from freqd.distill import DistillSources, distill
from freqd.distill.baseline import train_bpr
from freqd.distill.student import Auto, epochs_of
from freqd.embeddings import TrainedModel
from freqd.errors import InputError
from freqd.evaluate import ndcg_on_validation
from freqd.low_rank import low_rank
from freqd.spectral import SideFilters, SideSpectrum, Spectrum
from freqd.spectral.filters import Filter
from freqd.training.environment import TrainingEnvironment

HERE = TrainingEnvironment(seed=1, device="cpu")

CONFIG = DistillConfig(
    dim=6,
    epochs=30,
    batch_size=256,
    learning_rate=1e-2,
    base_weight=0.1,
    eval_every=5,
)
ALONE = BaselinesConfig(epochs=60, learning_rate=(1e-2,), weight_decay=(1e-5, 1e-3))


@pytest.fixture
def spectrum() -> Spectrum:
    bands = np.full(2, 0.5)
    side = SideSpectrum("exact", bands, bands, bands, bands, bands)
    linear = Filter(form="linear", alpha=0.2)
    return Spectrum(
        edges=np.array([0.0, 1.0, 2.0]),
        user=side,
        item=side,
        base_ndcg=0.5,
        trials=[],
        feature_candidates=(SideFilters(user=linear, item=linear),),
        ranking_filters=SideFilters(),
        reason="",
    )


@pytest.mark.parametrize(
    ("interactions", "batch", "epochs"), [(1, 2048, 60), (100_000, 2048, 60), (400_000, 2048, 40), (10**8, 2048, 20)]
)
def test_auto_epochs_make_as_many_steps_within_bounds(interactions, batch, epochs):
    assert epochs_of("auto", Auto(8_000, 20, 60), batch_size=batch, n_interactions=interactions) == epochs
    assert epochs_of(7, Auto(8_000, 20, 60), batch_size=batch, n_interactions=interactions) == 7


@pytest.fixture
def run(choices, new_context, spectrum, tmp_path):
    split, teacher = choices
    graphs = new_context(split, teacher, 6).graphs

    def distilled(config=CONFIG, name="state", **more) -> TrainedModel:
        sources = DistillSources(split, TrainedModel(teacher), graphs, spectrum)
        return distill(sources, config, replace(HERE, checkpoint=tmp_path / f"{name}.safetensors", **more))

    return distilled


def on_test(split, features) -> float:
    seen = split.train.matrix() + split.valid.matrix()
    return ndcg_on_validation(features, seen.tocsr(), split.test.matrix())


@pytest.mark.parametrize("backbone", ["mf", "lightgcn"])
def test_a_distilled_student_beats_one_trained_alone_and_the_svd(run, choices, tmp_path, backbone):
    split, teacher = choices
    config = CONFIG.model_copy(update={"backbone": backbone})
    student = run(config)
    scratch = train_bpr(split, config, ALONE, replace(HERE, checkpoint=tmp_path / "scratch.safetensors"))
    assert student.features.dim == scratch.features.dim == 6
    assert on_test(split, student.features) > 1.1 * on_test(split, scratch.features)
    if backbone == "mf":
        assert on_test(split, student.features) > on_test(split, low_rank(teacher, 6))


def test_a_feature_term_alone_helps_a_student_from_a_random_start(run, choices, tmp_path):
    split, _ = choices
    config = CONFIG.model_copy(
        update={
            "objectives": (ObjectiveConfig(name="freqd", weight=1.0),),
            "warm_start": "random",
            "base_weight": 1.0,
            "epochs": 60,
            "decay": 0.0,
        }
    )
    student = run(config)
    scratch = train_bpr(split, config, ALONE, replace(HERE, checkpoint=tmp_path / "scratch.safetensors"))
    assert on_test(split, student.features) > 1.5 * on_test(split, scratch.features)


def test_the_same_seed_gives_the_same_student(run):
    config = CONFIG.model_copy(update={"epochs": 3})
    first, again = run(config, "first"), run(config, "again")
    np.testing.assert_array_equal(first.features.users, again.features.users)
    np.testing.assert_array_equal(first.features.items, again.features.items)


@pytest.mark.parametrize("options", [{}, {"share": 0.4}])
def test_a_resumed_distillation_ends_where_an_uninterrupted_one_does(run, options):
    objectives = (
        ObjectiveConfig(name="freqd", weight=0.1, options={"keep_prob": 0.7}),
        ObjectiveConfig(name="rce", options=options),
    )
    config = CONFIG.model_copy(update={"objectives": objectives, "epochs": 5, "eval_every": 1, "patience": 100})
    whole = run(config, "whole")

    class Killed(Exception):
        pass

    def die(epoch, features, ndcg):
        if epoch == 4:
            raise Killed
        return {}

    with pytest.raises(Killed):
        run(config, "parts", observe=die)
    resumed = run(config, "parts")
    assert resumed.info["resumed_from"] is not None
    np.testing.assert_array_equal(whole.features.users, resumed.features.users)
    np.testing.assert_array_equal(whole.features.items, resumed.features.items)


def test_the_observer_fills_the_history(run):
    student = run(
        CONFIG.model_copy(update={"epochs": 5}), observe=lambda epoch, features, ndcg: {"mastery_user": [epoch]}
    )
    assert [entry["mastery_user"] for entry in student.history] == [[0], [5]]


def test_what_was_done_is_told(run):
    info = run(CONFIG.model_copy(update={"epochs": 1})).info
    assert info["method"] == "distill"
    assert "feature_filters" not in info
    objectives = (ObjectiveConfig(name="freqd", options={"alpha": 0.3}), ObjectiveConfig(name="rce"))
    info = run(CONFIG.model_copy(update={"epochs": 1, "objectives": objectives}), "more").info
    linear = Filter(form="linear", alpha=0.3)
    assert info["feature_filters"] == SideFilters(user=linear, item=linear).model_dump()
    assert "feature_trials" not in info
    assert [term["name"] for term in info["objectives"]] == ["freqd", "rce"]


CANDIDATES = tuple(
    SideFilters(user=each, item=each) for each in (Filter(), *(Filter(form="linear", alpha=a) for a in (0.5, -0.5)))
)


def test_auto_measures_the_feature_filter_with_students_and_only_for_a_feature_term(run, spectrum, monkeypatch):
    object.__setattr__(spectrum, "feature_candidates", CANDIDATES)
    told = []
    auto = ObjectiveConfig(name="freqd", options={"form": "auto", "projector": "tied"})
    config = CONFIG.model_copy(update={"epochs": 2, "warm_start": "random", "objectives": (auto,)})
    student = run(config, progress=lambda done, text: told.append(text))
    trials = student.info["feature_trials"]
    assert [trial["item"] for trial in trials] == ["identity", "linear α=0.5", "linear α=-0.5"]
    assert len({trial["valid_ndcg_at_10"] for trial in trials}) == 3
    best = max(trials, key=lambda trial: trial["gain"])
    taken = best["gain"] > 2 * best["error"]
    chosen = CANDIDATES[trials.index(best) if taken else 0]
    assert student.info["feature_filters"] == chosen.model_dump()
    assert student.info["feature_reason"].startswith("Feature loss: ")
    assert told[0].startswith("trial 1 of the feature filter, epoch 1")
    monkeypatch.setattr("freqd.distill.distillation.choose_by_trials", lambda *_: pytest.fail("nothing asked for it"))
    run(CONFIG.model_copy(update={"epochs": 1}), "rce")
    fixed = (ObjectiveConfig(name="freqd", options={"projector": "tied"}),)
    run(CONFIG.model_copy(update={"epochs": 1, "objectives": fixed}), "fixed")


def test_a_misspelt_objective_is_refused(run):
    with pytest.raises(InputError, match="no objective 'rse'"):
        run(CONFIG.model_copy(update={"objectives": (ObjectiveConfig(name="rse"),)}))
