"""A refit is the judged teacher again: on the same train data it gives the same tables, though it has nothing to choose by."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from freqd.config import Settings, StartConfig, TeacherConfig
from freqd.data import everything
from freqd.data.interactions import Interactions, Split
from freqd.embeddings import Embeddings, ModelInfo, TrainedModel
from freqd.errors import LeakError, RefitError
from freqd.plugins import Entry
from freqd.teachers.previous_model import PreviousModel
from freqd.teachers.registry import REGISTRY, TeacherKind
from freqd.teachers.training import refit_teacher, train_teacher
from freqd.training.environment import TrainingEnvironment
from freqd.training.optim import OptimConfig

HERE = TrainingEnvironment(seed=0, device="cpu")
GRADIENT = {"epochs": 12, "eval_every": 2, "patience": 2, "learning_rate": 0.02, "batch_size": 256}
SETTINGS = {
    "als": TeacherConfig(kind="als", factors=(4, 8), regularization=(1.0, 20.0), alpha=(1.0, 10.0), iterations=6),
    "lowpass": TeacherConfig(kind="lowpass", factors=(4, 12)),
    "ease": TeacherConfig(kind="ease", factors=(12,)),
    "graphfilter": TeacherConfig(kind="graphfilter", factors=(12,)),
    "softmax": TeacherConfig(kind="softmax", factors=(4,)),
    "bpr": TeacherConfig(kind="bpr", factors=(4, 6), **GRADIENT),  # type: ignore[arg-type]
    "lightgcn": TeacherConfig(kind="lightgcn", factors=(4,), **GRADIENT),  # type: ignore[arg-type]
    "sum": TeacherConfig(kind="sum", factors=(4,), options={"kinds": "als+lowpass", "table_factors": 12}),
    "auto": TeacherConfig(
        kind="auto", factors=(4,), regularization=(1.0,), alpha=(10.0,), options={"table_factors": 12}
    ),
}


def train_alone(split: Split) -> Split:
    """The train part with nothing to choose or to judge by, as a refit has it."""
    nothing = Interactions(np.empty(0, np.int32), np.empty(0, np.int32), split.n_users, split.n_items)
    return replace(split, valid=nothing, test=nothing)


@pytest.mark.parametrize("kind", SETTINGS)
def test_the_same_data_give_the_same_teacher(shelf: Split, kind: str, tmp_path: Path) -> None:
    config = SETTINGS[kind]
    judged = train_teacher(shelf, config, replace(HERE, checkpoint=tmp_path / "judged"))
    again = refit_teacher(train_alone(shelf), config, judged, replace(HERE, checkpoint=tmp_path / "again"))
    np.testing.assert_allclose(again.features.users, judged.features.users, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(again.features.items, judged.features.items, rtol=1e-4, atol=1e-5)
    users = np.arange(shelf.n_users, dtype=np.int32)
    np.testing.assert_allclose(again.scorer.block(users), judged.scorer.block(users), rtol=1e-3, atol=1e-4)
    assert again.info["refit"]
    assert "valid_ndcg_at_10" not in again.info


def test_every_kind_that_is_built_in_can_be_refitted() -> None:
    assert {name for name, entry in REGISTRY.entries.items() if entry.value.refit is None} == set()
    assert {*SETTINGS, "features", "lists"} == set(REGISTRY.entries)


def test_more_data_are_learnt_from(shelf: Split, tmp_path: Path) -> None:
    config = SETTINGS["als"]
    judged = train_teacher(shelf, config, replace(HERE, checkpoint=tmp_path))
    whole = everything(replace(shelf, latecomers=pl.DataFrame({"user": ["new"] * 3, "item": shelf.item_ids[:3]})))
    again = refit_teacher(whole, config, judged, replace(HERE, checkpoint=tmp_path))
    assert len(again.features.users) == shelf.n_users + 1
    assert again.features.users[-1].any()
    assert not np.allclose(again.features.users[:-1], judged.features.users)


def test_one_that_went_on_from_an_earlier_teacher_does_so_again(shelf: Split, tmp_path: Path) -> None:
    config = SETTINGS["als"]
    earlier = train_teacher(shelf, config, replace(HERE, checkpoint=tmp_path))
    previous = PreviousModel.of(earlier, shelf, shelf)
    start = StartConfig(tolerance=1.0)
    judged = train_teacher(shelf, config, replace(HERE, checkpoint=tmp_path / "judged"), previous, start)
    assert judged.info["start"]["way"] == "continued"
    again = refit_teacher(train_alone(shelf), config, judged, replace(HERE, checkpoint=tmp_path / "again"), previous)
    np.testing.assert_allclose(again.features.items, judged.features.items, rtol=1e-4, atol=1e-5)


def test_external_embeddings_are_read_for_the_newest_too(shelf: Split, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    tables = {"users": rng.random((shelf.n_users, 3), np.float32), "items": rng.random((shelf.n_items, 3), np.float32)}
    ids = {"user_ids": shelf.user_ids.to_numpy().astype(str), "item_ids": shelf.item_ids.to_numpy().astype(str)}
    np.savez(tmp_path / "own.npz", **tables, **ids)
    config = TeacherConfig(kind="features", features=str(tmp_path / "own.npz"))
    judged = train_teacher(shelf, config, HERE)
    whole = everything(replace(shelf, latecomers=pl.DataFrame({"user": ["new"], "item": shelf.item_ids[:1]})))
    again = refit_teacher(whole, config, judged, HERE)
    assert again.info["brought"]["users"]["missing"] == 1
    assert not again.features.users[-1].any()
    np.testing.assert_array_equal(again.features.users[:-1], judged.features.users)


def test_a_kind_of_a_plugin_without_a_refit_is_refused(
    shelf: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = Embeddings(np.ones((shelf.n_users, 2), np.float32), np.ones((shelf.n_items, 2), np.float32))
    kind = TeacherKind(lambda *_: TrainedModel(table), Settings, None, False, None)
    monkeypatch.setitem(REGISTRY.entries, "own", Entry(kind, "somewhere"))
    with pytest.raises(RefitError, match="'own' cannot be refitted"):
        refit_teacher(shelf, TeacherConfig(kind="own"), TrainedModel(table), replace(HERE, checkpoint=tmp_path))


def test_no_training_goes_on_from_a_refit(shelf: Split, tmp_path: Path) -> None:
    """Planted: it has seen the validation and test parts of the run that would start from it."""
    config = SETTINGS["lowpass"]
    judged = train_teacher(shelf, config, replace(HERE, checkpoint=tmp_path))
    again = refit_teacher(everything(shelf), config, judged, replace(HERE, checkpoint=tmp_path))
    assert PreviousModel.of(judged, shelf, shelf).model is judged
    with pytest.raises(LeakError, match="judged twin"):
        PreviousModel.of(again, shelf, shelf)


def test_a_training_that_the_clock_has_stopped_is_repeated_with_small_steps_at_its_end() -> None:
    own = OptimConfig(epochs=60, decay=1.0, max_seconds=5.0)
    info: ModelInfo = {"epochs": 20, "planned_epochs": 60, "best_epoch": 18, "learning_rate": 0.1, "weight_decay": 0.2, "stopped": "time"}  # fmt: skip
    again = own.again(info)
    assert (again.epochs, again.stop_after, again.max_seconds) == (20, 18, None)
    assert (again.learning_rate, again.weight_decay) == (0.1, 0.2)
    assert own.again({**info, "stopped": "patience"}).epochs == 60
