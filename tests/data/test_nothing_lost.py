"""Files that were read, and wrongly: what cannot be told is refused, what was decided is told with its row."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from freqd.config import ColumnConfig, DataConfig
from freqd.data import Places, Split, check
from freqd.data.layout import count_records
from freqd.errors import InputError

Run = Callable[..., Split]
SMALL = {"min_user_interactions": 1, "min_item_interactions": 1}
MORNING = 1_704_067_200  # 2024-01-01


def rows(users: int = 40, items: int = 24, *, user: str = "u{}", item: str = "i{}") -> list[list[str]]:
    pairs = [(n, (7 * n + k) % items) for k in range(items) for n in range(users)]
    return [[user.format(u), item.format(i), str(MORNING + 600 * at)] for at, (u, i) in enumerate(pairs)]


def write(path: Path, header: list[str], lines: list[list[str]], separator: str = ",") -> str:
    path.write_text("".join(separator.join(line) + "\n" for line in [header, *lines]))
    return str(path)


def data(*paths: str, **settings: object) -> DataConfig:
    return DataConfig(source=paths, **{**SMALL, **settings})  # type: ignore[arg-type]


def told(split: Split) -> str:
    return "\n".join(split.info.warnings)


HEADER = ["user_id", "item_id", "timestamp"]


def test_numbers_that_only_order_have_no_day(run: Run, tmp_path: Path) -> None:
    lines = [[u, i, str(at)] for at, (u, i, _) in enumerate(rows())]
    path = write(tmp_path / "x.csv", HEADER, lines)
    assert run(data(path)).info.split == "time"
    with pytest.raises(InputError, match=r"as of 2024-02-01 .* holds small numbers, not dates"):
        run(data(path, as_of=date(2024, 2, 1)))


def test_plain_quotes_are_told_and_half_a_field_is_refused(run: Run, tmp_path: Path) -> None:
    lines = [[u, i, t, "plain"] for u, i, t in rows()]
    lines[100][3] = '19" screen'
    path = write(tmp_path / "x.csv", [*HEADER, "title"], lines)
    split = run(data(path))
    assert split.info.rows_read == 960
    assert "row 101 (the header not counted) has in column 'title' a quote within a field" in told(split)
    lines[200][0] = '"u5'
    write(tmp_path / "x.csv", [*HEADER, "title"], lines)
    with pytest.raises(
        InputError, match=r"row 201 .* has '.u5' in column 'user_id', which is not a whole field"
    ) as caught:
        run(data(path))
    assert "data.quotes=plain" in caught.value.remedy
    assert run(data(path, quotes="plain")).info.rows_read == 960


def test_a_field_of_lines_that_look_like_rows(run: Run, tmp_path: Path) -> None:
    """Two readings of one file: what the user says decides, and else it is refused or told."""
    lines = [[u, i, t, "plain"] for u, i, t in rows()]
    lines[10][3], lines[12][3] = '"a', 'c"'
    path = write(tmp_path / "x.csv", [*HEADER, "title"], lines)
    with pytest.raises(InputError, match=r"row 11 .* stays open over lines") as caught:
        run(data(path))
    assert "data.quotes=fields" in caught.value.remedy
    assert run(data(path, quotes="fields")).info.rows_read == 958
    assert run(data(path, quotes="plain")).info.rows_read == 960
    lines[500][3] = '"one, two"'
    write(tmp_path / "x.csv", [*HEADER, "title"], lines)
    split = run(data(path))
    assert split.info.rows_read == 958
    assert "row 11 (the header not counted)" in told(split)
    assert "data.quotes=plain" in told(split)


@pytest.mark.parametrize("separator", [",", "\t"])
@pytest.mark.parametrize("apart", [1, 30, 300])
def test_two_fields_that_begin_with_a_quote_hide_no_rows(run: Run, tmp_path: Path, separator: str, apart: int) -> None:
    lines = [[u, i, t, "plain"] for u, i, t in rows()]
    lines[100][3] = lines[100 + apart][3] = '"unfinished'
    path = write(tmp_path / "x.csv", [*HEADER, "title"], lines, separator)
    split = run(data(path))
    assert split.info.rows_read == 960
    assert "row 101 (the header not counted) has in column 'title' " in told(split)


@pytest.mark.parametrize("title", [r'"19\" screen"', r"19\" screen", '"', '""', '"a"b'])
def test_one_odd_quote_loses_no_row(run: Run, tmp_path: Path, title: str) -> None:
    lines = [[u, i, t, "plain"] for u, i, t in rows()]
    lines[100][3] = title
    assert run(data(write(tmp_path / "x.csv", [*HEADER, "title"], lines))).info.rows_read == 960


@pytest.mark.parametrize("written", ["1.23457E+12", "4.00123e+15", "9007199254740993.0"])
@pytest.mark.parametrize("side", [0, 1])
def test_ids_that_a_spreadsheet_rounded(run: Run, tmp_path: Path, written: str, side: int) -> None:
    lines = rows(user="{}", item="{}")
    lines[77][side] = written
    path = write(tmp_path / "x.csv", HEADER, lines)
    with pytest.raises(InputError, match=rf"row 78 has '{written.replace('+', '.')}' in column '{HEADER[side]}'"):
        run(data(path))


def test_hashes_with_an_e_are_ids(run: Run, tmp_path: Path) -> None:
    lines = rows(user="1e{}")
    assert run(data(write(tmp_path / "x.csv", HEADER, lines))).n_users == 40


def test_a_mark_of_byte_order_amid_the_file(run: Run, tmp_path: Path) -> None:
    lines = rows()
    lines[500][0] = "\ufeff" + lines[500][0]
    assert run(data(write(tmp_path / "x.csv", HEADER, lines))).n_users == 40


@pytest.mark.parametrize(
    ("usual", "other"), [("%d/%m/%Y", "%m/%d/%Y"), ("%Y-%m-%d", "%d.%m.%Y"), ("%m/%d/%y", "%d/%m/%y")]
)
def test_dates_of_another_form_further_down(run: Run, tmp_path: Path, usual: str, other: str) -> None:
    """A sample of the first rows decides the form; the days of the later ones must not be dropped as unreadable."""
    lines = [
        [u, i, (date(2023, 1, 1) + timedelta(days=at // 4)).strftime(usual)] for at, (u, i, _) in enumerate(rows(80))
    ]
    lines[1800][2] = date(2024, 2, 29).strftime(other)
    path = write(tmp_path / "x.csv", HEADER, lines)
    with pytest.raises(InputError, match=f"row 1,801 .* has '{lines[1800][2]}' .* a date in another form"):
        run(data(path))


@pytest.mark.parametrize("form", ["%d.%m.%y", "%y.%m.%d", "%d/%m/%y", "%y-%m-%d"])
def test_years_of_two_digits_by_what_lies_close_together(run: Run, tmp_path: Path, form: str) -> None:
    lines = [[u, i, (date(2023, 1, 1) + timedelta(days=at // 4)).strftime(form)] for at, (u, i, _) in enumerate(rows())]
    times = run(data(write(tmp_path / "x.csv", HEADER, lines))).info.times
    assert (times.first[:10], times.last[:4]) == ("2023-01-01", "2023")


def test_a_wide_range_changes_no_unit(run: Run, tmp_path: Path) -> None:
    """From 1900 on, milliseconds of 1970 are plausible too."""
    times = run(data(write(tmp_path / "x.csv", HEADER, rows()), min_time=date(1900, 1, 1))).info.times
    assert times.read_as == "epoch seconds"
    assert times.first[:10] == "2024-01-01"


def test_a_hundredth_of_another_unit_is_refused(run: Run, tmp_path: Path) -> None:
    lines = rows()
    for place in range(0, 960, 90):
        lines[place + 5][2] += "000"
    with pytest.raises(InputError, match=r"mixes epoch seconds .* in row 6"):
        run(data(write(tmp_path / "x.csv", HEADER, lines)))


@pytest.mark.parametrize("dtype", [pl.Date, pl.Datetime("ms"), pl.Datetime("us", "Asia/Tokyo"), pl.Datetime("ns")])
def test_days_of_a_parquet_file(run: Run, tmp_path: Path, dtype: pl.DataType) -> None:
    frame = pl.DataFrame(rows(), schema=HEADER, orient="row").with_columns(
        pl.from_epoch(pl.col("timestamp").cast(pl.Int64), "s").cast(dtype)
    )
    frame.write_parquet(tmp_path / "x.parquet")
    times = run(data(str(tmp_path / "x.parquet"))).info.times
    assert times.first[:10] in ("2024-01-01", "2023-12-31")


def test_days_beyond_any_calendar_and_a_column_of_nothing(run: Run, tmp_path: Path) -> None:
    frame = pl.DataFrame(rows(), schema=HEADER, orient="row")
    day = frame["timestamp"].cast(pl.Int64) // 86_400
    frame.with_columns(timestamp=day.cast(pl.Int32).scatter(3, 2**31 - 1).cast(pl.Date)).write_parquet(
        tmp_path / "x.parquet"
    )
    split = run(data(str(tmp_path / "x.parquet")))
    assert split.info.dropped[0].rows == 1
    frame.with_columns(timestamp=pl.lit(None)).write_parquet(tmp_path / "x.parquet")
    with pytest.raises(InputError, match="no time at all"):
        run(data(str(tmp_path / "x.parquet")))


@pytest.mark.parametrize("first", [HEADER, ["0", "1", "2"]])
def test_a_header_where_places_are_named(run: Run, tmp_path: Path, first: list[str]) -> None:
    path = write(tmp_path / "x.csv", first, rows())
    with pytest.raises(InputError, match="the first line seems to be one") as caught:
        run(data(path, columns=ColumnConfig(user=1, item=2, time=3)))
    assert f"data.columns.user={first[0]}" in caught.value.remedy


def test_rows_that_break_off(run: Run, tmp_path: Path) -> None:
    lines = [[u, t, i] for u, i, t in rows()]
    lines[41], lines[55] = lines[41][:2], lines[55][:1]
    path = write(tmp_path / "x.csv", ["user_id", "timestamp", "item_id"], lines)
    split = run(data(path))
    assert "2 rows have fewer fields than the header, the first of them row 42" in told(split)
    assert split.info.dropped[0].rows == 2
    path = write(tmp_path / "x.csv", [*HEADER, "more"], rows())
    with pytest.raises(InputError, match="960 of 960 rows have fewer fields than the header, the first of them row 1 "):
        run(data(path))


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_files_of_which_one_has_no_times(run: Run, tmp_path: Path, order: tuple[int, int]) -> None:
    lines = rows()
    paths = [
        write(tmp_path / "a.csv", HEADER, lines[:480]),
        write(tmp_path / "b.csv", HEADER[:2], [line[:2] for line in lines[480:]]),
    ]
    split = run(data(*(paths[place] for place in order)))
    assert split.info.rows_read == 960
    (warning,) = [text for text in split.info.warnings if "timestamp" in text]
    assert f"is ignored: {paths[1]} does not have it, while {paths[0]} does" in warning


def test_rows_are_counted_in_their_own_file(run: Run, tmp_path: Path) -> None:
    lines = [[*line, "1"] for line in rows(user="{}")]
    lines[500][3], lines[600][0] = "-1", "total"
    header = [*HEADER, "quantity"]
    paths = [write(tmp_path / f"{k}.csv", header, lines[480 * k : 480 * (k + 1)]) for k in range(2)]
    text = told(run(data(*paths)))
    assert f"the first of them row 21 of {paths[1]}" in text
    assert f"in row 121 of {paths[1]}" in text


@pytest.mark.parametrize(
    ("first", "later"),
    [
        ("{seconds}", ["{seconds}.0", " {seconds} ", "{seconds}.75"]),
        ("{seconds}.5", ["{seconds}", " {seconds}.25"]),
        ("{date} {clock}", ["{date}T{clock}Z", " {date} {clock}.125", "{date}T{clock}+00:00"]),
    ],
)
def test_times_in_a_related_form_further_down_are_read_as_well(
    run: Run, tmp_path: Path, first: str, later: list[str]
) -> None:
    lines = rows(80)
    seconds = [int(line[2]) for line in lines]
    for place, line in enumerate(lines):
        moment = datetime.fromtimestamp(seconds[place], UTC)
        form = first if place < 1_200 or place % 3 else later[place % len(later)]
        line[2] = form.format(seconds=seconds[place], date=moment.date(), clock=moment.time())
    lines[1_500][2] = "NULL"
    expected = sorted(seconds[:1_500] + seconds[1_501:])
    halves = [write(tmp_path / f"{k}.csv", HEADER, part) for k, part in enumerate((lines[:1_000], lines[1_000:]))]
    for paths in ([write(tmp_path / "x.csv", HEADER, lines)], halves):
        split = run(data(*paths, split="random"))
        found = np.concatenate([part.time for part in (split.train, split.valid, split.test) if part.time is not None])
        assert sorted(found.tolist()) == expected


def test_words_for_nothing_say_nothing_of_a_form(run: Run, tmp_path: Path) -> None:
    lines = rows(80)
    for line in lines[:90]:
        line[2] = "NULL"
    assert run(data(write(tmp_path / "x.csv", HEADER, lines))).info.times.read_as == "epoch seconds"


def test_line_ends_of_two_kinds(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    text = "".join(",".join(line) + "\n" for line in [HEADER, *rows()])
    for end, title in (("\r", ""), ("\r", '"a, b"')):
        mixed = text.replace("\n", end, 50) if not title else text.replace(",17", f",{title},17").replace("\n", end, 50)
        path.write_text(mixed.replace("timestamp", "title,timestamp") if title else mixed)
        with pytest.raises(InputError, match=r"line ends? of an old Macintosh"):
            run(data(str(path)))


def test_a_range_of_no_time() -> None:
    with pytest.raises(ValueError, match="max_time 2000-01-01 is before min_time 2010-01-01"):
        DataConfig(min_time=date(2010, 1, 1), max_time=date(2000, 1, 1))


def test_lists_that_seem_a_table_are_told_of(tmp_path: Path) -> None:
    path = tmp_path / "train.txt"
    path.write_text("0 5 7\n1 5 9\n2 6 7\n")
    report = check(data(str(path)), places=Places(None, tmp_path))
    assert not report.ok
    assert "data.layout=adjacency" in report.remedy


@pytest.mark.parametrize("chunk", [1, 7, 64])
def test_the_census_does_not_depend_on_its_blocks(monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    text = b'user,item,title\r\nu1,i1,"a\r\nb ""c"""\r\nu2,i2\r\nu3,i3,"x, y"\r\n\r\nu4,i4,z'
    whole = count_records(text, ",", header=True)
    monkeypatch.setattr("freqd.data.layout._CHUNK", chunk)
    assert count_records(text, ",", header=True) == whole
    assert (whole.records, whole.quoted, whole.short) == (5, True, (1, 2))
