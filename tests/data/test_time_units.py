from __future__ import annotations

from datetime import date, datetime

import polars as pl
import pytest

from freqd.data.time_units import Span, numbers_to_seconds
from freqd.errors import InputError

NOON = 1_704_196_800  # 2024-01-02 12:00:00 UTC
DAY = NOON - 43_200
SPAN = Span.of(date(1990, 1, 1), None, now=datetime(2026, 1, 1))


def labelled(values: list[object]) -> tuple[list[int | None], str]:
    seconds, label, _ = numbers_to_seconds(pl.Series("t", values), SPAN, "t", "x.csv")
    return seconds.to_list(), label


def test_units_are_told_in_words() -> None:
    assert labelled([NOON, NOON + 1]) == ([NOON, NOON + 1], "epoch seconds")
    assert labelled([NOON * 1000])[1] == "epoch milliseconds"
    assert labelled([(NOON + 62_135_596_800) * 10**7])[1] == ".NET ticks"


def test_a_zero_for_a_missing_time_changes_no_unit() -> None:
    assert labelled([0, NOON, NOON, NOON]) == ([0, NOON, NOON, NOON], "epoch seconds")
    assert labelled([-1, *[NOON * 1000] * 4])[0][1:] == [NOON] * 4
    assert labelled([0, *[20240102] * 4])[0] == [None, *[DAY] * 4]


@pytest.mark.parametrize("other", [NOON * 1000, NOON * 10**6, 20240102])
@pytest.mark.parametrize("times", [5, 12, 40])
def test_two_units_in_one_column_are_refused(other: int, times: int) -> None:
    with pytest.raises(InputError, match=rf"mixes epoch .* {other} in row 41|mixes .* in row 1\b"):
        labelled([*[NOON] * 40, *[other] * times])


def test_numbers_that_are_no_times() -> None:
    with pytest.raises(InputError, match=r"lie between 0 and 0.75"):
        labelled([0.0, 0.25, 0.75])
    with pytest.raises(InputError, match=r"no times in any unit .* from 500000000 to 700000000"):
        labelled([500_000_000, 600_000_000, 700_000_000])


def test_nanoseconds_keep_their_second() -> None:
    assert labelled([NOON * 10**9 + 999_999_999])[0] == [NOON]
