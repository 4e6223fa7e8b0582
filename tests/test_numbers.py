"""Numbers for people: few digits, separators, units, and never an exponent where a person would write none."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freqd import numbers as fmt


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "–"), (0, "0"), (7.0, "7"), (-3.0, "−3"), (1_234_567, "1,234,567"), (39_812.4, "39,812"), (1234.56, "1,235"),
        (12.3456, "12.35"), (0.1, "0.1"), (-0.0036331, "−0.003633"), (0.00001234, "0.00001234"), (999.96, "1,000"),
    ],
)  # fmt: skip
def test_any_number(value: float | None, shown: str) -> None:
    assert fmt.plain(value) == shown


@given(st.floats(min_value=1e-9, max_value=1e14) | st.floats(min_value=-1e14, max_value=-1e-9))
def test_a_number_is_told_to_four_digits_without_an_exponent(value: float) -> None:
    shown = fmt.plain(value)
    assert "e" not in shown
    assert math.isclose(float(shown.replace("−", "-").replace(",", "")), value, rel_tol=5.1e-4)


@pytest.mark.parametrize(
    ("text", "shown"), [(">= 0.3785123", "≥ 0.3785"), ("<= 1000000", "≤ 1,000,000"), ("> 0.0", "> 0"), ("none", "none")]
)
def test_limits(text: str, shown: str) -> None:
    assert fmt.limit(text) == shown
