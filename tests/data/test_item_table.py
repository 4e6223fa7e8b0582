"""Titles of items: read like other inputs, matched by the rule of the interactions' ids, refused with a place and a remedy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from freqd.config import DataConfig
from freqd.data.item_table import ItemTable, align, items_digest, read_items
from freqd.errors import InputError
from freqd.storage.store import Store


def config(path: Path, **others: Any) -> DataConfig:
    return DataConfig.model_validate({"items": str(path), **others})


def table(tmp_path: Path, text: str, item_ids: list[str], **others: Any) -> ItemTable:
    (tmp_path / "items.csv").write_text(text)
    return align(read_items(config(tmp_path / "items.csv", **others)), pl.Series(item_ids))


def test_titles_come_in_the_order_of_the_datas_items(tmp_path: Path) -> None:
    text = 'sku,Product Name,department,price\n7,"Bread, dark",Bakery,1\n9,  Milk \t fresh ,,2\n8,,Dairy,3\n5,Old,Attic,1\n'
    found = table(tmp_path, text, ["9", "8", "7", "6"])
    assert found.titles.to_list() == ["Milk fresh", None, "Bread, dark", None]
    assert found.categories.to_list() == [None, "Dairy", "Bakery", None]
    assert (found.untitled, found.unused) == (2, 1)


def test_a_parquet_file_and_ids_that_passed_through_floating_point(tmp_path: Path) -> None:
    frame = pl.DataFrame({"item_id": [12.0, 13.0], "title": ["a", "b"]})
    frame.write_parquet(tmp_path / "items.parquet")
    rows = read_items(config(tmp_path / "items.parquet"))
    assert align(rows, pl.Series(["13", "12"])).titles.to_list() == ["b", "a"]
    assert align(rows, pl.Series(["12.0", "1.10"])).titles.to_list() == ["a", None], "there they are versions"


def test_several_files_are_one_table_and_equal_titles_are_one(tmp_path: Path) -> None:
    (tmp_path / "items-1.csv").write_text("item,title\n1,a\n2,b\n")
    (tmp_path / "items-2.csv").write_text("title,item,genre\nb,2,x\nc,3,y\n")
    found = align(read_items(config(tmp_path / "items-*.csv")), pl.Series(["1", "2", "3"]))
    assert found.titles.to_list() == ["a", "b", "c"]
    assert found.categories.to_list() == [None, "x", "y"]


def test_the_datas_own_name_of_the_column_counts_first(tmp_path: Path) -> None:
    text = "item,code,title\n1,x,a\n"
    assert table(tmp_path, text, ["x"], columns={"item": "code"}).titles.to_list() == ["a"]
    assert table(tmp_path, text, ["1"]).titles.to_list() == ["a"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("sku,price\n1,2\n", "items.csv: no column looks like the title; its columns are 'sku', 'price'"),
        ("number,title\n1,2\n", "items.csv: no column looks like the id of the item"),
        ("item,title\n1,a\n ,b\n", "items.csv: row 2 (the header not counted) has no id in column 'item'"),
        ("item,title\n1,a\n2,b\n1,c\n", "items.csv: row 3 (the header not counted) gives item '1' the title 'c', row 1 the title 'a'"),
        ("item,title\n", "has a header but no rows"),
        ("item,title\n1,a,b,c\n", "more fields"),
        ("item,title\n8,a\n", "none of the 2 items of the data has a title there (its ids are such as '8', those of the data 'x', 'y')"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_with_its_place_and_a_remedy(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(InputError) as caught:
        table(tmp_path, text, ["x", "y"])
    assert said in caught.value.problem
    assert caught.value.remedy


def test_a_missing_file_and_a_column_of_lists(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no such file"):
        read_items(config(tmp_path / "items.csv"))
    pl.DataFrame({"item": [1], "title": [["a"]]}).write_parquet(tmp_path / "lists.parquet")
    with pytest.raises(InputError, match="column 'title' cannot be the title: its type is List"):
        read_items(config(tmp_path / "lists.parquet"))


def test_it_survives_the_store_and_its_digest_is_that_of_the_content(tmp_path: Path) -> None:
    found, store = table(tmp_path, "item,title\n1,a\n2,b\n", ["2", "3"]), Store(tmp_path / "store")
    again = store.open(store.save(found), ItemTable)
    assert (again.titles.to_list(), again.categories.to_list(), again.unused) == (["b", None], [None, None], 1)
    before = items_digest(config(tmp_path / "items.csv"))
    (tmp_path / "items.csv").rename(tmp_path / "renamed.csv")
    assert items_digest(config(tmp_path / "renamed.csv")) == before
    (tmp_path / "renamed.csv").write_text("item,title\n1,a\n2,c\n")
    assert items_digest(config(tmp_path / "renamed.csv")) != before
