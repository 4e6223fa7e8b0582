"""What is asked of a job of many trainings, beside the settings that all of them share."""

from __future__ import annotations

from datetime import date

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
