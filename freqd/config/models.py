"""Settings of teacher and student."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from pydantic import Field, field_validator, model_validator

from freqd.config.base import Scalar, Settings


class TeacherConfig(Settings):
    """The big model whose ranking the student is to learn."""

    kind: str = Field(
        "auto",
        min_length=1,
        max_length=100,
        description="auto: the sum of als, lowpass, graphfilter, softmax and, where the items are few, ease, weighted on "
        "validation; als: implicit-feedback ALS; bpr: matrix factorisation with BPR; lightgcn; softmax: matrix factorisation by a "
        "softmax over many items; lowpass: truncated SVD of the normalised interactions; ease, graphfilter: item-item models; "
        "sum: several added up, where that gains beyond chance; features: external embeddings; lists: lists that another model "
        "made; or the name of one that a plugin provides.",
    )
    options: dict[str, Scalar] = Field(
        default_factory=dict,
        description="Options of auto (table_factors, max_items), ease (max_items), sum (kinds, table_factors) or of a kind that "
        "a plugin provides.",
    )
    features: str | None = Field(
        None,
        description="Folder or file with external embeddings as the teacher (safetensors, npz or Parquet with ids).",
    )
    lists: str | None = Field(
        None,
        description="File with lists of another model as the teacher (Parquet or CSV: user, item, and score or rank).",
    )
    factors: tuple[Annotated[int, Field(ge=2, le=4096)], ...] = Field(
        (64, 256),
        min_length=1,
        description="Embedding dimension; several are searched on validation. ease, graphfilter, lists: the largest is that of the "
        "table that stands beside the model.",
    )
    regularization: tuple[Annotated[float, Field(ge=0.0)], ...] = Field(
        (10.0, 50.0), min_length=1, description="ALS: L2 strength; several are searched on validation."
    )
    alpha: tuple[Annotated[float, Field(gt=0.0)], ...] = Field(
        (1.0, 10.0, 40.0),
        min_length=1,
        description="ALS: confidence of an interaction is 1 + alpha; several are searched.",
    )
    iterations: int = Field(12, ge=1, le=500, description="ALS: sweeps over users and items at the most.")
    search_seconds: float | None = Field(
        None,
        gt=0.0,
        le=1e7,
        description="Time budget of the search over the values above. Without it: none, so that the result does not depend on how "
        "busy the machine is.",
    )
    layers: int = Field(3, ge=1, le=8, description="LightGCN: propagation layers.")
    epochs: int = Field(300, ge=1, le=100_000, description="bpr, lightgcn: epochs at the most.")
    batch_size: int = Field(2048, ge=16, le=1_000_000, description="bpr, lightgcn: interactions a step.")
    learning_rate: float = Field(1e-3, gt=0.0, le=1.0, description="bpr, lightgcn: Adam's step size.")
    weight_decay: float = Field(1e-3, ge=0.0, le=1.0, description="bpr, lightgcn: L2 strength.")
    max_seconds: float | None = Field(
        None,
        gt=0.0,
        le=1e7,
        description="bpr, lightgcn: time budget of all their trainings; the best so far is kept. Without it: none.",
    )
    eval_every: int = Field(5, ge=1, description="bpr, lightgcn: epochs between two validations.")
    patience: int = Field(5, ge=1, description="Validations without a better NDCG@10 before training stops.")
    trajectory_points: int = Field(
        0,
        ge=0,
        le=100,
        description="Rankings (50 items a user) that are kept from evenly spaced sweeps or validations, for the "
        "objective hetcomp, which needs at least 2; 0 keeps none.",
    )

    @property
    def is_external(self) -> bool:
        """Whether it was made elsewhere and is only read."""
        return self.kind in ("features", "lists")

    @model_validator(mode="after")
    def _consistent(self) -> TeacherConfig:
        for kind in ("features", "lists"):
            if (self.kind == kind) != (getattr(self, kind) is not None):
                raise ValueError(f"teacher.kind = '{kind}' and teacher.{kind} = PATH go together: give both or neither")
        return self


OWN_WEIGHTS = {"fitnet": 0.5, "freqd": 0.5}
"""Weights of objectives that nothing is said about, where they are not 1."""


class ObjectiveConfig(Settings):
    """One term of the distillation loss, by its name in the registry, with its weight and options."""

    name: str = Field(description="Name in the registry of objectives: see `freqd.distill.objectives`.")
    weight: float = Field(
        default_factory=lambda given: OWN_WEIGHTS.get(given.get("name", ""), 1.0),
        ge=0.0,
        description="Factor of this term in the loss.",
    )
    options: dict[str, Scalar] = Field(default_factory=dict, description="Options of this objective.")


class MethodConfig(Settings):
    """One method of a comparison: its objectives and, if it does not share them with the others, its optimisation."""

    objectives: tuple[ObjectiveConfig, ...] = Field(description="Terms of the distillation loss.")
    learning_rate: float | None = Field(None, gt=0.0, le=1.0, description="Instead of distill.learning_rate.")
    weight_decay: float | None = Field(None, ge=0.0, le=1.0, description="Instead of distill.weight_decay.")


AutoEpochs = Literal["auto"] | Annotated[int, Field(ge=1, le=100_000)]


class DistillConfig(Settings):
    """The student and how it learns from the teacher."""

    backbone: Literal["mf", "lightgcn"] = Field("mf", description="The student's model.")
    layers: int = Field(2, ge=1, le=8, description="LightGCN student: propagation layers.")
    dim: int = Field(20, ge=1, le=1024, description="Embedding dimension of the student.")
    objectives: tuple[ObjectiveConfig, ...] = Field(
        (ObjectiveConfig(name="rce", weight=1.0),),
        description="Terms of the distillation loss.",
    )
    base_weight: float = Field(1.0, ge=0.0, description="Factor of the student's own BPR loss.")
    warm_start: Literal["svd", "random"] = Field(
        "svd", description="svd: start at the best rank-d approximation of the teacher's scores; random."
    )
    init_std: float = Field(0.01, gt=0.0, le=1.0, description="Standard deviation of an MF student's random start.")
    epochs: AutoEpochs = Field(
        "auto",
        description="Epochs of the distilled student at the most; auto: as many as make 8,000 steps, but 20 to 60. The step "
        "size falls over these epochs, so fewer of them end sooner, not less finished.",
    )
    batch_size: int = Field(2048, ge=16, le=1_000_000, description="Interactions a step.")
    learning_rate: float = Field(
        1e-2, gt=0.0, le=1.0, description="Adam's step size of the distilled student, at the start."
    )
    decay: float = Field(
        1.0,
        ge=0.0,
        le=1.0,
        description="Share of a training of the student, at its end, over which the step size falls to 0; 0 keeps it.",
    )
    weight_decay: float = Field(0.0, ge=0.0, le=1.0, description="L2 strength of the distilled student.")
    shards: Annotated[int, Field(ge=1, le=64)] | Literal["auto"] = Field(
        "auto",
        description="In how many parts the users are trained, beside each other on the cores of the machine or of the cluster; the item "
        "table is averaged 4 times an epoch, and steps are the square root of their number larger. Not of a LightGCN student, on a GPU, or with terms that need all users at once. auto: one for each 10 million "
        "interactions, 8 at the most.",
    )
    eval_every: int = Field(4, ge=1, description="Epochs between two validations.")
    patience: int = Field(5, ge=1, description="Validations without a better NDCG@10 before training stops.")
    max_seconds: float | None = Field(
        None,
        gt=0.0,
        le=1e7,
        description="Time budget of the distillation; the best so far is kept, and the report says so. Without it: none.",
    )


SmallModel = Literal["als", "bpr", "softmax"]
"""A model of the student's size that needs no teacher."""
Reference = Literal["popular", "item-knn", "ease"]
"""A model of any size that is judged beside the others."""


class BaselinesConfig(Settings):
    """What the distilled student has to be measured against."""

    models: tuple[SmallModel | Reference, ...] = Field(
        ("popular", "item-knn", "ease", "als", "bpr", "softmax"),
        description="als, bpr, softmax: models of the student's size that are trained without a teacher, of which the best on "
        "validation is the no-distillation baseline (bpr is the student's own model trained on pairs); popular, item-knn, "
        "ease: references of any size. none leaves all of them out, and the SVD students, and the report shows the last run's.",
    )
    max_items: int = Field(
        20_000,
        ge=1,
        le=100_000,
        description="ease is left out where there are more items: its time grows with their cube.",
    )
    learning_rate: tuple[Annotated[float, Field(gt=0.0, le=1.0)], ...] = Field(
        (2e-3,), min_length=1, description="bpr: step sizes that are tried; the best on validation counts."
    )
    weight_decay: tuple[Annotated[float, Field(ge=0.0, le=1.0)], ...] = Field(
        (1e-3, 3e-2), min_length=1, description="bpr: L2 strengths that are tried."
    )
    epochs: AutoEpochs = Field(
        "auto",
        description="Maximum number of epochs of bpr (auto: as many as make 30,000 steps, but 100 to 300) and of softmax (24 at the most).",
    )
    max_seconds: float | None = Field(
        None,
        gt=0.0,
        le=1e7,
        description="Time budget of als, bpr and softmax together; the best so far is kept, and the report says so. Without it: none.",
    )

    @field_validator("models", mode="before")
    @classmethod
    def _none(cls, value: object) -> object:
        return () if value in ("none", ["none"], ("none",)) else value

    @property
    def small(self) -> tuple[SmallModel, ...]:
        """The models of the student's size."""
        return tuple(name for name in get_args(SmallModel) if name in self.models)

    @property
    def references(self) -> tuple[Reference, ...]:
        """Those of any size."""
        return tuple(name for name in get_args(Reference) if name in self.models)
