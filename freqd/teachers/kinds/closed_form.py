"""Teachers without a training: the low-pass table of the interactions, and item-item models."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from pydantic import Field

from freqd.config import Settings, TeacherConfig
from freqd.data.interactions import Split
from freqd.embeddings import ModelInfo, TrainedModel, Trial
from freqd.evaluate.validation import Validation
from freqd.scorer import ItemScorer
from freqd.teachers.item_search import KEEP, FoundItems, Weights, search_ease, search_graph_filter
from freqd.teachers.item_weights import EASE_ITEMS, ease_weights, graph_filter_weights, truncated_table
from freqd.teachers.lowpass import LowpassGrid, lowpass_factors, lowpass_table, search_lowpass
from freqd.teachers.previous_model import PreviousModel
from freqd.teachers.registry import teacher
from freqd.teachers.search import SAMPLE_USERS
from freqd.teachers.summed import ERRORS
from freqd.training.environment import TrainingEnvironment


class EaseOptions(Settings):
    """Options of ``ease``."""

    max_items: int = Field(
        EASE_ITEMS, ge=1, le=100_000, description="More items than this are refused: time grows with their cube."
    )


def refit_lowpass(
    split: Split,
    config: TeacherConfig,
    environment: TrainingEnvironment,
    judged: TrainedModel,
    previous: PreviousModel | None,
) -> TrainedModel:
    """The table of the judged size and exponents."""
    info = judged.info
    exponents = {"alpha_user": info["alpha_user"], "alpha_item": info["alpha_item"]}
    largest = max(config.factors)  # the judged table is the first columns of this one
    found = lowpass_factors(split.train.matrix(), largest, seed=environment.seed, **exponents)
    own = {"spectrum": info["spectrum"], "item_degree": info["item_degree"]}
    return TrainedModel(lowpass_table(found, info["factors"], **own))


def refit_ease(
    split: Split,
    config: TeacherConfig,
    environment: TrainingEnvironment,
    judged: TrainedModel,
    previous: PreviousModel | None,
) -> TrainedModel:
    """EASE of the judged strength."""
    weights = ease_weights(split.train.matrix(), judged.info["regularization"], max_items=split.n_items)
    return _refitted(weights, split, environment, judged)


def refit_graphfilter(
    split: Split,
    config: TeacherConfig,
    environment: TrainingEnvironment,
    judged: TrainedModel,
    previous: PreviousModel | None,
) -> TrainedModel:
    """The graph filter of the judged exponents."""
    weights = graph_filter_weights(split.train.matrix(), judged.info["alpha"], judged.info["beta"], KEEP)
    return _refitted(weights, split, environment, judged)


def _refitted(weights: Weights, split: Split, environment: TrainingEnvironment, judged: TrainedModel) -> TrainedModel:
    train = split.train.matrix()
    table = truncated_table(weights, train, judged.info["factors"], seed=environment.seed)
    return TrainedModel(table, full=ItemScorer(train, weights) if judged.info["whole"] else None)


@teacher("lowpass", refit=refit_lowpass)
def train_lowpass(split: Split, config: TeacherConfig, environment: TrainingEnvironment) -> TrainedModel:
    """Truncated SVD of the normalised interactions; size and exponents by validation."""
    sample = Validation.of(split, limit=SAMPLE_USERS, seed=environment.seed)
    model = search_lowpass(sample, LowpassGrid(config.factors), environment)
    model.info["search_users"] = len(sample.users)
    model.info["valid_ndcg_at_10"] = Validation.of(split, limit=None, seed=environment.seed)(model.features)
    return model


@teacher("ease", options=EaseOptions, refit=refit_ease)
def train_ease(split: Split, config: TeacherConfig, environment: TrainingEnvironment) -> TrainedModel:
    """EASE, its strength by validation: the whole matrix where it ranks better than its table of ``teacher.factors``, beyond chance."""
    sample = Validation.of(split, limit=SAMPLE_USERS, seed=environment.seed)
    limit = EaseOptions.model_validate(config.options).max_items
    model = _with_table(search_ease(sample, environment, max_items=limit), "ease", split, config, environment)
    every = Validation.of(split, limit=None, seed=environment.seed)
    whole, table = every.per_user(model.scorer), every.per_user(model.features)
    gain = (whole - table).astype(np.float64)
    if len(gain) > 1 and gain.mean() > ERRORS * gain.std(ddof=1) / len(gain) ** 0.5:
        return model
    model.info.update(ModelInfo(whole=False, valid_ndcg_at_10=float(table.mean(dtype=np.float64))))
    return replace(model, full=None)


@teacher("graphfilter", refit=refit_graphfilter)
def train_graphfilter(split: Split, config: TeacherConfig, environment: TrainingEnvironment) -> TrainedModel:
    """A polynomial filter of the bipartite graph in full, its exponents by validation."""
    sample = Validation.of(split, limit=SAMPLE_USERS, seed=environment.seed)
    return _with_table(search_graph_filter(sample, environment), "graphfilter", split, config, environment)


def _with_table(
    found: FoundItems, kind: str, split: Split, config: TeacherConfig, environment: TrainingEnvironment
) -> TrainedModel:
    """The model, and as its features a truncated SVD of the largest of ``teacher.factors``, for what works with tables."""
    rank = min(max(config.factors), split.n_items)
    features = truncated_table(found.scorer.weights, found.scorer.train, rank, seed=environment.seed)
    info: ModelInfo = {
        **_setting(found.best),
        "kind": kind,
        "factors": features.dim,
        "whole": True,
        "trials": found.trials,
        "valid_ndcg_at_10": Validation.of(split, limit=None, seed=environment.seed)(found.scorer),
        "seconds": found.seconds,
    }
    return TrainedModel(features, info=info, full=found.scorer)


def _setting(best: Trial) -> ModelInfo:
    """The strength or the exponents of a setting that was tried."""
    if "regularization" in best:
        return {"regularization": best["regularization"]}
    return {"alpha": best["alpha"], "beta": best["beta"]}
