"""Several teachers added up: each trained by itself, the weights on validation, kept only beyond chance."""

from __future__ import annotations

from dataclasses import replace
from time import perf_counter

from pydantic import Field, field_validator

from freqd.config import Settings, TeacherConfig
from freqd.data.interactions import Split
from freqd.embeddings import ModelInfo, TrainedModel, Trial
from freqd.evaluate.validation import Validation
from freqd.teachers.kinds._budget import work_folder
from freqd.teachers.previous_model import PreviousModel
from freqd.teachers.registry import REGISTRY, teacher
from freqd.teachers.scorer import SumScorer, TableScorer, as_table
from freqd.teachers.scorer_ranking import spread
from freqd.teachers.search import SAMPLE_USERS
from freqd.teachers.summed import fit_sum
from freqd.training.environment import TrainingEnvironment

OPTIONLESS = ("als", "bpr", "ease", "graphfilter", "lightgcn", "lowpass", "softmax")
"""Kinds that can be added up: those that are trained here and have nothing that must be set."""


class SumOptions(Settings):
    """Options of ``sum``."""

    kinds: str = Field("als+lowpass", description=f"The teachers, joined by +: two or more of {', '.join(OPTIONLESS)}.")
    table_factors: int = Field(
        512, ge=2, le=4096, description="Embedding dimension of lowpass, ease and graphfilter, which cost no training."
    )

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
    options = SumOptions.model_validate(config.options)
    weights, tables = judged.info["weights"], list[TableScorer]()
    for number, name in enumerate(weights):
        refit = REGISTRY[name].refit
        assert refit is not None  # every kind that can be added up has one
        own = replace(environment.piece(number, len(weights), f"{name}: "), checkpoint=folder / name)
        part = TrainedModel(judged.features, info=judged.info["parts"][name])
        settings = _settings(config, name, options, len(options.kinds.split("+")))
        tables.append(TableScorer(refit(split, settings, own, part, None).features))
    spreads = tuple(spread(table, train, seed=environment.seed) for table in tables)
    features = as_table(SumScorer(tuple(tables), tuple(weights.values()), spreads))
    assert features is not None  # all of its parts are tables
    return TrainedModel(features)


@teacher("sum", options=SumOptions, refit=refit_sum)
def train_sum(split: Split, config: TeacherConfig, environment: TrainingEnvironment) -> TrainedModel:
    """Train each kind, then choose weights; tables stand side by side, so the sum is a table too."""
    started, folder = perf_counter(), work_folder(environment)
    options = SumOptions.model_validate(config.options)
    names = options.kinds.split("+")
    models: dict[str, TrainedModel] = {}
    for number, name in enumerate(names):
        own = environment.piece(number, len(names), f"{name}: ")
        models[name] = REGISTRY[name].train(
            split, _settings(config, name, options, len(names)), replace(own, checkpoint=folder / name)
        )
    validation = Validation.of(split, limit=SAMPLE_USERS, seed=environment.seed)
    scorers = {name: TableScorer(model.features) for name, model in models.items()}
    found = fit_sum(scorers, validation, seed=environment.seed)
    features = as_table(found.scorer)
    assert features is not None  # all of its parts are tables
    trials: list[Trial] = [trial | {"kind": name} for name, model in models.items() for trial in model.info["trials"]]
    info: ModelInfo = {
        "kind": "sum",
        "factors": features.dim,
        "weights": found.weights,
        "parts": {name: _chosen(models[name].info) for name in found.weights},
        "reason": found.reason,
        "trials": trials,
        "valid_ndcg_at_10": Validation.of(split, limit=None, seed=environment.seed)(features),
        "search_users": len(validation.users),
        "seconds": perf_counter() - started,
        "warnings": [text for model in models.values() for text in model.info.get("warnings", [])],
        "budget_hit": any(model.info.get("budget_hit", False) for model in models.values()),
    }
    return TrainedModel(features, info=info)


def _settings(config: TeacherConfig, kind: str, options: SumOptions, count: int) -> TeacherConfig:
    """Those of one of ``count`` teachers, with its share of the time."""
    changes: dict[str, object] = {"kind": kind, "options": {}}
    if kind in ("lowpass", "ease", "graphfilter"):
        changes["factors"] = (options.table_factors,)
    if config.max_seconds is not None:
        changes["search_seconds" if kind == "als" else "max_seconds"] = config.max_seconds / count
    return config.model_copy(update=changes)


def _chosen(info: ModelInfo) -> ModelInfo:
    """What a part tells of itself, without its trials, which are told with those of the others."""
    own = info.copy()
    own.pop("trials", None)
    return own
