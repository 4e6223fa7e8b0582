"""What is asked of a job of many trainings, beside the settings that all of them share."""

from __future__ import annotations

from datetime import date
from itertools import product
from typing import Annotated

from pydantic import Field

from freqd.config.base import Settings
from freqd.config.models import MethodConfig, ObjectiveConfig


class ComparisonPlan(Settings):
    """What is held against each other."""

    methods: dict[str, MethodConfig] = Field(
        description="The terms of the distillation loss and what a method does not share with the others, by its name."
    )
    dims: tuple[int, ...] = Field((8, 20), min_length=1, description="Sizes of the students.")
    seeds: int = Field(
        3,
        ge=1,
        description="Students of each method and size; the first seed is that of the settings, the teacher's too.",
    )
    data: tuple[str, ...] = Field(
        (), description="Named data sets or files, each on its own; none: the data of the settings."
    )
    against: str = Field(
        "scratch",
        description="The method that the others are tested against: one of methods, scratch, svd or filtered_svd.",
    )
    learning_rates: tuple[Annotated[float, Field(gt=0.0, le=1.0)], ...] = Field(
        (),
        description="Step sizes tried for every method, with the first seed; none: that of the method or of the settings.",
    )
    weight_decays: tuple[Annotated[float, Field(ge=0.0, le=1.0)], ...] = Field(
        (), description="L2 strengths tried for every method, each with each of the step sizes; none: as above."
    )

    def variants(self, method: MethodConfig) -> tuple[MethodConfig, ...]:
        """The method with each pair of step size and L2 strength; itself where none are to be tried."""
        grid = product(self.learning_rates or (method.learning_rate,), self.weight_decays or (method.weight_decay,))
        return tuple(method.model_copy(update={"learning_rate": rate, "weight_decay": decay}) for rate, decay in grid)


class ComparisonCase(Settings):
    """One comparison of a preset, with what differs from the others."""

    settings: dict[str, object] = Field(description="Settings by section, over those that all cases share.")
    seeds: int | None = Field(None, ge=1, description="Instead of that of the preset.")


class ComparisonPreset(Settings):
    """Comparisons that belong together: the same methods on several data sets or teachers."""

    methods: tuple[str, ...] = Field(min_length=1, description="As words, such as freqd[weight=0.1].")
    against: str = Field(description="The method that the others are tested against.")
    seeds: int = Field(3, ge=1, description="Students of each method and size.")
    learning_rates: tuple[float, ...] = Field((), description="As in a plan.")
    weight_decays: tuple[float, ...] = Field((), description="As in a plan.")
    settings: dict[str, object] = Field(default_factory=dict, description="What all cases share, by section.")
    cases: dict[str, ComparisonCase] = Field(min_length=1, description="By name, in the order in which they run.")


class SearchPlan(Settings):
    """Which method's settings are searched, and for how long."""

    method: str = Field(description="The method's name.")
    objectives: tuple[ObjectiveConfig, ...] = Field(
        min_length=1, description="Its terms of the distillation loss, in place of distill.objectives."
    )
    trials: int = Field(30, ge=1, description="How many, those of earlier parts of the search included.")
    budget_seconds: float = Field(
        1200.0, gt=0.0, description="Of all trials together; data, graphs, teacher and spectrum are not counted."
    )


class BackfillPlan(Settings):
    """Which dates a range has."""

    first: date = Field(description="The first date.")
    last: date = Field(description="No date is later than this one.")
    every_days: int = Field(7, ge=1, description="Days from one date to the next.")
    registered: bool = Field(
        False, description="Whether the students are registered and go through the gate, one after the other."
    )
