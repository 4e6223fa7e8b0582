"""Several teachers added up: each trained by itself, the weights on validation, kept only beyond chance."""

from __future__ import annotations

from dataclasses import replace
from time import perf_counter

from pydantic import Field, field_validator

from freqd.config import Settings, TeacherConfig
from freqd.data.interactions import Split
from freqd.embeddings import ModelInfo, TrainedModel, Trial, as_table, side_by_side
from freqd.evaluate.spread import spread
from freqd.evaluate.validation import Validation
from freqd.low_rank import low_rank
from freqd.scorer import SumScorer
from freqd.teachers.item_weights import EASE_ITEMS
from freqd.teachers.kinds._budget import work_folder
from freqd.teachers.previous_model import PreviousModel
from freqd.teachers.registry import REGISTRY, teacher
from freqd.teachers.search import SAMPLE_USERS
from freqd.teachers.summed import fit_sum
from freqd.training.environment import TrainingEnvironment

OPTIONLESS = ("als", "bpr", "ease", "graphfilter", "lightgcn", "lowpass", "softmax")
"""Kinds that can be added up: those that are trained here and have nothing that must be set."""


AUTO = ("als", "lowpass", "graphfilter")
"""Kinds of ``auto`` on any data; ``softmax`` too where the interactions are few, and ``ease`` where the items are."""
SOFTMAX_INTERACTIONS = 10_000_000
"""Train interactions up to which softmax is part of ``auto``: it has the most training to do."""
SIDE_TABLE = 128
"""Embedding dimension, at the most, of the tables beside ease and graphfilter, whose own scores count in the sum."""


TABLE_FACTORS = 512
"""Embedding dimension of lowpass."""


class AutoOptions(Settings):
    """Options of ``auto``."""

    table_factors: int = Field(TABLE_FACTORS, ge=2, le=4096, description="Embedding dimension of lowpass.")
    max_items: int = Field(EASE_ITEMS, ge=1, le=100_000, description="ease is one of them up to so many items.")


class SumOptions(Settings):
    """Options of ``sum``."""

    kinds: str = Field("als+lowpass", description=f"The teachers, joined by +: two or more of {', '.join(OPTIONLESS)}.")
    table_factors: int = Field(TABLE_FACTORS, ge=2, le=4096, description="Embedding dimension of lowpass.")

    @field_validator("kinds")
    @classmethod
    def _known(cls, value: str) -> str:
        names = value.split("+")
        unknown = [name for name in names if name not in OPTIONLESS]
        if unknown or len(set(names)) < len(names) or len(names) < 2:
            raise ValueError(f"give two or more different ones of {', '.join(OPTIONLESS)}, joined by +")
        return value


def refit_sum(
    split: Split,
    config: TeacherConfig,
    environment: TrainingEnvironment,
    judged: TrainedModel,
    previous: PreviousModel | None,
) -> TrainedModel:
    """The judged parts, each refitted and brought to unit spread again, with their weights."""
    folder, train = work_folder(environment), split.train.matrix()
    weights, models = judged.info["weights"], list[TrainedModel]()
    for number, name in enumerate(weights):
        refit = REGISTRY[name].refit
        assert refit is not None  # every kind that can be added up has one
        own = replace(environment.piece(number, len(weights), f"{name}: "), checkpoint=folder / name)
        part = TrainedModel(judged.features, info=judged.info["parts"][name])
        settings = _settings(config, name, int(config.options.get("table_factors", TABLE_FACTORS)))
        models.append(refit(split, settings, own, part, None))
    spreads = tuple(spread(model.scorer, train, seed=environment.seed) for model in models)
    return _as_one(
        SumScorer(tuple(model.scorer for model in models), tuple(weights.values()), spreads),
        models,
        max(config.factors),
    )


@teacher("sum", options=SumOptions, refit=refit_sum)
def train_sum(split: Split, config: TeacherConfig, environment: TrainingEnvironment) -> TrainedModel:
    """Train each kind, then choose weights; where all that is chosen are tables, they stand side by side and are one."""
    options = SumOptions.model_validate(config.options)
    return _add_up(options.kinds.split("+"), options.table_factors, split, config, environment)


@teacher("auto", options=AutoOptions, refit=refit_sum)
def train_auto(split: Split, config: TeacherConfig, environment: TrainingEnvironment) -> TrainedModel:
    """The sum of als, lowpass, graphfilter, softmax and ease, or the one that no other adds to."""
    options = AutoOptions.model_validate(config.options)
    few = {"softmax": len(split.train) <= SOFTMAX_INTERACTIONS, "ease": split.n_items <= options.max_items}
    names = [*AUTO, *(name for name, fits in few.items() if fits)]
    return _add_up(names, options.table_factors, split, config, environment)


def _add_up(
    names: list[str], table_factors: int, split: Split, config: TeacherConfig, environment: TrainingEnvironment
) -> TrainedModel:
    started, folder = perf_counter(), work_folder(environment)
    share = config if config.max_seconds is None else _limited(config, config.max_seconds / len(names))
    models: dict[str, TrainedModel] = {}
    for number, name in enumerate(names):
        own = environment.piece(number, len(names), f"{name}: ")
        models[name] = REGISTRY[name].train(
            split, _settings(share, name, table_factors), replace(own, checkpoint=folder / name)
        )
    validation = Validation.of(split, limit=SAMPLE_USERS, seed=environment.seed)
    found = fit_sum({name: model.scorer for name, model in models.items()}, validation, seed=environment.seed)
    model = _as_one(found.scorer, [models[name] for name in found.weights], max(config.factors))
    trials: list[Trial] = [trial | {"kind": name} for name, model in models.items() for trial in model.info["trials"]]
    info: ModelInfo = {
        "kind": config.kind,
        "factors": model.features.dim,
        "weights": found.weights,
        "parts": {name: _chosen(models[name].info) for name in found.weights},
        "reason": found.reason,
        "trials": trials,
        "valid_ndcg_at_10": Validation.of(split, limit=None, seed=environment.seed)(model.scorer),
        "search_users": len(validation.users),
        "seconds": perf_counter() - started,
        "warnings": [text for model in models.values() for text in model.info.get("warnings", [])],
        "budget_hit": any(model.info.get("budget_hit", False) for model in models.values()),
    }
    return replace(model, info=info)


def _as_one(scorer: SumScorer, parts: list[TrainedModel], dim: int) -> TrainedModel:
    """The sum, and as its features those of its parts side by side: the sum itself where all parts are tables.

    Where they are not, these only come near it, so ``dim`` numbers of them are enough, and save the spectrum its time.
    """
    features = as_table(replace(scorer, scorers=tuple(part.features for part in parts)))
    assert features is not None  # features are tables
    if as_table(scorer) is not None:
        return TrainedModel(features)
    return TrainedModel(low_rank(features, dim) if features.dim > dim else features, full=side_by_side(scorer))


def _settings(config: TeacherConfig, kind: str, table_factors: int) -> TeacherConfig:
    """Those of one of the teachers; of softmax, which costs the most, the smallest size is enough beside the others."""
    factors = {
        "lowpass": (table_factors,),
        "ease": (min(table_factors, SIDE_TABLE),),
        "graphfilter": (min(table_factors, SIDE_TABLE),),
        "softmax": (min(config.factors),),
    }
    return config.model_copy(update={"kind": kind, "options": {}, "factors": factors.get(kind, config.factors)})


def _limited(config: TeacherConfig, seconds: float) -> TeacherConfig:
    """Each of the teachers with its share of the time."""
    return config.model_copy(update={"max_seconds": seconds, "search_seconds": seconds})


def _chosen(info: ModelInfo) -> ModelInfo:
    """What a part tells of itself, without its trials, which are told with those of the others."""
    own = info.copy()
    own.pop("trials", None)
    return own
