"""External embeddings, which are read and not trained."""

from __future__ import annotations

from time import perf_counter

from freqd.config import TeacherConfig
from freqd.data.interactions import Split
from freqd.embeddings import ModelInfo, TrainedModel
from freqd.evaluate.validation import Validation
from freqd.teachers.external import load_features
from freqd.teachers.registry import teacher
from freqd.training.environment import TrainingEnvironment


@teacher("features")
def read_teacher(split: Split, config: TeacherConfig, environment: TrainingEnvironment) -> TrainedModel:
    """The external embeddings of ``teacher.features``, matched by id."""
    assert config.features is not None  # TeacherConfig refuses kind 'features' without it
    start = perf_counter()
    brought = load_features(config.features, split.user_ids, split.item_ids)
    ndcg = Validation.of(split, limit=None, seed=0)(brought.features)
    info: ModelInfo = {
        "kind": "features",
        "factors": brought.features.dim,
        "trials": [],
        "valid_ndcg_at_10": ndcg,
        "seconds": perf_counter() - start,
        "budget_hit": False,
        "not_tried": 0,
        "brought": {side: brought.info[side] for side in ("users", "items")},
        "warnings": brought.info["warnings"],
    }
    return TrainedModel(brought.features, info=info)
