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


def test_only_the_users_of_a_file(
    shop: tuple[Registered, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    which = WhichModel(name=shop[0].name)
    recommend(out=tmp_path / "all.parquet", k=3, which=which)
    every = pl.read_parquet(tmp_path / "all.parquet")
    for name, content, known in (
        ("a.csv", "user,segment\nu5,x\nu2,y\nu5,x\nstranger,z\n", ["u5", "u2"]),
        ("b.tsv", "who\nu1\n", ["u1"]),
    ):
        (tmp_path / name).write_text(content)
        capsys.readouterr()
        assert recommend(out=tmp_path / "some.parquet", k=3, which=which, users=str(tmp_path / name)) == 0
        found = pl.read_parquet(tmp_path / "some.parquet")
        assert found["user"].unique(maintain_order=True).to_list() == known
        for user in known:
            assert found.filter(pl.col("user") == user).equals(every.filter(pl.col("user") == user))
        said = " ".join(capsys.readouterr().out.split())
        assert f"{3 * len(known)} rows for {len(known)} users" in said
        assert ("1 users of" in said and "'stranger'" in said) == ("stranger" in content)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("user\nu1\n \n", "row 2 .* has no user in column 'user'"),
        ("user\nnobody\n", "none of its 1 users is one of the model .*'nobody'"),
        ("colour,size\nred,3\n", "no column looks like the user; its columns are 'colour', 'size'"),
        ("user\n", "no interactions|no rows|empty"),
        (None, "there is no such file"),
    ],
)
def test_a_file_of_users_that_is_none(
    content: str | None, problem: str, shop: tuple[Registered, str], tmp_path: Path
) -> None:
    if content is not None:
        (tmp_path / "some.csv").write_text(content)
    with pytest.raises(InputError, match=problem):
        recommend(out=tmp_path / "o.parquet", which=WhichModel(name=shop[0].name), users=str(tmp_path / "some.csv"))
    assert not (tmp_path / "o.parquet").exists()
