"""Everything a user can get wrong stops early, says what and where, and leaves nothing behind."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from datetime import date
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from freqd.config import ColumnConfig, DataConfig
from freqd.data import IdRegistry, Places, Split, check
from freqd.errors import InputError

Run = Callable[..., Split]


def block(users: int = 12, items: int = 10) -> pl.DataFrame:
    """Every user with every item, one interaction a minute, from 2024 on."""
    frame = pl.DataFrame({"user": range(users)}).join(pl.DataFrame({"item": range(items)}), how="cross")
    return frame.sample(fraction=1.0, shuffle=True, seed=1).with_columns(
        timestamp=pl.int_range(pl.len(), dtype=pl.Int64) * 60 + 1_704_067_200, rating=pl.lit(4)
    )


def write(path: Path, frame: pl.DataFrame) -> str:
    frame.write_parquet(path) if path.suffix == ".parquet" else frame.write_csv(path)
    return str(path)


def fails(run: Run, tmp_path: Path, match: str, remedy: str = "", **settings: object) -> InputError:
    if isinstance(settings.get("source"), str):
        settings["source"] = (settings["source"],)
    registry = IdRegistry(tmp_path / "ids")
    with pytest.raises(InputError, match=match) as caught:
        run(DataConfig(**settings), registry=registry)  # type: ignore[arg-type]
    assert caught.value.remedy
    assert remedy in caught.value.remedy
    assert not registry.path.exists(), "a failed run numbers no ids"
    return caught.value


def test_missing_file(run: Run, tmp_path: Path) -> None:
    write(tmp_path / "sales.csv", block())
    fails(run, tmp_path, "sale.csv: there is no such file", "sales.csv", source=str(tmp_path / "sale.csv"))


def test_misspelt_data_set(run: Run, tmp_path: Path) -> None:
    fails(run, tmp_path, "did you mean 'gowalla'", "grocery", source="gowala")


def test_a_pattern_without_match(run: Run, tmp_path: Path) -> None:
    fails(run, tmp_path, "no file matches", source=str(tmp_path / "*.parquet"))


@pytest.mark.parametrize("content", [b"", b"user,item,timestamp\n"])
def test_empty_file(run: Run, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes(content)
    fails(run, tmp_path, "x.csv (is empty|has a header but no rows)", source=str(path))


def test_empty_parquet_and_empty_gzip(run: Run, tmp_path: Path) -> None:
    fails(run, tmp_path, "no rows", source=write(tmp_path / "x.parquet", block().clear()))
    with gzip.open(tmp_path / "x.csv.gz", "wb"):
        pass
    fails(run, tmp_path, "empty once unpacked", source=str(tmp_path / "x.csv.gz"))


@pytest.mark.parametrize("place", [12, 400, -12])
def test_a_damaged_gzip_is_refused_by_its_name(run: Run, tmp_path: Path, place: int) -> None:
    rng = np.random.default_rng(0)
    lines = "".join(f"u{u},i{i},{1_600_000_000 + i}\n" for u, i in rng.integers(0, 10**6, (20_000, 2)))
    packed = bytearray(gzip.compress(f"user,item,timestamp\n{lines}".encode()))
    packed[place : place + 8] = bytes(byte ^ 0x5A for byte in packed[place : place + 8])
    (tmp_path / "x.csv.gz").write_bytes(packed)
    fails(run, tmp_path, r"x\.csv\.gz (is a damaged gzip|cannot be read)", source=str(tmp_path / "x.csv.gz"))


def test_wrong_columns_are_listed_with_close_ones(run: Run, tmp_path: Path) -> None:
    source = write(tmp_path / "x.csv", block().rename({"user": "who", "item": "what"}))
    error = fails(run, tmp_path, "no column looks like the user", "data.columns.user", source=source)
    assert "'who', 'what', 'timestamp', 'rating'" in error.problem
    error = fails(run, tmp_path, "no column 'whoo'", source=source, columns=ColumnConfig(user="whoo", item="what"))
    assert "close to it: 'who'" in error.problem


def test_a_missing_header(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    block().write_csv(path, include_header=False)
    fails(run, tmp_path, "no column looks like the user", "add a header line", source=str(path))


def test_one_column_for_two_roles(run: Run, tmp_path: Path) -> None:
    columns = ColumnConfig(user="user", item="user")
    fails(run, tmp_path, "several roles: user, item", source=write(tmp_path / "x.csv", block()), columns=columns)


@pytest.mark.parametrize("column", ["timestamp", "rating"])
@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_text_in_a_number_column(run: Run, tmp_path: Path, column: str, suffix: str) -> None:
    texts = block().with_columns(pl.col(column).cast(pl.String))
    texts = texts.with_columns(
        pl.when(pl.int_range(pl.len()) == 16).then(pl.lit("oops")).otherwise(pl.col(column)).alias(column)
    )
    source = write(tmp_path / f"x{suffix}", texts)
    fails(run, tmp_path, rf"x\{suffix}: row 17 .* has 'oops' in column '{column}'", source=source)


def test_times_that_are_none(run: Run, tmp_path: Path) -> None:
    source = write(tmp_path / "x.csv", block().with_columns(timestamp=pl.lit("soon")))
    fails(run, tmp_path, "'timestamp' does not hold times .*'soon'", "data.columns.time=none", source=source)
    source = write(tmp_path / "y.csv", block().with_columns(timestamp=pl.lit("")))
    fails(run, tmp_path, "holds no time at all", "none", source=source)


def test_many_unreadable_times_name_the_first(run: Run, tmp_path: Path) -> None:
    times = pl.when(pl.int_range(pl.len()) >= 100).then(pl.lit("later")).otherwise(pl.lit("2024-01-01 10:00:00"))
    source = write(tmp_path / "x.csv", block().with_columns(timestamp=times))
    fails(run, tmp_path, "20 of 120 times .* first is 'later' in row 101", source=source)


def test_ambiguous_days(run: Run, tmp_path: Path) -> None:
    source = write(tmp_path / "x.csv", block().with_columns(timestamp=pl.lit("03/04/2024")))
    fails(run, tmp_path, "cannot be told apart", "YYYY-MM-DD", source=source)


def test_fractional_ids(run: Run, tmp_path: Path) -> None:
    users = pl.when(pl.int_range(pl.len()) == 3).then(1.5).otherwise(pl.col("user").cast(pl.Float64))
    source = write(tmp_path / "x.parquet", block().with_columns(user=users))
    fails(run, tmp_path, "row 4 .*'1.5' in column 'user'.*integer id", source=source)


def test_ids_of_a_wrong_type(run: Run, tmp_path: Path) -> None:
    source = write(tmp_path / "x.parquet", block().with_columns(item=pl.lit(date(2024, 1, 1))))
    fails(run, tmp_path, "'item' cannot be the item: its type is Date", source=source)


@pytest.mark.parametrize("role", ["user", "item"])
def test_one_user_or_one_item(run: Run, tmp_path: Path, role: str) -> None:
    source = write(tmp_path / "x.csv", block().with_columns(pl.lit(1).alias(role)))
    fails(run, tmp_path, f"only one {role}", f"data.columns.{role}", source=source)


def test_all_duplicates(run: Run, tmp_path: Path) -> None:
    source = write(tmp_path / "x.csv", block().with_columns(user=pl.lit(1), item=pl.lit(2)))
    fails(run, tmp_path, "all 120 rows are the same", source=source)


def test_everything_falls_to_the_core(run: Run, tmp_path: Path) -> None:
    error = fails(
        run,
        tmp_path,
        "nothing is left: no group of users has 50 items",
        "data.min_user_interactions",
        source=write(tmp_path / "x.csv", block()),
        min_user_interactions=50,
    )
    assert "busiest user has 10 items, the most popular item 12 users" in error.problem


def test_as_of_before_everything(run: Run, tmp_path: Path) -> None:
    source = write(tmp_path / "x.csv", block())
    fails(run, tmp_path, "120 x after 2000-01-01", "later data.as_of", source=source, as_of=date(2000, 1, 1))


def test_min_weight_above_everything(run: Run, tmp_path: Path) -> None:
    fails(run, tmp_path, "below 5", "lower data.min_weight", source=write(tmp_path / "x.csv", block()), min_weight=5.0)


def test_options_that_need_a_column(run: Run, tmp_path: Path) -> None:
    source = write(tmp_path / "x.csv", block().select("user", "item"))
    fails(run, tmp_path, "no time column", source=source, as_of=date(2024, 1, 1))
    fails(run, tmp_path, "no time column", "data.split=random", source=source, split="time")
    fails(run, tmp_path, "no weight column", source=source, min_weight=3.0)
    fails(run, tmp_path, "has no splits", source=source, split="given")


def test_one_time_leaves_no_test_split(run: Run, tmp_path: Path) -> None:
    source = write(tmp_path / "x.csv", block().with_columns(timestamp=pl.lit("2024-01-01")))
    fails(run, tmp_path, "same time .* leaves no test split", "data.split=random", source=source)


def test_newcomers_only_leave_no_test_split(run: Run, tmp_path: Path) -> None:
    late = block().with_columns(user=pl.when(pl.int_range(pl.len()) > 107).then(pl.col("user") + 100).otherwise("user"))
    source = write(tmp_path / "x.csv", late)
    settings = {"min_user_interactions": 1, "min_item_interactions": 1}
    fails(run, tmp_path, r"leaves no test split .*not in train", source=source, **settings)


def test_an_empty_test_part(run: Run, tmp_path: Path) -> None:
    train = write(tmp_path / "train.csv", block())
    fails(run, tmp_path, "leaves no test split .*120 x test pair", train=train, test=write(tmp_path / "t.csv", block()))


@pytest.mark.parametrize("cut", [1000, -200])
def test_truncated_parquet(run: Run, tmp_path: Path, cut: int) -> None:
    path = tmp_path / "x.parquet"
    block(100, 50).write_parquet(path)
    path.write_bytes(path.read_bytes()[:cut])
    fails(run, tmp_path, "x.parquet is a damaged or truncated Parquet file", source=str(path))


def test_parquet_damaged_inside_names_the_file(run: Run, tmp_path: Path) -> None:
    sources = [write(tmp_path / f"{name}.parquet", block(100, 50)) for name in "abc"]
    path = tmp_path / "b.parquet"
    content = bytearray(path.read_bytes())
    content[8:600] = bytes(592)
    path.write_bytes(content)
    fails(run, tmp_path, "b.parquet is a damaged", source=tuple(sources))


def test_a_folder_instead_of_a_file(run: Run, tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", block())
    fails(run, tmp_path, r"is a folder, not a file \(it holds a.parquet\)", "*.parquet", source=str(tmp_path))


def test_mixed_formats(run: Run, tmp_path: Path) -> None:
    sources = (write(tmp_path / "a.parquet", block()), write(tmp_path / "b.csv", block()))
    fails(run, tmp_path, "mixed file formats: .*a.parquet is Parquet", source=sources)


def test_neither_text_nor_parquet(run: Run, tmp_path: Path) -> None:
    (tmp_path / "x.xlsx").write_bytes(b"PK\3\4" + bytes(100))
    fails(run, tmp_path, "neither text nor Parquet", source=str(tmp_path / "x.xlsx"))
    (tmp_path / "x.parquet").write_text("user,item\n1,2\n")
    fails(run, tmp_path, "not a Parquet file", source=str(tmp_path / "x.parquet"))


def test_text_that_is_not_utf8_and_ragged_rows(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes("user,item\nJosé,1\nAnn,2\n".encode("latin-1"))
    fails(run, tmp_path, "x.csv is not UTF-8", "iconv", source=str(path))
    path.write_text("user,item\na,1\nb,2,3\n")
    fails(run, tmp_path, "more fields than its header", source=str(path))


def test_files_with_different_columns(run: Run, tmp_path: Path) -> None:
    sources = (write(tmp_path / "a.csv", block()), write(tmp_path / "b.csv", block().rename({"item": "thing"})))
    fails(run, tmp_path, "b.csv: there is no column 'item', which", source=sources)


def test_a_named_data_set_with_a_file(run: Run, tmp_path: Path) -> None:
    fails(run, tmp_path, "cannot be combined", source=("grocery", write(tmp_path / "a.csv", block())))


def test_check_reports_instead_of_raising(tmp_path: Path) -> None:
    report = check(DataConfig(source=(str(tmp_path / "x.csv"),)), places=Places(None, tmp_path / "cache"))
    assert not report.ok
    assert "no such file" in report.problem
    assert report.table()[0].check == "stopped"
    good = check(DataConfig(source=(write(tmp_path / "x.csv", block()),)), places=Places(None, tmp_path / "cache"))
    assert good.ok
    assert good.table()[0].rows == 120
