"""Teachers without a training: the low-pass table of the interactions, and item-item models as tables."""

from __future__ import annotations

from pydantic import Field

from freqd.config import Settings, TeacherConfig
from freqd.data.interactions import Split
from freqd.embeddings import ModelInfo, TrainedModel
from freqd.evaluate.validation import Validation
from freqd.teachers.item_search import FoundItems, search_ease, search_graph_filter
from freqd.teachers.item_weights import EASE_ITEMS, truncated_table
from freqd.teachers.lowpass import LowpassGrid, search_lowpass
from freqd.teachers.registry import teacher
from freqd.teachers.search import SAMPLE_USERS
from freqd.training.environment import TrainingEnvironment


class EaseOptions(Settings):
    """Options of ``ease``."""

    max_items: int = Field(
        EASE_ITEMS, ge=1, le=100_000, description="More items than this are refused: time grows with their cube."
    )


@teacher("lowpass")
def train_lowpass(split: Split, config: TeacherConfig, environment: TrainingEnvironment) -> TrainedModel:
    """Truncated SVD of the normalised interactions; size and exponents by validation."""
    sample = Validation.of(split, limit=SAMPLE_USERS, seed=environment.seed)
    model = search_lowpass(sample, LowpassGrid(config.factors), environment)
    model.info["search_users"] = len(sample.users)
    model.info["valid_ndcg_at_10"] = Validation.of(split, limit=None, seed=environment.seed)(model.features)
    return model


@teacher("ease", options=EaseOptions)
def train_ease(split: Split, config: TeacherConfig, environment: TrainingEnvironment) -> TrainedModel:
    """EASE, its strength by validation, as a table of the largest of ``teacher.factors``."""
    sample = Validation.of(split, limit=SAMPLE_USERS, seed=environment.seed)
    limit = EaseOptions.model_validate(config.options).max_items
    return _as_table(search_ease(sample, environment, max_items=limit), "ease", split, config, environment)


@teacher("graphfilter")
def train_graphfilter(split: Split, config: TeacherConfig, environment: TrainingEnvironment) -> TrainedModel:
    """A polynomial filter of the bipartite graph, its exponents by validation, as a table of the largest of ``teacher.factors``."""
    sample = Validation.of(split, limit=SAMPLE_USERS, seed=environment.seed)
    return _as_table(search_graph_filter(sample, environment), "graphfilter", split, config, environment)


def _as_table(
    found: FoundItems, kind: str, split: Split, config: TeacherConfig, environment: TrainingEnvironment
) -> TrainedModel:
    """The truncated SVD of the weights: students, graphs and the registry work with tables."""
    every = Validation.of(split, limit=None, seed=environment.seed)
    rank = min(max(config.factors), split.n_items)
    features = truncated_table(found.scorer.weights, every.train, rank, seed=environment.seed)
    info: ModelInfo = {
        "kind": kind,
        "factors": features.dim,
        "trials": found.trials,
        "valid_ndcg_at_10": every(features),
        "seconds": found.seconds,
    }
    return TrainedModel(features, info=info)
