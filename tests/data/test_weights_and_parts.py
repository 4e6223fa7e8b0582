"""Weights, times and given parts that say something else than they seem to."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from freqd.config import ColumnConfig, DataConfig
from freqd.data import Places, Split, check
from freqd.errors import InputError

Run = Callable[..., Split]
START = 1_600_000_000


def two_groups(n: int = 960) -> pl.DataFrame:
    rng = np.random.default_rng(0)
    user = rng.integers(0, 80, n)
    item = (user >= 40) * 30 + rng.integers(0, 30, n)
    return pl.DataFrame({"user": user, "item": item}).select(
        user=pl.format("u{}", "user"), item=pl.format("i{}", "item"), timestamp=START + pl.int_range(n) * 3600
    )


def save(path: Path, frame: pl.DataFrame) -> str:
    frame.write_parquet(path) if path.suffix == ".parquet" else frame.write_csv(path)
    return str(path)


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_weight_that_is_no_number_is_not_heavy(run: Run, tmp_path: Path, suffix: str) -> None:
    frame = two_groups().with_columns(
        rating=pl.when(pl.int_range(pl.len()) % 10 == 0).then(float("nan")).otherwise(5.0)
    )
    split = run(DataConfig(source=(save(tmp_path / f"x{suffix}", frame),), min_weight=4.0))
    assert split.info.dropped[0].rows == 96
    assert "below 4" in split.info.dropped[0].reason


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_returns_are_told_and_can_be_left_out(run: Run, tmp_path: Path, suffix: str) -> None:
    frame = two_groups().with_columns(quantity=pl.when(pl.int_range(pl.len()) % 10 == 3).then(-1).otherwise(2))
    source = (save(tmp_path / f"x{suffix}", frame),)
    (told,) = [text for text in run(DataConfig(source=source)).info.warnings if "negative" in text]
    assert "96 rows have a negative number in column 'quantity', the first of them row 4" in told
    assert "data.min_weight=0" in told
    without = run(DataConfig(source=source, min_weight=0.0))
    assert without.info.dropped[0].rows == 96
    assert not any("negative" in text for text in without.info.warnings)


@pytest.mark.parametrize("odd", ["9999-12-31 00:00:00", "0001-01-01 00:00:00", "1900-01-01", "2099-01-01 00:00:00"])
def test_times_that_stand_for_none_are_counted(run: Run, tmp_path: Path, odd: str) -> None:
    when = pl.from_epoch("timestamp").dt.to_string("%Y-%m-%d %H:%M:%S")
    frame = two_groups().with_columns(
        timestamp=pl.when(pl.int_range(pl.len()) % 20 == 5).then(pl.lit(odd)).otherwise(when)
    )
    split = run(DataConfig(source=(save(tmp_path / "x.csv", frame),)))
    dropped = split.info.dropped[0]
    assert dropped.rows == 48
    assert f"{odd!r} in row 6" in dropped.reason
    assert "data.min_time" in dropped.remedy
    assert split.info.times.last.startswith("2020-10-23")


@pytest.mark.parametrize("factor", [1, 1000])
def test_a_zero_for_a_missing_time_is_counted(run: Run, tmp_path: Path, factor: int) -> None:
    frame = two_groups().with_columns(
        timestamp=pl.when(pl.int_range(pl.len()) % 20 == 5).then(0).otherwise(pl.col("timestamp") * factor)
    )
    split = run(DataConfig(source=(save(tmp_path / "x.csv", frame),)))
    assert split.info.dropped[0].rows == 48
    assert "in row 6" in split.info.dropped[0].reason
    assert (split.info.times.first[:4], split.info.times.last[:4]) == ("2020", "2020")


@pytest.mark.parametrize("form", ["%d.%m.%y", "%Y%m%d%H%M%S", "%d.%m.%Y %H:%M"])
def test_an_as_of_date_means_the_same_in_every_form(run: Run, tmp_path: Path, form: str) -> None:
    days = pl.from_epoch("timestamp").dt.to_string(form)
    sources = [
        save(tmp_path / f"{n}.csv", frame)
        for n, frame in enumerate((two_groups(), two_groups().with_columns(timestamp=days)))
    ]
    plain, other = (
        run(
            DataConfig(source=(source,), as_of=date(2020, 10, 1), min_user_interactions=1, min_item_interactions=1)
        ).info
        for source in sources
    )
    assert other.times.last[:10] == plain.times.last[:10] == "2020-10-01"
    assert other.dropped[0] == plain.dropped[0]


def test_many_times_out_of_range_are_refused_and_the_range_can_be_widened(run: Run, tmp_path: Path) -> None:
    frame = two_groups().with_columns(timestamp=pl.col("timestamp") - 45 * 365 * 86_400)
    days = frame.with_columns(timestamp=pl.from_epoch("timestamp").dt.to_string("%Y-%m-%d %H:%M:%S"))
    source = (save(tmp_path / "x.csv", days),)
    with pytest.raises(InputError, match=r"960 of 960 times .* lie before 1990-01-01 .* in row 1") as caught:
        run(DataConfig(source=source))
    assert "widen data.min_time" in caught.value.remedy
    assert run(DataConfig(source=source, min_time=date(1970, 1, 1))).info.times.first.startswith("1975")


def test_a_column_without_most_of_its_times(run: Run, tmp_path: Path) -> None:
    def missing(share: int) -> tuple[str, ...]:
        gone = pl.when(pl.int_range(pl.len()) % 100 < share).then(None).otherwise(pl.col("timestamp"))
        return (save(tmp_path / f"{share}.csv", two_groups().with_columns(timestamp=gone)),)

    with pytest.raises(InputError, match="rows have no time in column 'timestamp'") as caught:
        run(DataConfig(source=missing(92)))
    assert "data.columns.time=none" in caught.value.remedy
    assert "core" not in str(caught.value)
    split = run(DataConfig(source=missing(20)))
    assert any("(21%) have no time in column 'timestamp' and are dropped" in text for text in split.info.warnings)


def test_seconds_in_one_file_and_milliseconds_in_another_are_one_time_line(run: Run, tmp_path: Path) -> None:
    first, second = two_groups().head(480), two_groups().tail(480)
    save(tmp_path / "a.csv", first)
    save(tmp_path / "b.csv", second.with_columns(timestamp=pl.col("timestamp") * 1000))
    save(tmp_path / "c.csv", two_groups().head(0))
    split = run(DataConfig(source=(str(tmp_path / "*.csv"),)))
    whole = run(DataConfig(source=(save(tmp_path / "whole.csv", two_groups()),)))
    assert split.info.cuts == whole.info.cuts
    assert split.info.times.read_as == "epoch seconds and epoch milliseconds"
    assert not any("small numbers" in text for text in split.info.warnings)


def test_a_column_of_dates_that_is_not_used_is_told(run: Run, tmp_path: Path) -> None:
    when = pl.from_epoch("timestamp").dt.date()
    source = (save(tmp_path / "x.csv", two_groups().with_columns(delivered=when).drop("timestamp")),)
    (told,) = [text for text in run(DataConfig(source=source)).info.warnings if "looks like times" in text]
    assert "data.columns.time=delivered" in told
    quiet = run(DataConfig(source=source, columns=ColumnConfig(time="none")))
    assert not any("looks like times" in text for text in quiet.info.warnings)


def parts(tmp_path: Path, known: float, side: str = "user") -> DataConfig:
    frame = two_groups(4000)
    train, test = frame.head(3200), frame.tail(800)
    late = pl.when(pl.int_range(pl.len()) % 100 >= 100 * known).then(pl.format("new-{}", side)).otherwise(side)
    return DataConfig(
        train=save(tmp_path / "train.csv", train), test=save(tmp_path / "test.csv", test.with_columns(late.alias(side)))
    )


@pytest.mark.parametrize("side", ["user", "item"])
def test_given_parts_that_cannot_be_judged(run: Run, tmp_path: Path, side: str) -> None:
    with pytest.raises(InputError, match=f"100% of the {side}s of the test part are not known in train") as caught:
        run(parts(tmp_path, 0.0, side))
    assert "data.source" in caught.value.remedy
    report = check(parts(tmp_path, 0.0, side), places=Places(None, tmp_path / "cache"))
    assert not report.ok
    assert "no model can be judged" in report.problem
    told = run(parts(tmp_path, 0.5, side)).info.warnings
    assert any(f"of the {side}s of the test part are not known in train" in text for text in told)
    assert not any("not known in train" in text for text in run(parts(tmp_path, 1.0, side)).info.warnings)


def test_known_users_and_known_items_that_never_meet(run: Run, tmp_path: Path) -> None:
    train = two_groups(3200)
    news = pl.DataFrame({"user": [f"new{n}" for n in range(40)], "item": ["i1"] * 40, "timestamp": START})
    olds = pl.DataFrame(
        {"user": [f"u{n}" for n in range(40)], "item": [f"new{n}" for n in range(40)], "timestamp": START}
    )
    config = DataConfig(train=save(tmp_path / "a.csv", train), test=save(tmp_path / "b.csv", pl.concat([news, olds])))
    with pytest.raises(InputError, match="of the interactions of the test part are with users or items"):
        run(config)


def test_the_check_says_what_the_data_were_taken_for(tmp_path: Path) -> None:
    config = DataConfig(source=(save(tmp_path / "x.csv", two_groups()),))
    table = {row.check: row.note for row in check(config, places=Places(None, tmp_path / "cache")).table()}
    assert table["columns"] == "user = user, item = item, time = timestamp"
    assert table["times"] == "read as epoch seconds: 2020-09-13 12:26 to 2020-10-23 11:26 UTC"
    assert table["split"].startswith("by time: validation from 2020-10-1")
