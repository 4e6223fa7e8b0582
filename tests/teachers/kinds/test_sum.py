"""The sum of teachers: a table again, never worse than its best part, with the time shared among them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from freqd.config import TeacherConfig
from freqd.data.interactions import Split
from freqd.embeddings import Embeddings, TrainedModel
from freqd.errors import InputError
from freqd.evaluate.validation import Validation
from freqd.scorer import ItemScorer, SumScorer
from freqd.teachers.registry import REGISTRY
from freqd.teachers.training import check_teacher, train_teacher
from freqd.training.environment import TrainingEnvironment

HERE = TrainingEnvironment(seed=0, device="cpu")
SUM = TeacherConfig(kind="sum", factors=(8,), options={"kinds": "als+lowpass", "table_factors": 16})


def test_parts_are_trained_and_added_up(shelf: Split, tmp_path: Path) -> None:
    model = train_teacher(shelf, SUM, replace(HERE, checkpoint=tmp_path))
    parts = {
        kind: train_teacher(
            shelf, TeacherConfig(kind=kind, factors=(size,)), replace(HERE, checkpoint=tmp_path / f"{kind} alone")
        )
        for kind, size in (("als", 8), ("lowpass", 16))
    }
    weights = model.info["weights"]
    assert sum(weights.values()) == pytest.approx(1.0)
    assert model.features.dim == sum(parts[kind].features.dim for kind in weights)
    assert {trial["kind"] for trial in model.info["trials"]} == {"als", "lowpass"}
    best = max(part.info["valid_ndcg_at_10"] for part in parts.values())
    assert model.info["valid_ndcg_at_10"] >= best - 1e-9
    assert max(parts, key=lambda kind: parts[kind].info["valid_ndcg_at_10"]) in weights
    assert "alone has the best NDCG@10 on validation" in model.info["reason"]


def test_scores_are_those_of_the_parts_by_weight(shelf: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two halves of what makes the interactions: both are taken."""
    rng = np.random.default_rng(0)
    whole = shelf.train.matrix().toarray() + shelf.valid.matrix().toarray()
    users, sizes, items = np.linalg.svd(whole, full_matrices=False)
    tables = {
        name: Embeddings(
            np.ascontiguousarray(users[:, part] * sizes[part], np.float32),
            np.ascontiguousarray(items[part].T, np.float32),
        )
        for name, part in (("als", slice(0, 10)), ("lowpass", slice(10, 40)))
    }
    seen: list[float | None] = []
    for name, table in tables.items():

        def train(split, config, environment, table=table) -> TrainedModel:  # type: ignore[no-untyped-def]
            seen.append(config.search_seconds or config.max_seconds)
            return TrainedModel(table, info={"trials": [], "valid_ndcg_at_10": float(rng.random())})

        entry = REGISTRY.entries[name]
        monkeypatch.setitem(REGISTRY.entries, name, replace(entry, value=replace(entry.value, train=train)))
    config = SUM.model_copy(update={"max_seconds": 10.0})
    model = train_teacher(shelf, config, replace(HERE, checkpoint=tmp_path))
    assert seen == [5.0, 5.0]
    assert set(model.info["weights"]) == {"als", "lowpass"}
    scores = model.features.users @ model.features.items.T
    basis = np.stack([(t.users @ t.items.T).ravel() for t in tables.values()], axis=1)
    factors, *_ = np.linalg.lstsq(basis, scores.ravel(), rcond=None)
    assert (factors > 0).all()
    np.testing.assert_allclose(basis @ factors, scores.ravel(), atol=1e-3)


def test_a_sum_with_a_graph_filter_is_no_table_and_has_one_beside_it(
    shelf: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weights of half of the items each way: both models are needed, whatever the data."""
    train = shelf.train.matrix()
    target = (shelf.valid.matrix().toarray() > 0).astype(np.float32)
    noise = np.random.default_rng(3).standard_normal(train.shape).astype(np.float32)
    half = np.arange(train.shape[1]) % 2 == 0
    users, sizes, items = np.linalg.svd(target * half + 0.1 * noise, full_matrices=False)
    table = Embeddings(np.ascontiguousarray(users * sizes, np.float32), np.ascontiguousarray(items.T, np.float32))
    weights = np.linalg.lstsq(train.toarray(), target * ~half + 0.1 * noise, rcond=None)[0].astype(np.float32)
    found = {
        "als": TrainedModel(table, info={"trials": []}),
        "graphfilter": TrainedModel(table, info={"trials": []}, full=ItemScorer(train, weights)),
    }
    for name, model in found.items():
        entry = REGISTRY.entries[name]
        kind = replace(entry.value, train=lambda *_, model=model: model)  # type: ignore[misc]
        monkeypatch.setitem(REGISTRY.entries, name, replace(entry, value=kind))
    config = SUM.model_copy(update={"options": {"kinds": "als+graphfilter"}})
    model = train_teacher(shelf, config, replace(HERE, checkpoint=tmp_path))
    assert set(model.info["weights"]) == {"als", "graphfilter"}
    assert isinstance(model.full, SumScorer)
    assert {type(part) for part in model.full.scorers} == {Embeddings, ItemScorer}
    judge = Validation.of(shelf, limit=None, seed=0)
    assert model.info["valid_ndcg_at_10"] == pytest.approx(judge(model.full))
    assert model.features.dim == max(config.factors), "the table only comes near the sum"


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"kinds": "als"}, "two or more different ones"),
        ({"kinds": "als+als"}, "two or more different ones"),
        ({"kinds": "als+features"}, "two or more different ones"),
        ({"kindz": "als+bpr"}, "'kindz'"),
    ],
)
def test_what_cannot_be_added_up_is_refused_before_anything_is_trained(options: dict[str, str], problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        check_teacher(TeacherConfig(kind="sum", options=options))
