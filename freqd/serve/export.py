"""Features for other systems: safetensors, npz or Parquet, with ids; readable again as external embeddings."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import polars as pl
from safetensors import SafetensorError
from safetensors.numpy import save_file

from freqd.embeddings import Embeddings, FloatMatrix
from freqd.errors import InputError
from freqd.storage.files import replacing, storage_error

Format = Literal["safetensors", "npz", "parquet"]
_PARQUET_FILES = ("users.parquet", "items.parquet")


def export_features(
    features: Embeddings, user_ids: pl.Series, item_ids: pl.Series, target: Path, form: Format | None = None
) -> Path:
    """Write features with their ids; what was at ``target`` before is replaced at once or not at all.

    - safetensors: ``users``, ``items`` float32; ``user_ids``, ``item_ids`` uint8 (n, width): UTF-8, zero-padded.
    - npz: the same four arrays, ids as fixed-width text (read it with ``allow_pickle=False``).
    - parquet: a folder with ``users.parquet`` and ``items.parquet``: ``id`` (text), ``features`` (array of float32).

    Args:
        features: what to write.
        user_ids, item_ids: (n_users,), (n_items,) ids; position is the row.
        target: file (safetensors, npz) or folder (parquet).
        form: default: what the ending of ``target`` says, and a name without an ending is a Parquet folder.

    Returns:
        ``target``.

    Raises:
        InputError: the ending is unknown, or ``target`` cannot be written.
        ValueError: another number of ids than rows.
    """
    for ids, rows, side in ((user_ids, features.users, "user"), (item_ids, features.items, "item")):
        if len(ids) != len(rows):
            raise ValueError(f"{len(ids)} {side} ids for {len(rows)} rows")
    users, items = user_ids.cast(pl.String), item_ids.cast(pl.String)
    writers: dict[Format, Callable[[Path], None]] = {
        "safetensors": lambda path: _write_safetensors(path, features, users, items),
        "npz": lambda path: _write_npz(path, features, users, items),
        "parquet": lambda path: _write_parquet(path, features, users, items),
    }
    chosen = form or form_of(target)
    check_target(target, chosen)
    place = target.resolve()  # of a link, what it points to is replaced
    try:
        with replacing(place) as made:
            writers[chosen](made)
    except OSError as error:
        raise storage_error(error, place.parent) from error
    return target


def check_target(target: Path, form: Format) -> None:
    """See that nothing but an earlier export is replaced.

    Raises:
        InputError: at ``target`` is a folder where a file is to be, a file where a folder is to be, or a folder that holds
            anything else than the two files of an export.
    """
    if not target.exists():
        return
    if form != "parquet":
        if not target.is_file():
            raise InputError(
                f"{target} is a folder, and a file is to be written there", "name a file that is not there yet"
            )
        return
    if not target.is_dir():
        raise InputError(
            f"{target} is a file, and a folder is to be written there", "name a folder that is not there yet"
        )
    others = sorted(path.name for path in target.iterdir() if path.name not in _PARQUET_FILES or not path.is_file())
    if others:
        listed = ", ".join(others[:3]) + (", ..." if len(others) > 3 else "")
        raise InputError(
            f"the folder {target} holds other things ({listed}), which an export would delete",
            f"name a folder of its own, for example {target / 'features'}",
        )


def form_of(target: Path) -> Format:
    """The format by the ending of a name.

    Raises:
        InputError: the ending is unknown.
    """
    forms: dict[str, Format] = {".safetensors": "safetensors", ".npz": "npz", "": "parquet"}
    if target.suffix not in forms:
        raise InputError(
            f"cannot tell the format from the name {target.name}",
            "end it in .safetensors or .npz, or leave the ending away for a folder of Parquet files",
        )
    return forms[target.suffix]


def _write_safetensors(path: Path, features: Embeddings, users: pl.Series, items: pl.Series) -> None:
    tensors: dict[str, npt.NDArray[np.float32] | npt.NDArray[np.uint8]] = {
        "users": np.ascontiguousarray(features.users),
        "items": np.ascontiguousarray(features.items),
        "user_ids": _padded(users),
        "item_ids": _padded(items),
    }
    try:
        save_file(tensors, path)
    except SafetensorError as error:  # what safetensors makes of a full disk or a missing folder
        raise OSError(0, str(error)) from error


def _write_npz(path: Path, features: Embeddings, users: pl.Series, items: pl.Series) -> None:
    with path.open("wb") as file:
        np.savez(
            file,
            users=features.users,
            items=features.items,
            user_ids=np.array(users.to_list(), dtype=np.str_),
            item_ids=np.array(items.to_list(), dtype=np.str_),
        )


def _write_parquet(path: Path, features: Embeddings, users: pl.Series, items: pl.Series) -> None:
    path.mkdir()
    sides: tuple[tuple[str, pl.Series, FloatMatrix], ...] = (
        ("users", users, features.users),
        ("items", items, features.items),
    )
    for name, ids, rows in sides:
        column = pl.Series("features", np.ascontiguousarray(rows), dtype=pl.Array(pl.Float32, features.dim))
        pl.DataFrame({"id": ids, "features": column}).write_parquet(path / f"{name}.parquet", statistics=False)


def _padded(ids: pl.Series) -> npt.NDArray[np.uint8]:
    """(n, width) bytes of the ids in UTF-8, filled up with zeros."""
    encoded = np.array([value.encode() for value in ids], dtype=np.bytes_)
    return np.frombuffer(encoded.tobytes(), np.uint8).reshape(len(ids), -1)
