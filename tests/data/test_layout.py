"""Every row of a text file is read, or the file is refused with the row: quotes, separators, line ends."""

from __future__ import annotations

import csv
import gzip
import io
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from freqd.data import layout
from freqd.data.files import check_count, unreadable
from freqd.data.recognise import find_files, recognise
from freqd.errors import InputError

MARKS = st.text(st.sampled_from('ab ",;\t\n\\x'), max_size=6)
TABLES = st.lists(st.tuples(st.integers(0, 99).map(str), MARKS, st.integers(0, 99).map(str)), min_size=1, max_size=12)


def read(path: Path) -> list[tuple[str | None, ...]]:
    (file,) = find_files(str(path))
    frame = file.scan().collect(engine="streaming")
    check_count([file], frame.height)
    return frame.rows()


def written(rows: list[tuple[str, str, str]], **options: object) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n", **options)  # type: ignore[call-overload]
    writer.writerows([("user", "title", "item"), *rows])
    return text.getvalue()


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=TABLES, quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]), end=st.sampled_from(["\n", "\r\n", ""])
)
def test_what_a_csv_writer_writes_is_read_as_it_was(
    tmp_path: Path, rows: list[tuple[str, str, str]], quoting: int, end: str
) -> None:
    """Where two readings are possible the file may be refused; what is read has every row."""
    text = written(rows, quoting=quoting)
    path = tmp_path / "x.csv"
    path.write_text(text.removesuffix("\n") + end)
    try:
        found = read(path)
    except InputError as error:
        if "row" in error.problem and '"' in text:
            return
        raise
    ambiguous = any("\n" in title for _, title, _ in rows)
    if not ambiguous:
        assert [(row[0], row[2]) for row in found] == [(row[0], row[2]) for row in rows]


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(st.text(st.sampled_from("ab\"\\ '"), max_size=8), min_size=1, max_size=40))
def test_stray_quotes_lose_no_row(tmp_path: Path, rows: list[str]) -> None:
    """Written by hand: no field holds a separator, so every line is a row, whatever its quotes."""
    path = tmp_path / "x.csv"
    path.write_text("user,item,title\n" + "".join(f"u{n},i{n},{title}\n" for n, title in enumerate(rows)))
    try:
        found = read(path)
    except InputError as error:  # two quotes that could enclose a field of a few lines
        if "stays open over lines" in error.problem:
            return
        raise
    assert [row[:2] for row in found] == [(f"u{n}", f"i{n}") for n in range(len(rows))]


def test_two_inch_marks_far_apart(tmp_path: Path) -> None:
    lines = [f"u{n},i{n},plain\n" for n in range(20_000)]
    lines[300], lines[18_000] = 'u300,i300,19" screen\n', 'u18000,i18000,"unfinished\n'
    for name, text in (("x.csv", "".join(lines)), ("x.tsv", "".join(lines).replace(",", "\t"))):
        header = "user,item,title\n" if name == "x.csv" else "user\titem\ttitle\n"
        (tmp_path / name).write_text(header + text)
        assert len(read(tmp_path / name)) == 20_000
        with gzip.open(tmp_path / f"{name}.gz", "wt") as packed:
            packed.write(header + text)
        assert len(read(tmp_path / f"{name}.gz")) == 20_000


def test_quotes_that_leave_the_rows_open_are_named(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text('user,title,item\nu1,"a, b",i1\nu2,19" screen,i2\n')
    with pytest.raises(
        InputError, match=r"row 2 .* column 'title' a quote within a field that does not begin with one"
    ):
        read(path)
    path.write_text('user,title,item\nu1,"a, b",i1\nu2,"open,i2\nu3,plain,i3\n')
    with pytest.raises(InputError, match=r"row 2 .* column 'title' a quote that is never closed"):
        read(path)
    path.write_text('user,title,item\nu1,"a, b",i1\nu2,"a"b,i2\n')
    with pytest.raises(InputError, match=r"row 2 .* column 'title' something after the quote"):
        read(path)
    rows = "".join(f"u{n},i{n},y\n" for n in range(3, 7))
    path.write_text(f'user,item,title\nu1,i1,"a, b"\nu2,i2,"x\n{rows}u9,i9,z"\n')
    with pytest.raises(
        InputError, match=r"row 2 .* column 'title' a quote that stays open over lines which are whole rows"
    ):
        read(path)


def test_fields_of_several_lines_are_read(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text('user,item,title\nu1,i1,"a\nb\nc"\nu2,i2,"say ""hi"", then"\n')
    assert read(path) == [("u1", "i1", "a\nb\nc"), ("u2", "i2", 'say "hi", then')]


def test_quoted_ids_beside_stray_quotes(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text('"user","item","title"\n"u1","i1",19" screen\n"u2","i2","fine"\n')
    assert [row[:2] for row in read(path)] == [("u1", "i1"), ("u2", "i2")]
    assert recognise(path, "x.csv").schema().names() == ["user", "item", "title"]


@pytest.mark.parametrize(
    ("body", "row"), [("u1,i1,1,x\nu2,i2,2\n", 1), ('u1,i1,1\nu2,"i2",2,x\n', 2), ("u,i,1\n" * 9 + "u,i,1,2", 10)]
)
def test_a_row_that_is_too_long_is_named(tmp_path: Path, body: str, row: int) -> None:
    path = tmp_path / "x.csv"
    path.write_text("user,item,time\n" + body)
    file = recognise(path, "x.csv")
    with pytest.raises(pl.exceptions.PolarsError) as caught:
        file.scan().collect()
    assert f"row {row} (the header not counted) has 4 fields, more fields than its header (3" in str(
        unreadable(file, caught.value)
    )


def test_other_layouts(tmp_path: Path) -> None:
    path = tmp_path / "x.dat"
    wanted = [("u1", "i1", "5"), ("u2", "i2", "3")]
    for text in (
        "user::item::rating\nu1::i1::5\nu2::i2::3\n",
        "user item  rating\nu1 i1 5\n u2\ti2   3 \n",
        "user, item, rating\nu1, i1, 5\nu2, i2, 3\n",
        "\ufeffuser;item;rating\nu1;i1;5\nu2;i2;3\n",
        "user:token\titem:token\trating:float\nu1\ti1\t5\nu2\ti2\t3\n",
    ):
        path.write_text(text)
        (file,) = find_files(str(path))
        assert file.schema().names() == ["user", "item", "rating"], text
        assert [tuple(str(field).strip() for field in row) for row in read(path)] == wanted, text


def test_adjacency_lists(tmp_path: Path) -> None:
    path = tmp_path / "train.txt"
    path.write_text("0 5 7 9\n1 5\n2\n3 7 9\n")
    assert read(path) == [("0", "5"), ("0", "7"), ("0", "9"), ("1", "5"), ("3", "7"), ("3", "9")]
    path.write_text("0 5 7\n1 5 9\n")
    assert find_files(str(path))[0].layout == "table", "a table of numbers is no list"
    assert find_files(str(path), "adjacency")[0].scan().collect().height == 4


@pytest.mark.parametrize(
    ("content", "problem", "remedy"),
    [
        ("user,item\nu,i\n".encode("utf-16"), "is UTF-16 text", "iconv -f UTF-16"),
        ("user,item\nu,i\n".encode("utf-16-le") * 30, "is UTF-16 text", "iconv"),
        (b"user,item\ru,i\rv,j\r", "old Macintosh", "tr "),
        (b'{"user": 1, "item": 2}\n{"user": 1, "item": 3}\n', "holds JSON", "read_ndjson"),
        (b"BZh91AY&SY", "compressed", "bunzip2"),
        (b"\xfd7zXZ\0\0", "compressed", "unxz"),
    ],
)
def test_what_is_no_table_has_a_remedy(tmp_path: Path, content: bytes, problem: str, remedy: str) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes(content)
    with pytest.raises(InputError, match=problem) as caught:
        find_files(str(path))
    assert remedy in caught.value.remedy


def test_the_remedies_for_json_and_folders_work(tmp_path: Path) -> None:
    import subprocess
    import sys
    import zipfile

    path = tmp_path / "x.jsonl"
    path.write_text('{"user": 1, "item": 2}\n{"user": 1, "item": 3}\n')
    with pytest.raises(InputError) as caught:
        find_files(str(path))
    command = caught.value.remedy.partition("for lines of JSON: ")[2].replace("python ", f"{sys.executable} ", 1)
    subprocess.run(command, shell=True, check=True, cwd=tmp_path)
    assert read(tmp_path / "x.parquet") == [(1, 2), (1, 3)]

    folder = tmp_path / "hive"
    for year in ("2020", "2021"):
        (folder / f"year={year}").mkdir(parents=True)
        pl.DataFrame({"user": [1], "item": [2]}).write_parquet(folder / f"year={year}" / "part.parquet")
    (folder / "_SUCCESS").touch()
    with pytest.raises(InputError, match="is a folder") as caught:
        find_files(str(folder))
    assert len(find_files(caught.value.remedy.split("'")[1])) == 2

    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.write(path, "x.jsonl")
    with pytest.raises(InputError, match=r"zip archive \(x.jsonl\)") as caught:
        find_files(str(tmp_path / "x.zip"))
    assert "unzip" in caught.value.remedy


def test_the_count_is_held_against_what_was_read(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("user,item\nu,i\nv,j\n")
    (file,) = find_files(str(path))
    check_count([file], 2)
    object.__setattr__(file, "record_count", layout.RecordCount(3, False))
    with pytest.raises(InputError, match=r"x.csv has 3 rows, but 2 could be read"):
        check_count([file], 2)
