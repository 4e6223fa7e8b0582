"""Data that cannot be judged, or that are another shop's, by the commands that a user types."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tests.shell import SMALL, User


def purchases(seed: int, prefix: str, n_users: int = 80, n_items: int = 60) -> pl.DataFrame:
    """Tastes of two groups, each user with at least eight items."""
    rng = np.random.default_rng(seed)
    rows = [
        (f"{prefix}u{user}", f"{prefix}i{item}")
        for user in range(n_users)
        for item in rng.choice(np.arange(user % 2, n_items, 2), 10, replace=False)
    ]
    return pl.DataFrame(rows, schema=["user", "item"], orient="row")


@pytest.fixture
def somebody(tmp_path: Path) -> User:
    (tmp_path / "small.toml").write_text(SMALL)
    return User(tmp_path)


def test_two_shops_with_files_of_one_name_never_have_one_champion(somebody: User, tmp_path: Path) -> None:
    for number, shop in enumerate(("a", "b")):
        (tmp_path / shop).mkdir()
        purchases(number, shop).write_csv(tmp_path / shop / "purchases.csv")
    first = somebody("run", "--config", "small.toml", "--data", "a/purchases.csv")
    assert first.returncode == 0, first.stderr
    champion = somebody("models", "list")
    other = somebody("run", "--config", "small.toml", "--data", "b/purchases.csv")
    assert other.returncode == 2
    assert "remedy:" in other.stderr
    assert "registry.model_name" in other.stderr
    assert somebody("models", "list").stdout == champion.stdout
    named = somebody(
        "run", "--config", "small.toml", "--data", "b/purchases.csv", "--set", "registry.model_name=shop-b"
    )
    assert named.returncode == 0, named.stderr
    assert "shop-b" in somebody("models", "list").stdout


def test_a_test_file_of_strangers_is_refused_and_nothing_is_promoted(somebody: User, tmp_path: Path) -> None:
    purchases(0, "a").write_csv(tmp_path / "train.csv")
    purchases(1, "b").write_csv(tmp_path / "test.csv")
    words = ("--train", "train.csv", "--test", "test.csv", "--set", "data.split=given")
    found = somebody("run", "--config", "small.toml", *words)
    assert found.returncode == 2
    assert "test" in found.stderr
    assert "remedy:" in found.stderr
    assert not list(tmp_path.glob("work/mlflow/**/MLmodel"))


def test_items_without_embeddings_are_told_on_the_console(somebody: User, tmp_path: Path) -> None:
    rows = purchases(0, "a")
    rows.write_csv(tmp_path / "purchases.csv")
    rng = np.random.default_rng(0)
    (tmp_path / "mine").mkdir()
    for side, ids in (("users", rows["user"].unique()), ("items", rows["item"].unique().sort()[3:])):
        numbers = pl.DataFrame(rng.normal(size=(len(ids), 4)), schema=[f"x{n}" for n in range(4)], orient="row")
        numbers.insert_column(0, ids.alias("id")).write_parquet(tmp_path / "mine" / f"{side}.parquet")
    words = (
        "--config",
        "small.toml",
        "--set",
        "teacher.kind=features",
        "teacher.features=mine",
        "data.min_user_interactions=1",
        "data.min_item_interactions=1",
    )
    found = somebody("run", *words, "registry.enabled=false", "baselines.models=none")
    assert found.returncode == 0, found.stderr
    assert "items: 57 with features, 3 without, which score 0 everywhere" in found.stderr
