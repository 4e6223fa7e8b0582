from __future__ import annotations

import polars as pl
import pytest

from freqd.data.times import time_form
from freqd.errors import InputError

NOON = 1_704_196_800  # 2024-01-02 12:00:00 UTC
DAY = NOON - 43_200


def read(values: list[object]) -> tuple[list[int | None], bool]:
    column = pl.Series("t", values)
    form = time_form("t", column.drop_nulls(), "x.csv")
    return column.to_frame().select(form.seconds)["t"].to_list(), form.ordinal


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (NOON, NOON),
        (NOON * 1000 + 999, NOON),
        (NOON * 10**6, NOON),
        (NOON * 10**9, NOON),
        (float(NOON) + 0.5, NOON),
        (20240102, DAY),
        (str(NOON), NOON),
        (f"{NOON}.0", NOON),
        (str(NOON * 1000), NOON),
        ("20240102", DAY),
        ("2024-01-02", DAY),
        ("2024/01/02", DAY),
        ("2024-01-02 12:00", NOON),
        (" 2024-01-02 12:00:00 ", NOON),
        ("2024-01-02 12:00:00.25", NOON),
        ("2024-01-02T12:00:00Z", NOON),
        ("2024-01-02T12:00:00.123456Z", NOON),
        ("2024-01-02T13:30:00+01:30", NOON),
        ("2024-01-02 07:00:00-05", NOON),
        ("2024-01-02 12:00:00 UTC", NOON),
        ("31.12.2023 12:00", NOON - 2 * 86_400),
        ("12/31/2023", DAY - 2 * 86_400),
        ("31/12/2023 12:00:00", NOON - 2 * 86_400),
    ],
)
def test_forms(value: object, seconds: int) -> None:
    assert read([value, value]) == ([seconds, seconds], False)


def test_missing_values_and_mixed_forms_of_one_family() -> None:
    assert read(["NA", "2024-01-02", "", None, "2024-01-02 12:00:00", "soon"])[0] == [None, DAY, None, None, NOON, None]
    assert read([float("nan"), float(NOON), float("inf")])[0] == [None, NOON, None]


def test_negative_and_small_numbers() -> None:
    assert read([1, 53, 7]) == ([1, 53, 7], True)
    assert read(["-3", "5"]) == ([-3, 5], True)


@pytest.mark.parametrize("values", [[True, False], [[1], [2]]])
def test_types_that_are_no_time(values: list[object]) -> None:
    with pytest.raises(InputError, match="cannot be the time"):
        read(values)
