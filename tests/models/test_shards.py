"""A training in parts."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from flows.compare import comparison
from freqd import Distiller
from freqd.config import ComparisonPlan, DistillConfig, GraphConfig, MethodConfig, ObjectiveConfig
from freqd.config.load import build
from freqd.distill import build_objectives
from freqd.distill.context import DistillContext
from freqd.distill.shards import check_shards, n_shards
from freqd.embeddings import Embeddings, TrainedModel
from freqd.engine import HERE, Engine
from freqd.errors import InputError
from freqd.evaluate.validation import Validation
from freqd.graph import build_graphs
from freqd.low_rank import low_rank
from freqd.models import shards
from freqd.models.mf import MatrixFactorization
from freqd.models.shards import Shard, ShardRecipe, fit_in_shards
from freqd.numerics.threads import limited
from freqd.spectral.filters import Filter, SideFilters
from freqd.training import checkpoint as checkpointing
from freqd.training.environment import TrainingEnvironment
from freqd.training.learner import ModelLearner
from freqd.training.optim import OptimConfig
from tasks.runtime.preflight import preflight
from tasks.runtime.workspace import Workspace
from tests.distill.conftest import planted_split
from tests.elsewhere import Elsewhere, sent

SPLIT, TEACHER = planted_split()
TRAIN = SPLIT.train.matrix()
VALIDATE = Validation.of(SPLIT, limit=10_000, seed=0)
START = low_rank(TEACHER, 6)
OPTIM = OptimConfig(epochs=6, batch_size=64, learning_rate=0.01, decay=1.0, base_weight=0.1, eval_every=2)
SAME = SideFilters(user=Filter(form="identity"), item=Filter(form="identity"))
RCE = (ObjectiveConfig(name="rce"),)


def context() -> DistillContext:
    return DistillContext(
        teacher=TEACHER, raw_teacher=TEACHER, ranking_teacher=TEACHER, ranking_table=TEACHER,
        graphs=build_graphs(SPLIT.train, GraphConfig()), feature_filters=SAME, train=TRAIN, dim=6, seed=0,
    )  # fmt: skip


def rce_of(users: np.ndarray[Any, Any]) -> tuple[Any, DistillContext]:
    return partial(build_objectives, RCE), context().of_users(users)


def trained(count: int, engine: Engine = HERE, **changes: Any) -> TrainedModel:
    environment = replace(TrainingEnvironment(seed=3, device="cpu", engine=engine), **changes)
    return fit_in_shards(START, rce_of, VALIDATE, count, OPTIM, environment)


def assert_equal(one: TrainedModel, other: TrainedModel) -> None:
    np.testing.assert_array_equal(one.features.users, other.features.users)
    np.testing.assert_array_equal(one.features.items, other.features.items)
    assert [entry["valid_ndcg_at_10"] for entry in one.history] == [
        entry["valid_ndcg_at_10"] for entry in other.history
    ]


@pytest.mark.parametrize("count", [2, 4])
def test_parts_learn_what_the_teacher_ranks(count: int) -> None:
    rng = np.random.default_rng(0)
    nothing = Embeddings(*((0.1 * rng.standard_normal((n, 6))).astype(np.float32) for n in TRAIN.shape))
    optim = replace(OPTIM, epochs=30, eval_every=30)
    found = fit_in_shards(nothing, rce_of, VALIDATE, count, optim, TrainingEnvironment(seed=3, device="cpu"))
    start, teacher = VALIDATE(nothing), VALIDATE(TEACHER)
    print(found.info["valid_ndcg_at_10"], start, teacher)
    assert found.info["valid_ndcg_at_10"] > start + 0.3 * (teacher - start) > start


def test_two_parts_are_two_trainings_whose_items_are_averaged() -> None:
    """By hand, from nothing but trainings of a model as a whole."""
    owners: list[Any] = []

    def noted(users: np.ndarray[Any, Any]) -> tuple[Any, DistillContext]:
        owners.append(users)
        return rce_of(users)

    found = fit_in_shards(
        START, noted, VALIDATE, 2, replace(OPTIM, stop_after=1), TrainingEnvironment(seed=3, device="cpu")
    )
    assert sorted(np.concatenate(owners)) == list(range(SPLIT.n_users))
    models, learners = [], []
    for number, own in enumerate(owners):
        model = MatrixFactorization((len(own), SPLIT.n_items, 6), init=START.of_users(own), seed=0)
        make, material = rce_of(own)
        learner = ModelLearner(model, make(material), TRAIN[own], OPTIM, "cpu", shards.seed_of(3, number))
        learner.begin(1, OPTIM.learning_rate * 2**0.5)
        models.append(model)
        learners.append(learner)
    for part in range(shards.MEANS_AN_EPOCH):
        for learner in learners:
            steps = learner.sampler.n_steps
            learner.advance(steps * (part + 1) // shards.MEANS_AN_EPOCH - steps * part // shards.MEANS_AN_EPOCH)
        mean = np.mean([model.features().items for model in models], axis=0, dtype=np.float32)
        for model in models:
            model.item_rows.replace(mean)
    np.testing.assert_allclose(found.features.items, mean, atol=1e-5)
    for own, model in zip(owners, models, strict=True):
        np.testing.assert_allclose(found.features.users[own], model.features().users, atol=1e-5)


def test_where_the_parts_are_changes_nothing() -> None:
    alone, engine = trained(3), Elsewhere()
    assert_equal(alone, trained(3, engine))
    with limited(2):
        assert_equal(alone, trained(3))
    assert engine.crews == 1


def test_a_lost_part_goes_on_from_the_last_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpointing, "CHECKPOINT_SHARE", 1e9)
    engine = Elsewhere(50, 3)
    found = trained(2, engine, checkpoint=tmp_path)
    assert_equal(trained(2), found)
    assert engine.crews == 3
    assert found.info["resumed_from"]
    with pytest.raises(InputError, match="has ended"):
        trained(2, Elsewhere(3, retries=0))


def test_terms_of_a_part_are_those_of_its_users() -> None:
    whole, users = context(), np.array([3, 7, 8, 90], np.int32)
    part = whole.of_users(users)
    assert part.spread == whole.spread
    for name in ("rrd", "cd", "dcd"):
        one, other = (build_objectives((ObjectiveConfig(name=name),), each)[0] for each in (whole, part))
        np.testing.assert_array_equal(one.best[users], other.best)  # type: ignore[attr-defined]


def test_users_take_turns_in_parts_as_in_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    from freqd.distill.objectives import rce

    monkeypatch.setattr(rce, "HELD", 16 * 200 * SPLIT.n_users // 3)
    whole, part = (
        build_objectives(RCE, each)[0] for each in (context(), context().of_users(np.arange(40, dtype=np.int32)))
    )
    assert len(whole.users) == len(part.users) == 3  # type: ignore[attr-defined]


def test_a_part_can_be_read_only() -> None:
    own = np.arange(0, SPLIT.n_users, 2, dtype=np.int32)
    recipe = ShardRecipe(0, *rce_of(own), START.of_users(own), TRAIN[own], OPTIM, 0)
    one, other = Shard(recipe), Shard(sent(recipe))
    for shard in (one, other):
        shard.begin(1, 0.01)
        shard.part(0, 1, None)
    np.testing.assert_array_equal(one.users(), other.users())


@pytest.mark.parametrize(
    ("changes", "device", "reason"),
    [
        ({"backbone": "lightgcn"}, "cpu", "LightGCN"),
        (
            {"objectives": (ObjectiveConfig(name="rce"), ObjectiveConfig(name="freqd"))},
            "cpu",
            "'freqd' needs all users",
        ),
        ({}, "cuda", "CPUs alone"),
    ],
)
def test_what_needs_all_users_is_refused(
    changes: dict[str, Any], device: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("freqd.distill.shards.resolve", lambda name: name)
    with pytest.raises(InputError, match=reason) as error:
        check_shards(DistillConfig(shards=2, **changes), device)
    assert "auto" in error.value.remedy
    check_shards(DistillConfig(**changes), device)
    assert n_shards(DistillConfig(**changes), device, 10**9) == 1


@pytest.mark.parametrize(
    ("interactions", "count"), [(0, 1), (19_999_999, 1), (20_000_000, 2), (55_000_000, 5), (10**9, 8)]
)
def test_auto_takes_parts_where_there_is_enough_for_them(interactions: int, count: int) -> None:
    assert n_shards(DistillConfig(), "cpu", interactions) == count
    assert n_shards(DistillConfig(shards=3), "cpu", interactions) == 3


def test_it_is_refused_before_anything_is_done(tmp_path: Path) -> None:
    frame = pl.DataFrame({"user": ["a", "b"], "item": [1, 2]})
    with pytest.raises(InputError, match="'freqd' needs all users at once"):
        Distiller(settings={"distill.shards": 2, "distill.objectives": [{"name": "freqd"}]}).fit(frame)
    plan = ComparisonPlan(
        methods={name: MethodConfig(objectives=(ObjectiveConfig(name=name),)) for name in ("rce", "fitnet")}
    )
    settings = build([{"distill": {"shards": 2}}])
    with pytest.raises(InputError, match="'fitnet' needs all users at once"):
        comparison.fn(plan, config=settings, workdir=str(tmp_path / "work"))
    settings = build([{"distill": {"shards": 2, "objectives": [{"name": "fitnet"}]}}])
    with pytest.raises(InputError, match="'fitnet' needs all users at once"):
        preflight(settings, Workspace(tmp_path / "work"))
    assert not (tmp_path / "work").exists()
