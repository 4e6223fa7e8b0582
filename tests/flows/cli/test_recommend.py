"""`freqd recommend` of a registered model."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from flows.cli.model_options import Index, WhichModel
from flows.cli.recommend import recommend
from freqd.errors import InputError
from tasks.mlops.champion import Registered
from tests.serve.http.shop import USERS, make_recommender


def test_the_file_holds_what_each_user_would_be_answered(
    shop: tuple[Registered, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    registered, version = shop
    assert recommend(out=tmp_path / "all.parquet", k=5, which=WhichModel(name=registered.name)) == 0
    found = pl.read_parquet(tmp_path / "all.parquet")
    expected = make_recommender().recommend([f"u{i}" for i in range(USERS)], k=5)
    assert found.drop("score").equals(expected.drop("score"))
    assert f"version {version}" in capsys.readouterr().out
    with pytest.raises(InputError, match=r"\.parquet"):
        recommend(out=tmp_path / "all.csv", which=WhichModel(name=registered.name))


def test_without_a_registry_it_says_so_and_makes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    with pytest.raises(InputError, match="no model registry below"):
        recommend(out=tmp_path / "all.parquet", which=WhichModel(workdir=tmp_path / "work"))
    assert list(tmp_path.iterdir()) == []


def test_with_an_index_it_says_how_well_it_finds(
    shop: tuple[Registered, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("faiss")
    which = WhichModel(name=shop[0].name)
    for name, index in (("exact", Index(index="exact")), ("all", Index(index="faiss", index_recall=1.0))):
        assert recommend(out=tmp_path / f"{name}.parquet", k=5, which=which, index=index) == 0
    assert "recall at 20 1.000" in " ".join(capsys.readouterr().out.split())
    one, other = (pl.read_parquet(tmp_path / f"{name}.parquet") for name in ("exact", "all"))
    assert one.drop("score").equals(other.drop("score"))
