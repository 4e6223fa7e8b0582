from __future__ import annotations

import pytest
from pydantic import ValidationError

from freqd.config import ColumnConfig
from freqd.data.columns import guess, resolve
from freqd.errors import InputError


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["userId", "movieId", "rating", "timestamp"], ("userId", "movieId", "timestamp", "rating")),
        (["timestamp", "visitorid", "event", "itemid"], ("visitorid", "itemid", "timestamp", None)),
        (
            ["InvoiceNo", "StockCode", "Quantity", "InvoiceDate", "CustomerID"],
            ("CustomerID", "StockCode", "InvoiceDate", "Quantity"),
        ),
        (["t_dat", "customer_id", "article_id", "price"], ("customer_id", "article_id", "t_dat", None)),
        (
            ["reviewer_id", "parent_asin", "overall", "unixReviewTime"],
            ("reviewer_id", "parent_asin", "unixReviewTime", "overall"),
        ),
        (["session_id", "item_id"], ("session_id", "item_id", None, None)),
        (["session_id", "user_id", "item_id"], ("user_id", "item_id", None, None)),
        (
            ["household_id", "store_id", "basket_id", "product_id", "quantity", "week", "transaction_timestamp"],
            ("household_id", "product_id", "transaction_timestamp", "quantity"),
        ),
        (["Date", "user", "item", "Timestamp"], ("user", "item", "Timestamp", None)),
        (["user", "user_id", "item", "item_id"], ("user_id", "item_id", None, None)),
        (["customer", "order_id", "product"], ("customer", "product", None, None)),
        (
            ["customer_name", "customer_id", "product", "product_id", "sold_at"],
            ("customer_id", "product_id", "sold_at", None),
        ),
    ],
)
def test_names_of_real_data_sets(names: list[str], expected: tuple[str | None, ...]) -> None:
    columns = resolve(ColumnConfig(), names, "x.csv")
    assert tuple(columns.as_dict().values()) == expected
    assert len(columns.guessed) == sum(name is not None for name in expected)


def test_options_win_and_are_no_guess() -> None:
    names = ["user_id", "buyer", "item_id", "rating", "ts"]
    columns = resolve(ColumnConfig(user="BUYER", time="none"), names, "x.csv")
    assert columns.user == "buyer"
    assert columns.time is None
    assert columns.guessed == ("item", "weight")


def test_nothing_fits() -> None:
    assert guess("user", ["a", "b"]) is None


@pytest.mark.parametrize(
    "name", ["bought_at", "purchased", "orderedAt", "created", "viewed_at", "ts", "event_ts", "click time", "played_on"]
)
def test_names_of_times(name: str) -> None:
    assert guess("time", ["user_id", "item_id", name]) == name


@pytest.mark.parametrize(
    "name", ["rating", "ratings", "views", "plays", "birth_date", "release_date", "updated", "orders", "reviews"]
)
def test_names_that_are_no_time_of_a_deed(name: str) -> None:
    assert guess("time", ["user_id", "item_id", name]) is None


def test_places_in_files_without_a_header() -> None:
    columns = resolve(ColumnConfig(user=2, item=1), ["1", "2", "3"], "x.csv")
    assert (columns.user, columns.item, columns.time, columns.weight) == ("2", "1", None, None)
    with pytest.raises(InputError, match=r"data.columns.time = 4, but there are only 3 columns"):
        resolve(ColumnConfig(user=2, item=1, time=4), ["1", "2", "3"], "x.csv")


@pytest.mark.parametrize("columns", [{"user": 1}, {"user": 1, "item": "product"}, {"user": 1, "item": 2, "time": "ts"}])
def test_names_and_places_do_not_mix(columns: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match="by their place"):
        ColumnConfig.model_validate(columns)


def test_a_name_that_two_columns_have() -> None:
    names = ["user", "item", "item_duplicated_0"]
    with pytest.raises(InputError, match="more than one column is called 'item', which is to be the item"):
        resolve(ColumnConfig(), names, "x.csv")
