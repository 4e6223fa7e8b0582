import os
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file
from safetensors.torch import save_file as save_torch

from freqd.errors import InputError
from freqd.teachers.external import external_files, features_digest, load_features

USERS = pl.Series(["u1", "u2", "u3", "u4"])
ITEMS = pl.Series(["10", "20", "30"])
RNG = np.random.default_rng(0)
U = RNG.standard_normal((4, 2)).astype(np.float32)
V = RNG.standard_normal((3, 2)).astype(np.float32)
# the files hold the rows in another order than the split
U_ORDER, V_ORDER = np.array([2, 0, 3, 1]), np.array([1, 2, 0])
U_IDS = np.array(USERS.to_list())[U_ORDER]
V_IDS = np.array([10, 20, 30])[V_ORDER]


def padded(ids: np.ndarray) -> np.ndarray:
    encoded = np.char.encode(ids.astype(str))
    return np.frombuffer(encoded.tobytes(), np.uint8).reshape(len(ids), -1)


def npz(folder: Path, **changes: np.ndarray) -> Path:
    path = folder / "teacher.npz"
    arrays = {"users": U[U_ORDER], "items": V[V_ORDER], "user_ids": U_IDS, "item_ids": V_IDS} | changes
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    return path


def parquet(folder: Path, users: pl.DataFrame | None = None, items: pl.DataFrame | None = None) -> Path:
    lists = pl.DataFrame({"user_id": U_IDS, "vector": U[U_ORDER].tolist()})
    wide = pl.DataFrame({"f0": V[V_ORDER, 0], "item_id": V_IDS, "f1": V[V_ORDER, 1]})
    (lists if users is None else users).write_parquet(folder / "users.parquet")
    (wide if items is None else items).write_parquet(folder / "items.parquet")
    return folder


def safetensors(folder: Path, integer_items: bool = True) -> Path:
    path = folder / "teacher.safetensors"
    item_ids = V_IDS.astype(np.int64) if integer_items else padded(V_IDS)
    save_file({"users": U[U_ORDER], "items": V[V_ORDER], "user_ids": padded(U_IDS), "item_ids": item_ids}, path)
    return path


@pytest.mark.parametrize("make", [npz, parquet, safetensors, lambda folder: safetensors(folder, integer_items=False)])
def test_rows_are_put_in_the_order_of_the_splits_ids(tmp_path, make) -> None:
    brought = load_features(make(tmp_path), USERS, ITEMS)
    np.testing.assert_array_equal(brought.features.users, U)
    np.testing.assert_array_equal(brought.features.items, V)
    assert brought.info["users"] == {"rows": 4, "by_id": True, "matched": 4, "missing": 0, "unused": 0}
    assert brought.info["warnings"] == []


@settings(max_examples=25)
@given(order=st.permutations(range(4)))
def test_the_order_in_the_file_does_not_matter(tmp_path_factory, order: list[int]) -> None:
    path = npz(tmp_path_factory.mktemp("brought"), users=U[order], user_ids=np.array(USERS.to_list())[order])
    np.testing.assert_array_equal(load_features(path, USERS, ITEMS).features.users, U)


def test_bytes_as_ids_and_halves_as_features(tmp_path) -> None:
    found = load_features(npz(tmp_path, user_ids=U_IDS.astype("S")), USERS, ITEMS)
    np.testing.assert_array_equal(found.features.users, U)
    path = tmp_path / "half.safetensors"
    save_torch({"users": torch.ones(4, 2, dtype=torch.bfloat16), "items": torch.ones(3, 2, dtype=torch.float16)}, path)
    found = load_features(path, USERS, ITEMS)
    assert found.features.users.dtype == np.float32
    assert (found.features.items == 1).all()


def test_float64_is_converted(tmp_path) -> None:
    found = load_features(npz(tmp_path, users=U[U_ORDER].astype(np.float64)), USERS, ITEMS)
    np.testing.assert_array_equal(found.features.users, U)


def test_fixed_size_list_columns_are_read(tmp_path) -> None:
    users = pl.DataFrame({"id": U_IDS, "features": U[U_ORDER]}, schema_overrides={"features": pl.Array(pl.Float32, 2)})
    np.testing.assert_array_equal(load_features(parquet(tmp_path, users), USERS, ITEMS).features.users, U)


def test_what_is_missing_is_zero_and_counted_and_what_is_too_much_is_ignored(tmp_path) -> None:
    ids = np.array(["u4", "u1", "u2", "stranger"])
    found = load_features(npz(tmp_path, user_ids=ids), USERS, ITEMS)
    np.testing.assert_array_equal(found.features.users[0], U[U_ORDER][1])
    assert not found.features.users[2].any()
    assert found.info["users"] == {"rows": 4, "by_id": True, "matched": 3, "missing": 1, "unused": 1}
    assert len(found.info["warnings"]) == 1
    assert "no features for 1 of 4 users (25%)" in found.info["warnings"][0]


def test_ids_with_a_point_and_a_zero_are_those_of_the_data(tmp_path) -> None:
    """The data's ids 10.0 are read as 10; features with the same texts have to find them."""
    path = npz(tmp_path, item_ids=np.array([f"{n}.0" for n in V_IDS]))
    np.testing.assert_array_equal(load_features(path, USERS, ITEMS).features.items, V)
    both = npz(tmp_path, items=np.ones((4, 2), np.float32), item_ids=np.array(["10", "10.0", "20.0", "30.0"]))
    with pytest.raises(InputError, match=r"ids that are one, such as 12 and 12\.0"):
        load_features(both, USERS, ITEMS)


def test_few_missing_rows_are_no_warning(tmp_path) -> None:
    ids = [f"x{n}" for n in range(20)]
    path = npz(tmp_path, users=np.ones((19, 2), np.float32), user_ids=np.array(ids[:19]))
    found = load_features(path, pl.Series(ids), ITEMS)
    assert found.info["users"]["missing"] == 1
    assert found.info["warnings"] == []


def test_without_ids_rows_are_taken_in_order_if_their_number_fits(tmp_path) -> None:
    found = load_features(npz(tmp_path, users=U, user_ids=None), USERS, ITEMS)
    np.testing.assert_array_equal(found.features.users, U)
    assert not found.info["users"]["by_id"]
    assert "no ids" in found.info["warnings"][0]
    with pytest.raises(InputError, match=r"3 rows and no ids, but the data have 4 users"):
        load_features(npz(tmp_path, users=U[:3], user_ids=None), USERS, ITEMS)


def test_the_users_file_may_change_later(tmp_path) -> None:
    path = tmp_path / "teacher.safetensors"
    save_file({"users": U, "items": V}, path)
    found = load_features(path, USERS, ITEMS)
    with path.open("r+b") as file:
        file.truncate(10)
    np.testing.assert_array_equal(found.features.users, U)


def spoilt(value: float) -> np.ndarray:
    rows = U[U_ORDER].astype(np.float64)
    rows[2, 1] = value
    return rows


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300])
def test_a_value_that_is_no_finite_float32_is_named_with_its_place(tmp_path, value: float) -> None:
    path = npz(tmp_path, users=spoilt(value))
    with pytest.raises(InputError) as caught:
        load_features(path, USERS, ITEMS)
    for part in (str(path), "'users'", "row 2", "column 1", "1 of 4 rows"):
        assert part in caught.value.problem
    assert "u4" not in caught.value.problem, "a user's id is not for logs"
    assert "zero" in caught.value.remedy


def test_a_null_or_nan_in_parquet_is_named_with_its_column(tmp_path) -> None:
    wide = pl.DataFrame({"item_id": V_IDS, "taste": [1.0, None, 2.0], "price": [0.0, 1.0, 2.0]})
    with pytest.raises(InputError, match=r"items\.parquet: row 1 \(id '30'\), column taste holds nan"):
        load_features(parquet(tmp_path, items=wide), USERS, ITEMS)
    lists = pl.DataFrame({"id": U_IDS, "v": [[0.0, 1.0], [1.0, 1.0], [1.0, None], [2.0, 1.0]]})
    with pytest.raises(InputError, match=r"row 2, column v\[1\] holds nan"):
        load_features(parquet(tmp_path, lists), USERS, ITEMS)


REFUSED = [
    ({"users": U[U_ORDER].astype(str)}, "numbers are expected"),
    ({"users": U[U_ORDER] > 0}, "numbers are expected"),
    ({"users": U[:, 0]}, r"shape \(4,\)"),
    ({"users": U[:, :0]}, r"shape \(4, 0\)"),
    ({"users": U[U_ORDER][:, :1]}, r"1 features a row but .*'items' has 2"),
    ({"users": None}, "no array 'users'"),
    ({"users": U[:3]}, "3 rows but 4 ids"),
    ({"user_ids": np.array(["u1", "u2", "u2", "u3"])}, r"an id more than once \(rows \[1, 2\]\)"),
    ({"user_ids": np.array([0.5, 1.5, 2.5, 3.5])}, "'user_ids' has shape"),
    ({"user_ids": np.array(["a", "b", "c", "u1"])}, r"no features for 3 of 4 users \(for example 'a0'"),
    ({"user_ids": np.array([{}, 1, 2, 3], dtype=object)}, "cannot be read as npz"),
]


@pytest.mark.parametrize(("changes", "message"), REFUSED)
def test_what_does_not_fit_is_refused(tmp_path, changes: dict[str, np.ndarray], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        load_features(npz(tmp_path, **changes), USERS, ITEMS)
    assert str(tmp_path) in caught.value.problem
    assert caught.value.remedy


REFUSED_FRAMES = [
    (pl.DataFrame({"id": U_IDS, "name": list("abcd")}), "column 'name' holds String"),
    (pl.DataFrame({"id": U_IDS}), "no feature column"),
    (pl.DataFrame({"id": U_IDS, "v": [[1.0, 2.0], [1.0], [1.0, 2.0], [1.0, 2.0]]}), "row 1 has 1 numbers"),
    (pl.DataFrame({"id": U_IDS, "v": [["a"], ["b"], ["c"], ["d"]]}), "holds lists of String"),
    (pl.DataFrame({"id": [1.0, 2.0, 3.0, 4.0], "v": [1.0, 2.0, 3.0, 4.0]}), "ids of type Float64"),
    (pl.DataFrame({"id": ["u1", None, "u2", "u3"], "v": [1.0, 2.0, 3.0, 4.0]}), "no id in row 1"),
    (
        pl.DataFrame({"id": ["u1", "u2", "u1", "u3"], "v": [1.0, 2.0, 3.0, 4.0]}),
        r"an id more than once \(rows \[0, 2\]\)",
    ),
    (pl.DataFrame({"id": U_IDS, "v": [[1.0], [2.0], [3.0], [4.0]], "w": [[1.0]] * 4}), "holds List"),
    (pl.DataFrame({"id": U_IDS, "v": [[1.0, 2.0], None, [1.0, 2.0], [1.0, 2.0]]}), "row 1 has 0 numbers"),
]


@pytest.mark.parametrize(("users", "message"), REFUSED_FRAMES)
def test_parquet_that_does_not_fit_is_refused(tmp_path, users: pl.DataFrame, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        load_features(parquet(tmp_path, users), USERS, ITEMS)
    assert "users.parquet" in caught.value.problem


def test_files_that_are_not_there_or_not_what_they_say(tmp_path) -> None:
    with pytest.raises(InputError, match="do not exist"):
        load_features(tmp_path / "nowhere.npz", USERS, ITEMS)
    with pytest.raises(InputError, match=r"no users\.parquet and no items\.parquet"):
        load_features(tmp_path, USERS, ITEMS)
    for name in ("text.npz", "text.safetensors"):
        (tmp_path / name).write_text("not that")
        with pytest.raises(InputError, match=name):
            load_features(tmp_path / name, USERS, ITEMS)
    (tmp_path / "features.csv").write_text("a,b")
    with pytest.raises(InputError, match=r"unknown ending '\.csv'"):
        load_features(tmp_path / "features.csv", USERS, ITEMS)
    for name in ("users.parquet", "items.parquet"):
        (tmp_path / name).write_text("not that")
    with pytest.raises(InputError, match="not a readable Parquet file"):
        load_features(tmp_path, USERS, ITEMS)


def test_no_pickle_is_ever_run(tmp_path) -> None:
    class Bomb:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "boom"),)

    np.savez(tmp_path / "evil.npz", users=np.array([Bomb()], dtype=object), items=V)
    with pytest.raises(InputError):
        load_features(tmp_path / "evil.npz", USERS, ITEMS)
    assert not (tmp_path / "boom").exists()


def test_the_digest_follows_the_content(tmp_path) -> None:
    folder = parquet(tmp_path)
    first = features_digest(folder)
    assert first == features_digest(str(folder))
    pl.DataFrame({"item_id": V_IDS, "f": [1.0, 2.0, 3.0]}).write_parquet(folder / "items.parquet")
    assert features_digest(folder) != first
    assert [path.name for path in external_files(folder)] == ["users.parquet", "items.parquet"]
