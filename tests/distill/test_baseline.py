"""The no-distillation baseline is the best model of the student's size that has no teacher."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from freqd.config import BaselinesConfig, DistillConfig
from freqd.data.interactions import Split
from freqd.distill.baseline import KINDS, train_baselines
from freqd.embeddings import Embeddings, TrainedModel
from freqd.evaluate.validation import Validation
from freqd.training.environment import TrainingEnvironment

HERE = TrainingEnvironment(seed=1, device="cpu")
STUDENT = DistillConfig(dim=6, batch_size=256)
CONFIG = BaselinesConfig(epochs=8, learning_rate=(1e-2,), weight_decay=(1e-3, 1e-2))


def test_every_kind_is_trained_and_the_best_on_validation_is_kept(
    choices: tuple[Split, Embeddings], tmp_path: Path
) -> None:
    split, _ = choices
    told: list[float] = []
    found = train_baselines(
        split, STUDENT, CONFIG, replace(HERE, checkpoint=tmp_path, progress=lambda done, text: told.append(done))
    )
    judge = Validation.of(split, limit=None, seed=1)
    alone = {
        kind: train_baselines(
            split,
            STUDENT,
            CONFIG.model_copy(update={"models": (kind,)}),
            replace(HERE, checkpoint=tmp_path / f"{kind} alone"),
        ).models[kind]
        for kind in KINDS
    }
    values = {kind: judge(model.features) for kind, model in alone.items()}
    best = found.models[found.best]
    assert found.best == best.info["kind"] == max(values, key=lambda kind: values[kind])
    assert {kind: model.info["valid_ndcg_at_10"] for kind, model in found.models.items()} == pytest.approx(values)
    assert all(model.features.dim == STUDENT.dim for model in found.models.values())
    assert [trial["kind"] for trial in best.info["trials"]] == ["als"] * 12 + ["bpr"] * 2 + ["softmax"] * 3
    trials = [trial for trial in best.info["trials"] if trial["kind"] == "bpr"]
    assert [trial["weight_decay"] for trial in trials] == [1e-3, 1e-2]
    assert values["bpr"] == pytest.approx(max(trial["valid_ndcg_at_10"] for trial in trials))
    assert told == sorted(told)
    assert told[-1] == pytest.approx(1.0)


def test_the_time_is_shared_and_a_killed_one_goes_on(
    choices: tuple[Split, Embeddings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    split, teacher = choices
    small = Embeddings(teacher.users[:, :6].copy(), teacher.items[:, :6].copy())
    asked: list[tuple[str, float | None, Path | None]] = []

    def stand_in(kind: str):  # type: ignore[no-untyped-def]
        def train(
            split: Split, student: DistillConfig, config: BaselinesConfig, environment: TrainingEnvironment
        ) -> TrainedModel:
            asked.append((kind, config.max_seconds, environment.checkpoint))
            return TrainedModel(small, info={"trials": [{"seconds": 1.0}]})

        return train

    for kind in KINDS:
        monkeypatch.setitem(KINDS, kind, stand_in(kind))
    limited = CONFIG.model_copy(update={"max_seconds": 30.0})
    train_baselines(split, STUDENT, limited, replace(HERE, checkpoint=tmp_path))
    assert asked == [(kind, 10.0, tmp_path / kind) for kind in ("als", "bpr", "softmax")]
