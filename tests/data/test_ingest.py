from __future__ import annotations

import gzip
import os
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from freqd.config import ColumnConfig, DataConfig
from freqd.data import PARTS, IdRegistry, Places, Split, source_digest
from freqd.data.info import Counts

Run = Callable[..., Split]
START = 1_704_067_200  # 2024-01-01


def sales(users: int = 60, items: int = 40, share: float = 0.4, seed: int = 3) -> pl.DataFrame:
    """Random interactions, one a minute, in random order of users and items."""
    rng = np.random.default_rng(seed)
    user, item = np.nonzero(rng.random((users, items)) < share)
    order = rng.permutation(len(user))
    time = START + 60 * np.arange(len(user))
    return pl.DataFrame({"user": user[order], "item": item[order], "timestamp": time})


def pairs(split: Split, part: str) -> set[tuple[str, str]]:
    rows = split.part(part)  # type: ignore[arg-type]
    users, items = split.user_ids.to_list(), split.item_ids.to_list()
    return {(users[u], items[i]) for u, i in zip(rows.user, rows.item, strict=True)}


def all_pairs(split: Split) -> set[tuple[str, str]]:
    return set().union(*(pairs(split, part) for part in PARTS))


def assert_same(a: Split, b: Split) -> None:
    for part in PARTS:
        x, y = a.part(part), b.part(part)
        np.testing.assert_array_equal(x.user, y.user)
        np.testing.assert_array_equal(x.item, y.item)
        assert (x.time is None) == (y.time is None)
        if x.time is not None and y.time is not None:
            np.testing.assert_array_equal(x.time, y.time)
    assert a.user_ids.to_list() == b.user_ids.to_list()
    assert a.item_ids.to_list() == b.item_ids.to_list()


@pytest.fixture
def csv(tmp_path: Path) -> Path:
    path = tmp_path / "sales.csv"
    sales().write_csv(path)
    return path


def test_a_time_split_by_hand(run: Run, csv: Path) -> None:
    split = run(DataConfig(source=(str(csv),)))
    frame = sales()
    n = frame.height
    last_train, first_test = split.train.time.max(), split.test.time.min()  # type: ignore[union-attr]
    valid = split.valid.time
    assert valid is not None
    assert last_train < valid.min() <= valid.max() < first_test
    assert first_test == START + 60 * (n - round(n / 10))
    assert split.info.cuts.test_from == datetime.fromtimestamp(int(first_test), UTC).isoformat()
    assert len(split.test) == round(n / 10)
    assert sum(split.info.parts.values()) == n == split.info.rows_read == split.info.kept.interactions
    assert split.info.columns == {"user": "user", "item": "item", "time": "timestamp", "weight": None}
    assert split.info.guessed == ("user", "item", "time")
    wanted = {(str(u), str(i)) for u, i in frame.select("user", "item").iter_rows()}
    assert all_pairs(split) == wanted
    assert split.info.name == "sales"


def test_the_same_data_in_any_form_give_the_same_split(run: Run, csv: Path, tmp_path: Path) -> None:
    expected = run(DataConfig(source=(str(csv),)))
    frame = sales()
    shuffled = frame.sample(fraction=1.0, shuffle=True, seed=9)
    moment = pl.from_epoch("timestamp", time_unit="s")
    forms: dict[str, pl.DataFrame] = {
        "a.tsv": shuffled,
        "b.parquet": shuffled,
        "c.parquet": frame.cast({"user": pl.Int16, "item": pl.UInt32}),
        "d.parquet": frame.cast({"user": pl.Float64, "item": pl.String}),
        "e.parquet": frame.with_columns(pl.col("item").cast(pl.String).cast(pl.Categorical)),
        "f.csv": frame.with_columns(moment.dt.strftime("%Y-%m-%d %H:%M:%S")),
        "g.csv": frame.with_columns(moment.dt.strftime("%Y-%m-%dT%H:%M:%SZ")),
        "h.csv": frame.with_columns(pl.col("timestamp") * 1000),
        "i.parquet": frame.with_columns(pl.col("timestamp") * 1_000_000),
        "j.parquet": frame.with_columns(moment),
        "k.parquet": frame.with_columns(moment.dt.replace_time_zone("UTC").dt.convert_time_zone("Asia/Tokyo")),
        "l.csv": frame.with_columns(pl.col("user").cast(pl.Float64)),
        "m.csv": frame.with_columns(moment.dt.strftime("%d.%m.%Y %H:%M")),
    }
    for name, form in forms.items():
        path = tmp_path / name
        if name.endswith(".parquet"):
            form.write_parquet(path)
        else:
            form.write_csv(path, separator="\t" if name.endswith(".tsv") else ";")
        assert_same(expected, run(DataConfig(source=(str(path),))))
    with gzip.open(tmp_path / "n.csv.gz", "wb") as packed:
        packed.write(csv.read_bytes())
    assert_same(expected, run(DataConfig(source=(str(tmp_path / "n.csv.gz"),))))


def test_many_files_and_patterns(run: Run, csv: Path, tmp_path: Path) -> None:
    frame = sales()
    for k in range(3):
        frame[k::3].write_parquet(tmp_path / f"part-{k}.parquet")
    frame.clear().write_parquet(tmp_path / "part-9.parquet")
    split = run(DataConfig(source=(str(tmp_path / "part-*.parquet"),)))
    assert_same(run(DataConfig(source=(str(csv),))), split)


def test_mixed_integer_and_text_ids_over_files(run: Run, csv: Path, tmp_path: Path) -> None:
    frame = sales()
    frame[::2].write_parquet(tmp_path / "a.parquet")
    frame[1::2].cast({"user": pl.String}).write_parquet(tmp_path / "b.parquet")
    split = run(DataConfig(source=(str(tmp_path / "a.parquet"), str(tmp_path / "b.parquet"))))
    assert_same(run(DataConfig(source=(str(csv),))), split)


def test_wide_integer_ids(run: Run, csv: Path, tmp_path: Path) -> None:
    expected = run(DataConfig(source=(str(csv),)))
    wide = sales().with_columns(pl.col("user") * 10**14 - 10**15)
    wide.write_parquet(tmp_path / "wide.parquet")
    split = run(DataConfig(source=(str(tmp_path / "wide.parquet"),)))
    np.testing.assert_array_equal(split.train.user, expected.train.user)
    assert split.user_ids[0] == str(-(10**15))


def test_ids_keep_leading_zeros_and_lose_blanks(run: Run, tmp_path: Path) -> None:
    frame = sales().with_columns(pl.format("0{}", "user").alias("user"), pl.format(" {} ", "item").alias("item"))
    frame.write_csv(tmp_path / "x.csv")
    split = run(DataConfig(source=(str(tmp_path / "x.csv"),)))
    assert split.user_ids[0] == "00"
    assert split.item_ids[0] == "0"


def test_every_drop_is_counted_once_with_its_reason(run: Run, tmp_path: Path) -> None:
    frame = (
        sales().cast({"user": pl.String, "item": pl.String, "timestamp": pl.String}).with_columns(rating=pl.lit("4"))
    )
    early = {"user": "0", "item": frame["item"][0], "timestamp": str(START), "rating": "4"}
    extra = pl.DataFrame(
        [
            {
                "user": None,
                "item": "1",
                "timestamp": "",
                "rating": "4",
            },  # no user; its missing time does not count again
            {"user": "1", "item": "  ", "timestamp": str(START), "rating": "4"},
            {"user": "1", "item": "2", "timestamp": "NA", "rating": "4"},
            {"user": "1", "item": "2", "timestamp": str(START + 5 * 10**7), "rating": "4"},
            {"user": "1", "item": "3", "timestamp": str(START), "rating": "1"},
            {"user": "1", "item": "3", "timestamp": str(START), "rating": ""},
            {"user": "loner", "item": "1", "timestamp": str(START), "rating": "5"},
            {**early, "user": frame["user"][-1], "item": frame["item"][-1]},  # an earlier time of a known pair
        ]
    )
    pl.concat([frame, extra], how="diagonal").write_csv(tmp_path / "x.csv")
    split = run(DataConfig(source=(str(tmp_path / "x.csv"),), min_weight=3.0, as_of=date(2025, 1, 1)))
    counts = [(row.rows, row.reason) for row in split.info.dropped]
    assert [rows for rows, _ in counts] == [1, 1, 1, 1, 2, 1, 1]
    for (_, reason), word in zip(
        counts,
        ("no user", "no item", "time missing", "after 2025-01-01", "below 3", "repeats", "1 users and 0 items"),
        strict=True,
    ):
        assert word in reason
    assert all(row.remedy for row in split.info.dropped)
    assert split.info.rows_read - sum(rows for rows, _ in counts) == split.info.kept.interactions
    assert (frame["user"][-1], frame["item"][-1]) in pairs(split, "train"), "the earliest time counts"


def test_as_of_keeps_the_whole_day(run: Run, tmp_path: Path) -> None:
    frame = sales().with_columns(timestamp=START + 86_400 - 500 + pl.int_range(pl.len()))
    frame.write_csv(tmp_path / "x.csv")
    source = (str(tmp_path / "x.csv"),)
    config = DataConfig(source=source, as_of=date(2024, 1, 1), min_user_interactions=1, min_item_interactions=1)
    assert run(config).info.dropped[0].rows == frame.height - 500


def test_without_time_the_split_is_random_and_seeded(run: Run, csv: Path) -> None:
    config = DataConfig(source=(str(csv),), columns=ColumnConfig(time="none"))
    first, again, other = run(config), run(config), run(config, seed=1)
    assert first.info.split == "random"
    assert first.info.cuts is None
    assert first.train.time is None
    assert_same(first, again)
    assert pairs(first, "test") != pairs(other, "test")
    total = sum(first.info.parts.values())
    assert abs(len(first.test) - 0.1 * total) <= 3
    assert abs(len(first.valid) - 0.1 * total) <= 3


def test_users_and_items_new_after_train_are_dropped_and_counted(run: Run, tmp_path: Path) -> None:
    frame = sales()
    cut = frame.height - 40
    item = pl.when(pl.int_range(pl.len()) >= cut).then(pl.lit(99)).otherwise(pl.col("item"))
    frame.with_columns(item=item).unique(["user", "item"], keep="first", maintain_order=True).write_csv(
        tmp_path / "x.csv"
    )
    split = run(DataConfig(source=(str(tmp_path / "x.csv"),)))
    assert "99" not in split.item_ids.to_list()
    dropped = [row for row in split.info.dropped if "not in train" in row.reason]
    assert dropped
    assert split.info.cold_test_items > 0
    for part in ("valid", "test"):
        rows = split.part(part)  # type: ignore[arg-type]
        assert np.isin(rows.user, split.train.user).all()
        assert np.isin(rows.item, split.train.item).all()
    assert len(np.unique(split.train.user)) == split.n_users
    assert len(np.unique(split.train.item)) == split.n_items


def test_given_parts_keep_all_ids_and_drop_overlap(run: Run, tmp_path: Path) -> None:
    train = pl.DataFrame({"user": [1, 1, 1, 2, 2, 3], "item": [1, 2, 3, 1, 2, 1]})
    valid = pl.DataFrame({"user": [1, 2, 2], "item": [9, 1, 3]})
    test = pl.DataFrame({"user": [1, 2, 3, 4], "item": [1, 3, 2, 8]})
    paths = {}
    for name, part in (("train", train), ("valid", valid), ("test", test)):
        paths[name] = str(tmp_path / f"{name}.parquet")
        part.write_parquet(paths[name])
    split = run(DataConfig(**paths))
    assert split.info.split == "given"
    assert split.user_ids.to_list() == ["1", "2", "3", "4"]
    assert split.item_ids.to_list() == ["1", "2", "3", "8", "9"]
    assert pairs(split, "valid") == {("1", "9"), ("2", "3")}
    assert pairs(split, "test") == {("3", "2"), ("4", "8")}
    assert [row.rows for row in split.info.dropped] == [1, 2]
    assert split.info.cold_test_items == 0.5


def test_given_parts_without_validation(run: Run, tmp_path: Path) -> None:
    frame = sales().select("user", "item")
    rare = pl.DataFrame({"user": list(range(30)), "item": [1000 + i for i in range(30)]})  # items of one interaction
    pl.concat([frame[:-100], rare]).write_parquet(tmp_path / "train.parquet")
    frame[-100:].write_parquet(tmp_path / "test.parquet")
    split = run(DataConfig(train=str(tmp_path / "train.parquet"), test=str(tmp_path / "test.parquet")))
    assert pairs(split, "test") == {(str(u), str(i)) for u, i in frame[-100:].iter_rows()}
    assert abs(len(split.valid) - 0.1 * (frame.height - 70)) < 15
    assert not any(item.startswith("10") and len(item) == 4 for _, item in pairs(split, "valid"))
    assert np.isin(split.valid.item, split.train.item).all()
    assert np.isin(split.valid.user, split.train.user).all()


def test_parts_can_be_split_anew(run: Run, tmp_path: Path) -> None:
    frame = sales()
    frame[:-100].write_parquet(tmp_path / "train.parquet")
    frame[-100:].write_parquet(tmp_path / "test.parquet")
    config = DataConfig(train=str(tmp_path / "train.parquet"), test=str(tmp_path / "test.parquet"), split="time")
    frame.write_csv(tmp_path / "sales.csv")
    assert_same(run(config), run(DataConfig(source=(str(tmp_path / "sales.csv"),))))


def test_dense_ids_are_stable_over_runs(run: Run, tmp_path: Path) -> None:
    registry = IdRegistry(tmp_path / "ids")
    first_week = sales(seed=1).with_columns(pl.col("user") + 100)
    first_week.write_parquet(tmp_path / "a.parquet")
    first = run(DataConfig(source=(str(tmp_path / "a.parquet"),)), registry=registry)
    pl.concat([first_week, sales(seed=2)]).write_parquet(tmp_path / "b.parquet")
    second = run(DataConfig(source=(str(tmp_path / "b.parquet"),)), registry=registry)
    known = first.user_ids.to_list()
    assert second.user_ids.to_list()[: len(known)] == known
    assert second.n_users > first.n_users
    assert second.user_ids.to_list()[len(known) :] == [str(u) for u in range(60)]
    without = run(DataConfig(source=(str(tmp_path / "b.parquet"),)))
    assert without.user_ids[0] == "0"
    for part in PARTS:
        assert pairs(without, part) == pairs(second, part), "the registry numbers, it does not choose"


def test_small_numbers_as_time_are_an_order(run: Run, tmp_path: Path) -> None:
    sales().with_columns(day=(pl.col("timestamp") - START) // 600).drop("timestamp").write_csv(tmp_path / "x.csv")
    split = run(DataConfig(source=(str(tmp_path / "x.csv"),)))
    assert split.info.columns["time"] == "day"
    assert any("small numbers" in text for text in split.info.warnings)
    assert split.train.time.max() < split.test.time.min()  # type: ignore[union-attr]


def test_a_repeated_header_is_pointed_out(run: Run, csv: Path) -> None:
    csv.write_text(csv.read_text() + "user,item,\n")
    columns = ColumnConfig(time="none")
    split = run(DataConfig(source=(str(csv),), columns=columns, min_user_interactions=1, min_item_interactions=1))
    assert any("'aaaa' in row" in text for text in split.info.warnings)


def test_the_split_survives_the_disk(run: Run, csv: Path, tmp_path: Path) -> None:
    split = run(DataConfig(source=(str(csv),)))
    (tmp_path / "split").mkdir()
    split.write(tmp_path / "split")
    back = Split.read(tmp_path / "split")
    assert_same(split, back)
    assert back.info == split.info


def test_the_digest_follows_content_not_names(csv: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def digest(*names: Path) -> str:
        config = DataConfig(source=tuple(str(name) for name in names))
        return source_digest(config, places=Places(None, tmp_path / "cache"))

    copy = tmp_path / "copy.csv"
    copy.write_bytes(csv.read_bytes())
    other = tmp_path / "other.csv"
    other.write_bytes(csv.read_bytes() + b"1,1,1\n")
    assert digest(csv) == digest(copy)
    (tmp_path / "linked.csv").symlink_to(csv)
    (tmp_path / "folder").symlink_to(tmp_path, target_is_directory=True)
    monkeypatch.chdir(tmp_path)
    paths = ("sales.csv", "./sales.csv", "linked.csv", "folder/sales.csv", "sal*.csv", f"../{tmp_path.name}/sales.csv")
    assert {digest(Path(path)) for path in paths} == {digest(csv)}
    os.utime(csv, (1, 1))
    assert digest(csv) == digest(copy), "nor the time at which it was written"
    assert digest(csv) != digest(other)
    assert digest(csv, other) == digest(other, csv)


def test_grocery_with_default_settings(run: Run) -> None:
    seen: list[float] = []
    split = run(DataConfig(), progress=lambda done, text: seen.append(done))
    assert split.info.name == "grocery"
    assert split.info.split == "time"
    assert split.info.rows_read == 1_469_307
    assert split.info.kept == Counts(users=split.n_users, items=split.n_items, interactions=791_822)
    assert (split.n_users, split.n_items) == (2_419, 25_173)
    keys = [part.user.astype(np.int64) * split.n_items + part.item for part in (split.train, split.valid, split.test)]
    assert len(np.unique(np.concatenate(keys))) == sum(len(key) for key in keys), "parts are disjoint"
    assert seen == sorted(seen)
    assert seen[-1] == 1.0
