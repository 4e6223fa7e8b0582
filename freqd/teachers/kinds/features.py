"""External embeddings, which are read and not trained."""

from __future__ import annotations

from time import perf_counter

from freqd.config import TeacherConfig
from freqd.data.interactions import Split
from freqd.embeddings import ModelInfo, TrainedModel
from freqd.evaluate.validation import Validation
from freqd.teachers.external import ExternalEmbeddings, load_features
from freqd.teachers.previous_model import PreviousModel
from freqd.teachers.registry import teacher
from freqd.training.environment import TrainingEnvironment


def reread_teacher(
    split: Split,
    config: TeacherConfig,
    environment: TrainingEnvironment,
    judged: TrainedModel,
    previous: PreviousModel | None,
) -> TrainedModel:
    """The same embeddings for other users and items; what is missing is told."""
    brought = _brought(split, config)
    return TrainedModel(brought.features, info={"brought": _counts(brought), "warnings": brought.info["warnings"]})


@teacher("features", refit=reread_teacher)
def read_teacher(split: Split, config: TeacherConfig, environment: TrainingEnvironment) -> TrainedModel:
    """The external embeddings of ``teacher.features``, matched by id."""
    start = perf_counter()
    brought = _brought(split, config)
    ndcg = Validation.of(split, limit=None, seed=0)(brought.features)
    info: ModelInfo = {
        "kind": "features",
        "factors": brought.features.dim,
        "trials": [],
        "valid_ndcg_at_10": ndcg,
        "seconds": perf_counter() - start,
        "budget_hit": False,
        "not_tried": 0,
        "brought": _counts(brought),
        "warnings": brought.info["warnings"],
    }
    return TrainedModel(brought.features, info=info)


def _brought(split: Split, config: TeacherConfig) -> ExternalEmbeddings:
    assert config.features is not None  # TeacherConfig refuses kind 'features' without it
    return load_features(config.features, split.user_ids, split.item_ids)


def _counts(brought: ExternalEmbeddings) -> dict[str, dict[str, int]]:
    return {side: brought.info[side] for side in ("users", "items")}
