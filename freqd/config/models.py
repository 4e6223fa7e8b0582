"""Settings of teacher and student."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from freqd.config.base import Scalar, Settings


class TeacherConfig(Settings):
    """The big model whose ranking the student is to learn."""

    kind: str = Field(
        "als",
        min_length=1,
        max_length=100,
        description="als: implicit-feedback ALS; bpr: matrix factorisation with BPR; lightgcn; softmax: matrix factorisation by a "
        "softmax over many items; lowpass: truncated SVD of the normalised interactions; ease, graphfilter: item-item models "
        "as tables; sum: several added up, where that gains beyond chance; features: external embeddings; or the name of one "
        "that a plugin provides.",
    )
    options: dict[str, Scalar] = Field(
        default_factory=dict,
        description="Options of ease (max_items), sum (kinds, table_factors) or of a kind that a plugin provides.",
    )
    features: str | None = Field(
        None,
        description="Folder or file with external embeddings as the teacher (safetensors, npz or Parquet with ids).",
    )
    factors: tuple[Annotated[int, Field(ge=2, le=4096)], ...] = Field(
        (64, 256), min_length=1, description="Embedding dimension; several are searched on validation."
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

    @model_validator(mode="after")
    def _consistent(self) -> TeacherConfig:
        if (self.kind == "features") != (self.features is not None):
            raise ValueError("teacher.kind = 'features' and teacher.features = PATH go together: give both or neither")
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
    baselines: bool = Field(
        True,
        description="Also train the no-distillation baseline (see baseline_models) and compute the SVD student, for comparison.",
    )
    baseline_models: tuple[Literal["bpr", "als", "softmax"], ...] = Field(
        ("bpr", "als", "softmax"),
        min_length=1,
        description="Models of the student's size that are trained without a teacher; the best on validation is the no-distillation "
        "baseline. bpr is the student's own model trained on pairs.",
    )
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
    scratch_learning_rate: tuple[Annotated[float, Field(gt=0.0, le=1.0)], ...] = Field(
        (2e-3,),
        min_length=1,
        description="Step sizes tried for the baseline model bpr; the best on validation counts.",
    )
    scratch_weight_decay: tuple[Annotated[float, Field(ge=0.0, le=1.0)], ...] = Field(
        (1e-3, 3e-2), min_length=1, description="L2 strengths tried for the baseline model bpr."
    )
    scratch_epochs: AutoEpochs = Field(
        "auto",
        description="Maximum number of epochs of the baseline model bpr (auto: as many as make 30,000 steps, but 100 to 300) and of softmax (24 at the most).",
    )
    eval_every: int = Field(4, ge=1, description="Epochs between two validations.")
    patience: int = Field(5, ge=1, description="Validations without a better NDCG@10 before training stops.")
    max_seconds: float | None = Field(
        None,
        gt=0.0,
        le=1e7,
        description="Time budget of the distillation, and the same again for all trainings of the no-distillation baseline together; "
        "the best so far is kept, and the report says so. Without it: none.",
    )
