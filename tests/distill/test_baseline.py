"""The no-distillation baseline is the best model of the student's size that has no teacher."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from freqd.config import DistillConfig
from freqd.data.interactions import Split
from freqd.distill.baseline import KINDS, train_baseline
from freqd.embeddings import Embeddings, TrainedModel
from freqd.evaluate.validation import Validation
from freqd.teachers.softmax import SoftmaxGrid
from freqd.training.environment import TrainingEnvironment

HERE = TrainingEnvironment(seed=1, device="cpu")
CONFIG = DistillConfig(
    dim=6, batch_size=256, scratch_epochs=8, scratch_learning_rate=(1e-2,), scratch_weight_decay=(1e-3, 1e-2)
)


def test_every_kind_is_trained_and_the_best_on_validation_is_kept(
    choices: tuple[Split, Embeddings], tmp_path: Path
) -> None:
    split, _ = choices
    told: list[float] = []
    found = train_baseline(
        split, CONFIG, replace(HERE, checkpoint=tmp_path, progress=lambda done, text: told.append(done))
    )
    judge = Validation.of(split, limit=None, seed=1)
    alone = {
        kind: train_baseline(
            split,
            CONFIG.model_copy(update={"baseline_models": (kind,)}),
            replace(HERE, checkpoint=tmp_path / f"{kind} alone"),
        )
        for kind in KINDS
    }
    values = {kind: judge(model.features) for kind, model in alone.items()}
    assert found.info["kind"] == max(values, key=lambda kind: values[kind])
    assert found.info["valid_ndcg_at_10"] == pytest.approx(max(values.values()))
    assert found.features.dim == CONFIG.dim
    assert [trial["kind"] for trial in found.info["trials"]] == ["bpr"] * 2 + ["als"] * 9 + ["softmax"] * len(
        SoftmaxGrid().weight_decay
    )
    assert told == sorted(told)
    assert told[-1] == pytest.approx(1.0)


def test_the_time_is_shared_and_a_killed_one_goes_on(
    choices: tuple[Split, Embeddings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    split, teacher = choices
    small = Embeddings(teacher.users[:, :6].copy(), teacher.items[:, :6].copy())
    asked: list[tuple[str, float | None, Path | None]] = []

    def stand_in(kind: str):  # type: ignore[no-untyped-def]
        def train(split: Split, config: DistillConfig, environment: TrainingEnvironment) -> TrainedModel:
            asked.append((kind, config.max_seconds, environment.checkpoint))
            return TrainedModel(small, info={"trials": [{"seconds": 1.0}]})

        return train

    for kind in KINDS:
        monkeypatch.setitem(KINDS, kind, stand_in(kind))
    train_baseline(split, CONFIG.model_copy(update={"max_seconds": 30.0}), replace(HERE, checkpoint=tmp_path))
    assert asked == [(kind, 10.0, tmp_path / kind) for kind in ("bpr", "als", "softmax")]
