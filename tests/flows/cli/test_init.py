"""`freqd init`: a look at the user's data, and a settings file that `freqd run` takes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from freqd.config.load import build, read_toml
from tests.shell import freqd_command


def purchases(path: Path, users: int, rows: int) -> None:
    rng = np.random.default_rng(0)
    pl.DataFrame(
        {
            "customer": rng.integers(0, users, rows),
            "article": (60 * rng.random(rows)).astype(int),
            "bought_at": 1_600_000_000 + rng.integers(0, 10_000_000, rows),
        }
    ).write_csv(path)


def test_the_file_says_what_was_found_and_a_run_takes_it(tmp_path: Path) -> None:
    purchases(tmp_path / "shop.csv", 100, 3000)
    pl.DataFrame({"article": range(60), "title": [f"thing {k}" for k in range(60)]}).write_csv(tmp_path / "items.csv")
    found = freqd_command("init", "shop.csv", "--items", "items.csv", "--out", "shop.toml", cwd=tmp_path)
    assert found.returncode == 0, found.stderr
    assert "100 users" in found.stdout
    assert "a guess" in found.stdout
    assert "freqd run --config shop.toml" in found.stdout
    data = build([read_toml(tmp_path / "shop.toml")]).data
    assert data.source == ("shop.csv",)
    assert (data.items, data.split, data.min_user_interactions) == ("items.csv", "time", None)
    assert (data.columns.user, data.columns.item, data.columns.time) == ("customer", "article", "bought_at")
    assert data.columns.weight == "none"
    text = (tmp_path / "shop.toml").read_text()
    assert max(map(len, text.splitlines())) <= 100
    uncommented = [line.removeprefix("# ") for line in text.splitlines()]
    offered = [line for line in uncommented if line.startswith(("dim =", "kind =", "refit =", "samples ="))]
    assert len(offered) == 4


def test_a_smaller_core_is_proposed_where_the_usual_one_drops_much(tmp_path: Path) -> None:
    purchases(tmp_path / "shop.csv", 900, 3000)
    found = freqd_command("init", "shop.csv", cwd=tmp_path)
    assert found.returncode == 0, found.stderr
    assert "With 2 in place of 5" in found.stdout
    data = build([read_toml(tmp_path / "freqd.toml")]).data
    assert (data.min_user_interactions, data.min_item_interactions) == (2, 2)


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ([], "needs files"),
        (["nothing.csv"], "nothing.csv"),
        (["shop.csv", "--out", "shop.csv"], "is there already"),
        (["shop.csv", "--set", "data.columns.user=nobody"], "nobody"),
        (["shop.csv", "--items", "none.csv"], "none.csv"),
    ],
)
def test_wrong_input_writes_nothing(words: list[str], named: str, tmp_path: Path) -> None:
    purchases(tmp_path / "shop.csv", 100, 3000)
    before = (tmp_path / "shop.csv").read_bytes()
    found = freqd_command("init", *words, cwd=tmp_path)
    assert found.returncode == 2
    assert named in found.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["shop.csv"]
    assert (tmp_path / "shop.csv").read_bytes() == before
