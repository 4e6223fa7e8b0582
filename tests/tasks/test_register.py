"""What the gate's table shows."""

from __future__ import annotations

import pytest

from freqd.gate import Check
from tasks.register import _shown


@pytest.mark.parametrize(("value", "shown"), [(0.005658999, 0.005659), (883_219.0, 883_219.0), (-0.0464412, -0.04644)])
def test_a_check_is_shown_with_four_digits_and_its_limit_as_text(value: float, shown: float) -> None:
    row = _shown(Check(name="gap closed", value=value, limit=">= 0.9", passed=False))
    assert row == {"name": "gap closed", "value": shown, "limit": r"\>= 0.9", "passed": False}


def test_what_is_not_known_stays_empty() -> None:
    assert _shown(Check(name="gap closed", value=None, limit="none", passed=True))["value"] is None
