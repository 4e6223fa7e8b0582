from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freqd.embeddings import Embeddings
from freqd.errors import InputError
from freqd.serve import export, export_features
from freqd.serve.export import check_target
from freqd.teachers.external import load_features

RNG = np.random.default_rng(0)
TABLE = Embeddings(RNG.standard_normal((3, 4)).astype(np.float32), RNG.standard_normal((2, 4)).astype(np.float32))
USERS, ITEMS = pl.Series(["käufer 1", "2", "user-three"]), pl.Series(["10", "9"])
TARGETS = ["features.safetensors", "features.npz", "features"]


@pytest.mark.parametrize("name", TARGETS)
def test_what_is_exported_can_be_brought_again(tmp_path: Path, name: str) -> None:
    target = export_features(TABLE, USERS, ITEMS, tmp_path / "new" / name)
    found = load_features(target, USERS.reverse(), ITEMS)
    np.testing.assert_array_equal(found.features.users, TABLE.users[::-1])
    np.testing.assert_array_equal(found.features.items, TABLE.items)
    assert found.info["users"]["matched"] == 3
    assert [path.name for path in target.parent.iterdir()] == [name]


@settings(max_examples=25)
@given(
    ids=st.lists(
        st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1),
        min_size=1,
        max_size=5,
        unique=True,
    )
)
@pytest.mark.parametrize("name", TARGETS)
def test_any_text_is_an_id(tmp_path_factory, name: str, ids: list[str]) -> None:
    table = Embeddings(np.arange(len(ids), dtype=np.float32)[:, None], np.ones((2, 1), np.float32))
    target = export_features(table, pl.Series(ids), ITEMS, tmp_path_factory.mktemp("export") / name)
    np.testing.assert_array_equal(load_features(target, pl.Series(ids), ITEMS).features.users, table.users)


def test_integer_ids_are_exported_as_text(tmp_path: Path) -> None:
    export_features(TABLE, pl.Series([1, 2, 3]), ITEMS, tmp_path / "features.npz")
    with np.load(tmp_path / "features.npz", allow_pickle=False) as archive:
        assert archive["user_ids"].tolist() == ["1", "2", "3"]
        assert archive["users"].dtype == np.float32


@pytest.mark.parametrize("name", TARGETS)
def test_an_older_export_is_replaced(tmp_path: Path, name: str) -> None:
    export_features(TABLE, USERS, ITEMS, tmp_path / name)
    doubled = Embeddings(2 * TABLE.users, TABLE.items)
    export_features(doubled, USERS, ITEMS, tmp_path / name)
    np.testing.assert_array_equal(load_features(tmp_path / name, USERS, ITEMS).features.users, doubled.users)
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize(
    ("name", "writer"), list(zip(TARGETS, ["_write_safetensors", "_write_npz", "_write_parquet"], strict=True))
)
def test_a_failing_export_leaves_the_older_one(tmp_path: Path, name: str, writer: str, monkeypatch) -> None:
    export_features(TABLE, USERS, ITEMS, tmp_path / name)

    def full(path: Path, *args: object) -> None:
        path.write_bytes(b"half a file")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(export, writer, full)
    with pytest.raises(InputError, match="No space left on device"):
        export_features(TABLE, USERS, ITEMS, tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    np.testing.assert_array_equal(load_features(tmp_path / name, USERS, ITEMS).features.users, TABLE.users)


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for name in TARGETS:
        with pytest.raises(InputError, match="cannot write below"):
            export_features(TABLE, USERS, ITEMS, tmp_path / "file" / name)


def test_an_unknown_ending_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"features\.csv"):
        export_features(TABLE, USERS, ITEMS, tmp_path / "features.csv")
    export_features(TABLE, USERS, ITEMS, tmp_path / "features.v2", "parquet")
    assert (tmp_path / "features.v2" / "users.parquet").is_file()


def test_ids_and_rows_must_be_as_many(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="2 user ids for 3 rows"):
        export_features(TABLE, USERS[:2], ITEMS, tmp_path / "features.npz")


@pytest.mark.parametrize("inside", ["purchases.csv", "store/index/x.json", "users.parquet/x"])
def test_a_folder_of_other_things_is_refused_and_left_as_it_is(tmp_path: Path, inside: str) -> None:
    folder = tmp_path / "mine"
    (folder / inside).parent.mkdir(parents=True)
    (folder / inside).write_text("mine")
    with pytest.raises(InputError, match="holds other things") as caught:
        check_target(folder, "parquet")
    assert str(folder / "features") in caught.value.remedy
    with pytest.raises(InputError):
        export_features(TABLE, USERS, ITEMS, folder)
    assert (folder / inside).read_text() == "mine"
    with pytest.raises(InputError, match="is a folder"):
        check_target(folder, "npz")
    with pytest.raises(InputError, match="is a file"):
        check_target(folder / inside, "parquet")
