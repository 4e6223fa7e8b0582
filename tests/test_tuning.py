"""What is varied, in which ranges, and what becomes of drawn values."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from freqd.config import DistillConfig, ObjectiveConfig, Settings
from freqd.distill import REGISTRY, check_objectives
from freqd.plugins import Entry
from freqd.tuning import Dimension, search_space, with_values

EVERYTHING = DistillConfig(objectives=tuple(ObjectiveConfig(name=name) for name in sorted(REGISTRY)))
SPACE = search_space(EVERYTHING)


class Options(Settings):
    share: float = Field(0.5, ge=0.0, le=1.0)
    kept: float = Field(1.0, gt=0.0, le=1.0)
    factor: float = Field(2.0, gt=0.0)
    capped: float = Field(3.0, ge=1.0, lt=5.0)
    count: int = Field(10, ge=4, le=1000)
    least: int = Field(1, ge=1)
    shift: float = 0.0
    switch: bool = True
    word: str = "a"


@pytest.fixture
def invented(monkeypatch: pytest.MonkeyPatch) -> dict[str, Dimension]:
    """The space of an objective nobody has told the search of."""
    objective = type("Invented", (REGISTRY["rce"],), {"name": "invented", "Options": Options})
    monkeypatch.setitem(REGISTRY.entries, "invented", Entry(objective, objective.__module__))
    space = search_space(DistillConfig(objectives=(ObjectiveConfig(name="invented", options={"factor": 8.0}),)))
    return {dimension.name.removeprefix("invented."): dimension for dimension in space}


def test_ranges_follow_from_the_declared_bounds(invented: dict[str, Dimension]) -> None:
    ranges = {name: (d.low, d.high, d.log, d.integer) for name, d in invented.items() if "." not in name}
    assert ranges == {
        "weight": (1e-3, 10.0, True, False),
        "share": (0.0, 1.0, False, False),
        "kept": (0.05, 1.0, False, False),
        "factor": (2.0, 32.0, True, False),  # around the present value, not the default
        "capped": (1.0, pytest.approx(4.9), True, False),
        "count": (4, 40, True, True),
        "least": (1, 4, True, True),
    }


def test_step_size_and_l2_are_always_varied(invented: dict[str, Dimension]) -> None:
    rate, decay = invented["distill.learning_rate"], invented["distill.weight_decay"]
    assert (rate.own, rate.low, rate.high, rate.log) == (1e-2, pytest.approx(1e-3), pytest.approx(0.1), True)
    assert decay.setting(decay.own) == 0.0
    assert decay.setting(9e-7) == 0.0
    assert decay.setting(1.23456e-5) == 1.235e-5


def test_an_objective_of_weight_0_is_left_out() -> None:
    terms = (ObjectiveConfig(name="rce"), ObjectiveConfig(name="freqd", weight=0.0))
    names = [dimension.name for dimension in search_space(DistillConfig(objectives=terms))]
    assert "rce.weight" in names
    assert not [name for name in names if name.startswith("freqd.")]


@pytest.mark.parametrize("decay", [0.0, 1e-9, 1e-4, 0.5])
def test_the_present_values_give_the_present_settings(decay: float) -> None:
    config = EVERYTHING.model_copy(update={"weight_decay": decay, "learning_rate": 0.0123456789})
    space = search_space(config)
    assert with_values(config, space, {dimension.name: dimension.own for dimension in space}) == config


def drawn(dimension: Dimension) -> st.SearchStrategy[Any]:
    if dimension.integer:
        return st.integers(int(dimension.low), int(dimension.high))
    return st.floats(dimension.low, dimension.high)


@given(st.fixed_dictionaries({dimension.name: drawn(dimension) for dimension in SPACE}))
def test_whatever_is_drawn_is_allowed_and_arrives(values: dict[str, float]) -> None:
    found = with_values(EVERYTHING, SPACE, values)
    assert DistillConfig.model_validate(found.model_dump()) == found
    checked = {cls.name: (options, weight) for cls, options, weight in check_objectives(found.objectives)}
    for dimension in SPACE:
        owner, name = dimension.name.split(".")
        assert dimension.low <= dimension.own <= dimension.high
        if owner == "distill":
            arrived = getattr(found, name)
        else:
            options, weight = checked[owner]
            arrived = weight if name == "weight" else getattr(options, name)
        assert arrived == pytest.approx(values[dimension.name], rel=1e-3, abs=dimension.zero_below + 1e-12)
