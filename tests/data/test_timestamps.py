from __future__ import annotations

from datetime import date, datetime

import polars as pl
import pytest

from freqd.data.time_units import Span, numbers_to_seconds
from freqd.data.timestamps import looks_like_times, time_form
from freqd.errors import InputError

NOON = 1_704_196_800  # 2024-01-02 12:00:00 UTC
DAY = NOON - 43_200
SPAN = Span.of(date(1990, 1, 1), None, now=datetime(2026, 1, 1))


def read(values: list[object]) -> tuple[list[int | None], bool]:
    column = pl.Series("t", values)
    form = time_form("t", column.drop_nulls(), "x.csv")
    found = column.to_frame().select(form.value)["t"]
    if not form.numbers:
        return found.to_list(), False
    seconds, _, ordinal = numbers_to_seconds(found, SPAN, "t", "x.csv")
    return seconds.to_list(), ordinal


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
        ("31-12-2023 12:00", NOON - 2 * 86_400),
        ("31.12.23", DAY - 2 * 86_400),
        ("12/31/23 12:00", NOON - 2 * 86_400),
        (20240102120000, NOON),
        ("20240102120000", NOON),
        (202401021200, NOON),
        ((NOON + 62_135_596_800) * 10**7, NOON),
        ((NOON + 11_644_473_600) * 10**7, NOON),
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


def test_nanoseconds_keep_their_second() -> None:
    assert read([str(NOON * 10**9 + 999_999_999)])[0] == [NOON]


@pytest.mark.parametrize("text", ["03/04/24", "01.02.03/", "04-03-05"])
def test_short_years_that_may_be_read_in_two_ways(text: str) -> None:
    with pytest.raises(InputError, match=r"cannot be told apart|does not hold times"):
        read([text, text])


def test_a_year_of_two_digits_is_no_year_of_the_first_century() -> None:
    assert read(["13.09.20", "14.09.20"])[0] == [1_599_955_200, 1_600_041_600]
    with pytest.raises(InputError):
        read(["13.9.200"])


def test_a_column_that_looks_like_times() -> None:
    assert looks_like_times(pl.Series(["2024-01-02", "2024-01-03"]), "anything", SPAN)
    assert looks_like_times(pl.Series([date(2024, 1, 2)]), "x", SPAN)
    assert looks_like_times(pl.Series([NOON, NOON + 5]), "sold_time", SPAN)
    assert not looks_like_times(pl.Series([NOON, NOON + 5]), "account", SPAN), "ten digits may be an id"
    assert not looks_like_times(pl.Series(["red", "blue"]), "date", SPAN)
