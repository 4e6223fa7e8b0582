"""What a search over a method's settings varies, and in which ranges.

One rule for every objective, so that a new one is tuned without further code. Its options are the fields of its
``Options``; those that are single numbers are varied, texts and switches stay as they are:

- a float whose bounds both are declared and lie at most 1 apart (a share, a probability): evenly between the bounds;
- any other number above 0: by its logarithm, from a quarter to four times its present value, within its bounds;
- a number that is 0 and has no such bounds: not varied, since nothing tells its scale.

Beside them the weight of every objective, the step size and the L2 strength are varied, all by their logarithm.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from annotated_types import Ge, Gt, Interval, Le, Lt
from pydantic.fields import FieldInfo

from freqd.config import DistillConfig, ObjectiveConfig
from freqd.distill import check_objectives

LEARNING_RATE, WEIGHT_DECAY = "distill.learning_rate", "distill.weight_decay"
WEIGHTS = (1e-3, 10.0)
"""Least and largest weight of an objective, beside the student's own loss of weight ``distill.base_weight``."""
STEP_FACTOR = 10.0
"""The step size is varied up to this factor, either way."""
DECAYS = (1e-7, 1e-1)
NO_DECAY = 1e-6
"""L2 strengths below this stand for none: 0 has no logarithm."""
FACTOR = 4.0
EDGE = 0.05
"""Share of the range by which an open bound is kept away from."""
DIGITS = 4
"""Significant digits of a drawn value."""


@dataclass(frozen=True)
class Dimension:
    """A setting that is varied.

    Attributes:
        name: ``distill.learning_rate``, ``rce.weight``, ``rce.temperature``.
        own: its present value, as it is drawn; the first trial has it.
        low: smallest value drawn.
        high: largest.
        log: drawn by its logarithm.
        integer: drawn whole.
        zero_below: values drawn below this stand for 0.
    """

    name: str
    own: float
    low: float
    high: float
    log: bool = True
    integer: bool = False
    zero_below: float = 0.0

    def setting(self, drawn: float) -> float:
        """The setting's value: the present one exactly, any other rounded, 0 if that is what it stands for."""
        if drawn < self.zero_below:
            return 0.0
        if self.integer or drawn == self.own:
            return drawn
        return min(max(float(f"{drawn:.{DIGITS}g}"), self.low), self.high)


def search_space(config: DistillConfig) -> tuple[Dimension, ...]:
    """Everything that is varied; objectives of weight 0 are left out, as they are by the training.

    Raises:
        InputError: an objective or one of its options does not exist.
    """
    rate, decay = config.learning_rate, config.weight_decay
    none = min(NO_DECAY, decay or NO_DECAY)
    found = [
        Dimension(LEARNING_RATE, rate, rate / STEP_FACTOR, min(1.0, rate * STEP_FACTOR)),
        Dimension(WEIGHT_DECAY, decay or none / 10, min(DECAYS[0], none / 10), max(DECAYS[1], decay), zero_below=none),
    ]
    for cls, options, weight in check_objectives(config.objectives):
        if weight <= 0.0:
            continue
        low, high = min(WEIGHTS[0], weight), max(WEIGHTS[1], weight)
        found.append(Dimension(f"{cls.name}.weight", weight, low, high))
        for name, field in cls.Options.model_fields.items():
            dimension = _option(f"{cls.name}.{name}", getattr(options, name), field)
            if dimension is not None:
                found.append(dimension)
    return tuple(found)


def with_values(config: DistillConfig, space: tuple[Dimension, ...], drawn: Mapping[str, float]) -> DistillConfig:
    """The settings with the drawn values; where nothing differs from the present ones, they stay as they are."""
    values = {dimension.name: dimension.setting(drawn[dimension.name]) for dimension in space}
    changed = {d.name: values[d.name] for d in space if values[d.name] != d.setting(d.own)}
    objectives = tuple(_objective(term, changed) for term in config.objectives)
    top = {name.removeprefix("distill."): value for name, value in changed.items() if name.startswith("distill.")}
    return config.model_copy(update={**top, "objectives": objectives})


def _objective(term: ObjectiveConfig, changed: Mapping[str, float]) -> ObjectiveConfig:
    mine = {name.removeprefix(f"{term.name}."): v for name, v in changed.items() if name.startswith(f"{term.name}.")}
    weight = mine.pop("weight", term.weight)
    return term.model_copy(update={"weight": weight, "options": {**term.options, **mine}})


def _option(name: str, own: Any, field: FieldInfo) -> Dimension | None:
    if field.annotation not in (int, float):
        return None
    integer = field.annotation is int
    low, high, open_low, open_high = _bounds(field)
    if not integer and low is not None and high is not None and high - low <= 1.0:
        edge = EDGE * (high - low)
        low, high = low + edge * open_low, high - edge * open_high
        return Dimension(name, own, min(low, own), max(high, own), log=False)
    if own <= 0:
        return None
    least, most = own / FACTOR, own * FACTOR
    if low is not None:
        least = max(least, low + EDGE * (own - low) if open_low else low)
    if high is not None:
        most = min(most, high - EDGE * (high - own) if open_high else high)
    if integer:
        least, most = max(1, math.ceil(least)), math.floor(most)
    return Dimension(name, own, least, most, integer=integer) if least < most else None


def _bounds(field: FieldInfo) -> tuple[float | None, float | None, bool, bool]:
    """Least and largest value that a field declares, and whether these themselves are excluded."""
    low: Any = None
    high: Any = None
    open_low = open_high = False
    for rule in field.metadata:
        if isinstance(rule, Ge | Interval) and rule.ge is not None:
            low, open_low = rule.ge, False
        if isinstance(rule, Gt | Interval) and rule.gt is not None:
            low, open_low = rule.gt, True
        if isinstance(rule, Le | Interval) and rule.le is not None:
            high, open_high = rule.le, False
        if isinstance(rule, Lt | Interval) and rule.lt is not None:
            high, open_high = rule.lt, True
    return low, high, open_low, open_high
