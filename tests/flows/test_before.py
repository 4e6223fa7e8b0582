"""A working directory that an earlier version of freqd made: what it holds goes on as it was.

``before/made-by-0.1.0.tar.xz`` holds one of freqd 0.1.0: two runs on planted purchases, two versions of a model, the second
one promoted by hand, and a weekly schedule. Pictures and pages were left out of it.
"""

from __future__ import annotations

import json
import sqlite3
import tarfile
from pathlib import Path

import polars as pl
import pytest

from tests.shell import User, wait_for

MODEL = "freqd-purchases"
PACKED = Path(__file__).with_name("before") / "made-by-0.1.0.tar.xz"
PLACE = "@FOLDER@"


@pytest.fixture
def user(tmp_path: Path) -> User:
    """Somebody whose working directory was made by an earlier version."""
    with tarfile.open(PACKED) as packed:
        packed.extractall(tmp_path, filter="data")
    for path in tmp_path.rglob("*"):
        if path.suffix == ".db":
            _put_into(path, str(tmp_path))
        elif path.is_file() and PLACE.encode() in (content := path.read_bytes()):
            path.write_bytes(content.replace(PLACE.encode(), str(tmp_path).encode()))
    return User(tmp_path)


def _put_into(database: Path, folder: str) -> None:
    """The folder's name in all texts of a database."""
    with sqlite3.connect(database) as connection:
        tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        for (table,) in tables:
            for _, column, *_ in connection.execute(f'PRAGMA table_info("{table}")').fetchall():
                connection.execute(
                    f'UPDATE "{table}" SET "{column}" = replace("{column}", ?, ?) WHERE typeof("{column}") = \'text\'',
                    (PLACE, folder),
                )
    connection.close()


def test_its_models_are_listed_served_and_rolled_back(user: User) -> None:
    listed = user("models", "list")
    assert listed.returncode == 0, listed.stderr
    assert [line.split()[:2] for line in listed.stdout.splitlines()[1:]] == [[MODEL, "2"], [MODEL, "1"]]
    out = user.folder / "lists.parquet"
    assert (done := user("recommend", "--out", out, "--k", "5")).returncode == 0, done.stderr
    assert pl.read_parquet(out).group_by("user").len()["len"].unique().to_list() == [5]
    back = user("rollback", "--why", "it was better")
    assert back.returncode == 0, back.stderr
    trail = user("audit").stdout
    assert [line.split()[2] for line in trail.splitlines() if MODEL in line] == [
        "promote",
        "refuse",
        "promote",
        "rollback",
    ]
    assert user("models", "list").stdout.splitlines()[2].split()[2] == "champion"


def test_its_runs_are_reported_and_started_from(user: User) -> None:
    report = user("report", "first")
    assert report.returncode == 0, report.stderr
    assert "was promoted to" in " ".join(report.stdout.split())
    again = user("run", "--config", "small.toml", "--name", "third", "--start-from", "second")
    assert again.returncode == 0, again.stderr
    start = json.loads((user.workspace.runs / "third" / "summary.json").read_text())["start"]
    assert start["run"] == "second"
    assert start["seconds"]["before"]["distill"] > 0


def test_its_champion_is_held_against_new_data(user: User) -> None:
    later = pl.read_csv(user.folder / "purchases.csv").with_columns(pl.col("time") + 20_000_000)
    later.write_csv(user.folder / "later.csv")
    found = user("drift", "--new", user.folder / "later.csv", "--json")
    assert found.returncode in (0, 1), found.stderr
    check = json.loads(found.stdout)
    assert (check["model"], check["version"]) == (MODEL, "2")


@pytest.mark.slow
def test_its_schedule_goes_on(user: User) -> None:
    try:
        assert (done := user("up", *user.ports)).returncode == 0, done.stderr
        shown = wait_for(lambda: user("schedule", "list").stdout, seconds=60)
        assert "weekly" in shown
        assert "0 3 * * 1" in shown
    finally:
        user("down")
