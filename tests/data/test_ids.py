from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freqd.data.encode import Dictionary
from freqd.data.ids import IdRegistry, rows_of, sorted_ids
from freqd.errors import InputError


def test_new_ids_are_appended_sorted_and_old_ones_stay(tmp_path: Path) -> None:
    registry = IdRegistry(tmp_path / "ids")
    assert registry.order("user", pl.Series(["10", "9", "100"])).tolist() == [1, 0, 2]
    assert registry.order("user", pl.Series(["5", "10"])).tolist() == [3, 1]
    assert registry.order("user", pl.Series(["b", "a", "9"])).tolist() == [5, 4, 0]
    assert IdRegistry(tmp_path / "ids").known("user").to_list() == ["9", "10", "100", "5", "a", "b"]
    assert registry.known("item").to_list() == []
    assert sorted(path.name for path in (tmp_path / "ids").iterdir()) == [".lock", "users.parquet"]


def test_rows_of_ids_among_others() -> None:
    ids = pl.Series(["b", None, "a", "c"])
    assert rows_of(pl.Series(["a", "x", None, "b", "a"]), ids).tolist() == [2, -1, -1, 0, 2]
    assert rows_of(pl.Series([7, 5], dtype=pl.UInt8), pl.Series([5], dtype=pl.UInt8)).tolist() == [-1, 0]
    assert rows_of(pl.Series([], dtype=pl.String), ids).dtype == np.int64


def test_runs_side_by_side_lose_nothing(tmp_path: Path) -> None:
    def work(k: int) -> list[int]:
        return IdRegistry(tmp_path).order("item", pl.Series([str(n) for n in range(k, k + 20)])).tolist()

    with ThreadPoolExecutor(4) as pool:
        orders = list(pool.map(work, range(0, 40, 5)))
    known = IdRegistry(tmp_path).known("item").to_list()
    assert len(known) == len(set(known)) == 55
    for k, order in zip(range(0, 40, 5), orders, strict=True):
        assert [known[place] for place in order] == [str(n) for n in range(k, k + 20)]


def test_a_damaged_registry_is_an_error_with_a_remedy(tmp_path: Path) -> None:
    (tmp_path / "users.parquet").write_bytes(b"PAR1 nonsense")
    with pytest.raises(InputError, match="damaged"):
        IdRegistry(tmp_path).order("user", pl.Series(["1"]))


def test_order_of_ids() -> None:
    assert sorted_ids(pl.Series(["10", "9", "007", "7"])).to_list() == ["007", "7", "9", "10"]
    assert sorted_ids(pl.Series(["10", "9", "x"])).to_list() == ["10", "9", "x"]


@given(st.lists(st.one_of(st.none(), st.integers(-50, 50) | st.just(2**60)), max_size=40))
@settings(max_examples=60)
def test_integer_and_text_columns_get_the_same_codes(values: list[int | None]) -> None:
    numbers = pl.Series("id", values, dtype=pl.Int64)
    texts = numbers.cast(pl.String).cast(pl.Categorical(pl.Categories.random()))
    for column in (numbers, texts):
        known = Dictionary.of(column)
        names, codes = known.ids.to_list(), known.codes(column)
        assert names == [str(v) for v in sorted({v for v in values if v is not None})]
        assert [None if c < 0 else int(names[c]) for c in codes] == values
        assert codes.dtype == np.int32
        assert known.codes(column[::2]).tolist() == codes[::2].tolist()


def test_texts_are_cleaned() -> None:
    column = pl.Series([" a", "a ", "", "  ", None, "3.0", "3", "v1.0"]).cast(pl.Categorical(pl.Categories.random()))
    known = Dictionary.of(column)
    assert known.ids.to_list() == ["3", "a", "v1.0"]
    assert known.codes(column).tolist() == [1, 1, -1, -1, -1, 0, 0, 2]
