"""Two users are never taken for one, and nobody is lost, without a word."""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from freqd.config import ColumnConfig, DataConfig
from freqd.data import PARTS, Split
from freqd.data.encode import _CLEAN, Dictionary, clean_ids
from freqd.data.timestamps import NULL_WORDS
from freqd.errors import InputError

Run = Callable[..., Split]
SMALL = {"min_user_interactions": 1, "min_item_interactions": 1, "split": "random"}
INTEGERS = {
    pl.Int8: (-(2**7), 2**7 - 1), pl.Int16: (-(2**15), 2**15 - 1), pl.Int32: (-(2**31), 2**31 - 1),
    pl.Int64: (-(2**63), 2**63 - 1), pl.UInt8: (0, 2**8 - 1), pl.UInt16: (0, 2**16 - 1), pl.UInt32: (0, 2**32 - 1),
}  # fmt: skip


@given(data=st.data(), dtype=st.sampled_from(sorted(INTEGERS, key=str)))
def test_integers_of_every_type_keep_apart(data: st.DataObject, dtype: type[pl.DataType]) -> None:
    low, high = INTEGERS[dtype]
    values = data.draw(
        st.lists(st.one_of(st.none(), st.integers(low, high), st.sampled_from([low, high])), min_size=1, max_size=40)
    )
    column = pl.Series("id", values, dtype=dtype)
    known = Dictionary.of(column)
    assert [None if code < 0 else known.ids[int(code)] for code in known.codes(column)] == [
        None if v is None else str(v) for v in values
    ]


def table(path: Path, **columns: pl.Series) -> str:
    base = pl.DataFrame({"user": np.repeat(np.arange(40), 24), "item": np.tile(np.arange(24), 40)})
    base.with_columns(**columns).write_parquet(path)
    return str(path)


@pytest.mark.parametrize(("dtype", "first"), [(pl.Float64, 2**53), (pl.Float32, 2**24), (pl.Float64, -(2**60))])
def test_ids_that_floating_point_merged(run: Run, tmp_path: Path, dtype: type[pl.DataType], first: int) -> None:
    users = pl.Series(np.repeat(np.arange(40, dtype=np.float64) + first, 24)).cast(dtype)
    with pytest.raises(InputError, match=r"row 1 .* in column 'user', which is not exact") as caught:
        run(DataConfig(source=(table(tmp_path / "x.parquet", user=users),)))
    assert "integers or texts" in caught.value.remedy


def test_small_integers_below_zero_are_ids(run: Run, tmp_path: Path) -> None:
    users = pl.Series(np.repeat(np.arange(-20, 20), 24), dtype=pl.Int8)
    items = pl.Series(np.tile(np.arange(-128, -104), 40), dtype=pl.Int8)
    split = run(DataConfig(source=(table(tmp_path / "x.parquet", user=users, item=items),), **SMALL))
    assert (split.n_users, split.n_items) == (40, 24)
    assert sum(len(split.part(part)) for part in PARTS) == 960
    assert {"-20", "-1", "0"} <= set(split.user_ids)


def test_decimals_with_a_fraction_and_beyond_int64(run: Run, tmp_path: Path) -> None:
    users = pl.Series([Decimal(f"{n}.50") for n in range(40) for _ in range(24)], dtype=pl.Decimal(18, 2))
    with pytest.raises(InputError, match=r"row 1 .*'0.50' in column 'user', which is not an integer id"):
        run(DataConfig(source=(table(tmp_path / "x.parquet", user=users),)))
    large = pl.Series([Decimal(10**20 + n) for n in range(40) for _ in range(24)], dtype=pl.Decimal(30, 0))
    with pytest.raises(InputError, match=r"row 1 .* in column 'user'"):
        run(DataConfig(source=(table(tmp_path / "x.parquet", user=large),)))
    whole = pl.Series([Decimal(n) for n in range(40) for _ in range(24)], dtype=pl.Decimal(18, 2))
    assert run(DataConfig(source=(table(tmp_path / "x.parquet", user=whole),), **SMALL)).n_users == 40


@given(st.lists(st.text("09aZ_-. ", min_size=1, max_size=8) | st.sampled_from(NULL_WORDS), min_size=1))
def test_ids_that_are_not_cleaned_one_by_one_need_not_be(ids: list[str]) -> None:
    plain = pl.Series([text for text in ids if re.search(_CLEAN, text)], dtype=pl.String)
    assert clean_ids(plain).equals(plain)


def test_numbers_with_a_point_are_versions_or_floats() -> None:
    assert clean_ids(pl.Series(["12.0", " 7.0", "NULL", "nan"])).to_list() == ["12", "7", None, None]
    assert clean_ids(pl.Series(["1.0", "1.5", "2"])).to_list() == ["1.0", "1.5", "2"]
    assert clean_ids(pl.Series(["1.0", "1.0.2"])).to_list() == ["1.0", "1.0.2"]


def csv(path: Path, users: list[str], items: list[str]) -> str:
    rows = [(user, item) for user in users for item in items]
    pl.DataFrame(rows, schema=["user_id", "item_id"], orient="row").write_csv(path)
    return str(path)


def test_texts_that_differ_by_a_point_are_told(run: Run, tmp_path: Path) -> None:
    items = [str(n) for n in range(12)] + [f"{n}.0" for n in range(12)]
    split = run(DataConfig(source=(csv(tmp_path / "x.csv", [f"u{n}" for n in range(40)], items),), **SMALL))
    assert any("12 item ids are written in two ways, for example '0' and '0.0'" in text for text in split.info.warnings)


def test_words_for_nothing_are_nobody(run: Run, tmp_path: Path) -> None:
    users = [f"u{n}" for n in range(40)] + ["NULL", "nan", "None", "N/A"]
    split = run(DataConfig(source=(csv(tmp_path / "x.csv", users, [f"i{n}" for n in range(24)]),), **SMALL))
    assert split.n_users == 40
    assert split.info.dropped[0].rows == 4 * 24
    assert "a word such as NULL" in split.info.dropped[0].reason


def test_ids_that_are_called_ids_are_taken_and_shown(run: Run, tmp_path: Path) -> None:
    users = pl.Series(np.repeat([f"u{n}" for n in range(40)], 24))
    items = pl.Series(np.tile([f"i{n}" for n in range(24)], 40))
    words = {"user": pl.Series(["somebody"] * 960), "item": pl.Series(["something"] * 960)}
    split = run(DataConfig(source=(table(tmp_path / "x.parquet", **words, user_id=users, item_id=items),), **SMALL))
    assert (split.info.columns["user"], split.info.columns["item"]) == ("user_id", "item_id")
    assert (split.n_users, split.n_items) == (40, 24)


def test_columns_by_their_places(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    rows = "".join(f"i{item},u{user},5\n" for user in range(40) for item in range(24))
    path.write_text(rows)
    split = run(DataConfig(source=(str(path),), columns=ColumnConfig(user=2, item=1, weight=3), **SMALL))
    assert (split.n_users, split.n_items, split.info.rows_read) == (40, 24, 960)
    path.write_text(rows.replace("i", "").replace("u", ""))
    with pytest.raises(InputError, match="no column looks like the user") as caught:
        run(DataConfig(source=(str(path),)))
    assert "data.columns.user=1 data.columns.item=2" in caught.value.remedy
