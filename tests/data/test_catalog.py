from __future__ import annotations

import os
import re
import zipfile
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from freqd.config import ColumnConfig, DataConfig
from freqd.data import Places, Split, catalog, formats
from freqd.errors import InputError

Run = Callable[..., Split]


def shared() -> Path | None:
    """Real data beside the project, where there are any."""
    named = os.environ.get("FREQD_DATA_DIR")
    folder = Path(named) if named else Path(__file__).parents[2].parent / "shared" / "data"
    return folder if folder.is_dir() else None


def test_the_catalogue_is_complete() -> None:
    wanted = {"grocery", "movielens-100k", "movielens-1m", "citeulike", "gowalla", "yelp2018", "amazon-book"}
    assert set(catalog.CATALOG) == wanted
    for named in catalog.CATALOG.values():
        shown = named.as_dict()
        assert shown["owner"]
        assert shown["licence"]
        assert shown["files"]
        assert all(re.fullmatch("sha256:[0-9a-f]{64}|git:[0-9a-f]{40}", file.checksum) for file in named.downloads)


def test_grocery_matches_its_description() -> None:
    named = catalog.CATALOG["grocery"]
    located = catalog.find("grocery", None, Path("unused"))
    user, item = named.columns.user, named.columns.item
    assert user is not None
    assert item is not None
    counts = located.files["interactions"].scan().select(pl.col(user).n_unique(), pl.col(item).n_unique(), pl.len())
    assert counts.collect().row(0) == (named.users, named.items, named.interactions)


def test_unknown() -> None:
    with pytest.raises(InputError, match="no data set called 'x'"):
        catalog.find("x", None, Path("unused"))


def test_a_folder_with_the_owners_files_is_enough(tmp_path: Path) -> None:
    folder = tmp_path / "data" / "yelp2018"
    folder.mkdir(parents=True)
    (folder / "train.txt").write_text("0 5 6 7\n1 5\n2\n3 \n")
    (folder / "test.txt").write_text("0 8\n1 6 7 \n")
    located = catalog.find("yelp2018", tmp_path / "data", tmp_path / "cache")
    train, test = (located.files[part].scan().collect().rows() for part in ("train", "test"))
    assert train == [(0, 5), (0, 6), (0, 7), (1, 5)]
    assert test == [(0, 8), (1, 6), (1, 7)]
    assert not (folder / "train.parquet").exists(), "the user's folder is not written to"


@pytest.mark.parametrize(
    ("name", "member", "text"),
    [
        ("movielens-100k", "ml-100k/u.data", "196\t242\t3\t881250949\n186\t302\t3\t891717742\n"),
        ("movielens-1m", "ml-1m/ratings.dat", "196::242::3::881250949\n186::302::3::891717742\n"),
    ],
)
def test_movielens_archives(tmp_path: Path, name: str, member: str, text: str) -> None:
    folder = tmp_path / catalog.CATALOG[name].folders[0]
    folder.mkdir()
    with zipfile.ZipFile(folder / f"{folder.name}.zip", "w") as packed:
        packed.writestr(member, text)
    rows = catalog.find(name, tmp_path, tmp_path / "cache").files["interactions"].scan().collect()
    assert rows.rows() == [(196, 242, 3, 881250949), (186, 302, 3, 891717742)]


def test_citeulike_is_split_as_its_authors_do(tmp_path: Path) -> None:
    lines = ["4 1 2 3 4", "5 9 3 5 7 8", "11 " + " ".join(str(n) for n in range(20, 31))]
    (tmp_path / "users.dat").write_text("\n".join(lines) + "\n")
    parts = formats.citeulike(tmp_path)
    assert parts["train"].filter(pl.col("user") == 0).rows() == [(0, 4), (0, 0), (0, 1), (0, 2)]
    assert parts["valid"].rows() == [(1, 13)]
    assert parts["test"].rows() == [(0, 3), (1, 14), (1, 15)]


def test_a_download_is_converted_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def fetch(remote: catalog.Remote, folder: Path, **options: object) -> Path:
        asked.append(remote.filename)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / remote.filename).write_text("0 1 2\n1 3\n")
        return folder / remote.filename

    monkeypatch.setattr(catalog, "fetch", fetch)
    for _ in range(2):
        located = catalog.find("amazon-book", tmp_path / "nowhere", tmp_path)
        assert located.files["train"].scan().collect().height == 3
    assert asked == ["train.txt", "test.txt"]


def test_broken_owner_files(tmp_path: Path) -> None:
    folder = tmp_path / "ml-1m"
    folder.mkdir()
    with zipfile.ZipFile(folder / "ml-1m.zip", "w") as packed:
        packed.writestr("other", "")
    with pytest.raises(InputError, match="not as expected"):
        catalog.find("movielens-1m", tmp_path, tmp_path / "cache")
    (folder / "ml-1m.zip").write_bytes(b"no archive")
    with pytest.raises(InputError, match="not as expected"):
        catalog.find("movielens-1m", tmp_path, tmp_path / "cache")


def test_the_users_columns_win_over_the_catalogues(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "movielens-100k"
    folder.mkdir()
    cell = pl.int_range(400).shuffle(seed=0)  # every user with every item, in random order
    frame = pl.select(user=cell // 20, item=cell % 20, rating=4, timestamp=pl.int_range(900_000_000, 900_000_400))
    frame.write_parquet(folder / "interactions.parquet")
    settings = DataConfig(source=("movielens-100k",), columns=ColumnConfig(time="none"))
    assert run(settings, places=Places(tmp_path, tmp_path / "cache")).info.columns["time"] is None
    assert run(DataConfig(source=("movielens-100k",)), places=Places(tmp_path, tmp_path / "cache")).info.guessed == ()


@pytest.mark.skipif(shared() is None, reason="no folder with real data (FREQD_DATA_DIR)")
@pytest.mark.parametrize("name", ["citeulike", "gowalla", "movielens-100k"])
def test_real_data(run: Run, name: str, tmp_path: Path) -> None:
    folder, named = shared(), catalog.CATALOG[name]
    if not any((folder / sub).is_dir() for sub in (name, *named.folders)):  # type: ignore[operator]
        pytest.skip(f"{name} is not in {folder}")
    split = run(DataConfig(source=(name,)), places=Places(folder, tmp_path / "cache"))
    assert split.info.rows_read == named.interactions
    if named.parts:
        assert (split.n_users, split.n_items) == (named.users, named.items)
        assert sum(split.info.parts.values()) == named.interactions
        assert not split.info.dropped
    if name == "citeulike":
        assert list(split.info.parts.values()) == [98_405, 12_451, 14_724]
