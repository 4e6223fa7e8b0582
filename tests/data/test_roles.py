from __future__ import annotations

import pytest

from freqd.config import ColumnConfig
from freqd.data.roles import guess, resolve


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
