"""External embeddings: features that the user's own system made, read, checked and put in the order of the split's ids.

Accepted, always without pickle:

- ``*.safetensors`` and ``*.npz`` with the arrays ``users`` (n, D) and ``items`` (m, D), and optionally ``user_ids``
  (n,) and ``item_ids`` (m,): integers or text. safetensors has no text: there ids of text are a uint8 matrix, UTF-8,
  one id a row, filled up with zeros.
- a folder with ``users.parquet`` and ``items.parquet``: a column with the id (``id``, ``user_id``, ``user``;
  ``item_id``, ``item``) and the features, as one list column or as one numeric column a feature, in their order.

Rows are matched by id. Without ids a table must have exactly one row a user (item) of the split, in its order.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import polars as pl
import torch
from safetensors import SafetensorError, safe_open

from freqd.data.encode import matching_ids
from freqd.data.ids import rows_of
from freqd.embeddings import Embeddings, FloatMatrix
from freqd.errors import InputError
from freqd.pseudonym import shape
from freqd.storage.files import file_digest, text_digest

Side = Literal["users", "items"]
SIDES: tuple[Side, ...] = ("users", "items")

WARN_MISSING = 0.1
"""Share of the split's users (items) without features above which a warning is given."""

REFUSE_MISSING = 0.5
"""Share of the split's users (items) without features above which the features are refused."""


@dataclass(frozen=True)
class ExternalEmbeddings:
    """Features aligned with a split.

    Attributes:
        features: rows in the order of the split's dense ids; zero rows where there is nothing.
        info: per side ``{rows, by_id, matched, missing, unused}``, and ``warnings``.
    """

    features: Embeddings
    info: dict[str, Any]


@dataclass(frozen=True)
class Table:
    """One side as it was found: ``place`` says where, ``columns`` names the features for messages."""

    side: Side
    place: str
    rows: FloatMatrix
    ids: pl.Series | None
    columns: list[str]

    def name(self, row: int) -> str:
        """A row as a message names it; a user's id is not for logs."""
        return f"row {row}" if self.ids is None or self.side == "users" else f"row {row} (id '{self.ids[row]}')"


def external_files(path: str | Path) -> list[Path]:
    """The files that ``path`` stands for.

    Raises:
        InputError: nothing there, or nothing that can be read.
    """
    place = Path(path).expanduser()
    if place.is_dir():
        files = [place / "users.parquet", place / "items.parquet"]
        missing = [file.name for file in files if not file.is_file()]
        if missing:
            raise InputError(
                f"the folder {place} of the external embeddings has no {' and no '.join(missing)}",
                "put users.parquet and items.parquet there, or name one .safetensors or .npz file",
            )
        return files
    if not place.is_file():
        raise InputError(f"the external embeddings {place} do not exist", "check the path in teacher.features")
    if place.suffix not in (".safetensors", ".npz"):
        raise InputError(
            f"the external embeddings {place} have an unknown ending '{place.suffix}'",
            "use a .safetensors or .npz file, or a folder with users.parquet and items.parquet",
        )
    return [place]


def features_digest(path: str | Path) -> str:
    """SHA-256 over the files' names and contents: another digest when any of them changes.

    Raises:
        InputError: as ``external_files``.
    """
    return text_digest(*(f"{file.name}={file_digest(file)}" for file in external_files(path)))


def load_features(path: str | Path, user_ids: pl.Series, item_ids: pl.Series) -> ExternalEmbeddings:
    """Read, check and align the features at ``path``.

    Args:
        path: file or folder, see the module.
        user_ids, item_ids: (n_users,), (n_items,) the split's ids as text; position is the dense id.

    Raises:
        InputError: missing or unreadable files, text where numbers belong, shapes that do not fit, a value that is no
            finite float32, duplicate or missing ids, or more than half of the users or items without features.
    """
    users, items = check_features(path)
    warnings: list[str] = []
    user_rows, user_info = _align(users, user_ids.cast(pl.String), warnings)
    item_rows, item_info = _align(items, item_ids.cast(pl.String), warnings)
    info = {"users": user_info, "items": item_info, "warnings": warnings}
    return ExternalEmbeddings(Embeddings(user_rows, item_rows), info)


def check_features(path: str | Path) -> tuple[Table, Table]:
    """The users' and the items' table at ``path``, checked as far as that goes without the data they belong to.

    Raises:
        InputError: as ``load_features``, but for what only the data can tell.
    """
    found = _read(external_files(path))
    for table in found.values():
        _check_finite(table)
    users, items = found["users"], found["items"]
    if users.rows.shape[1] != items.rows.shape[1]:
        raise InputError(
            f"{users.place} has {users.rows.shape[1]} features a row but {items.place} has {items.rows.shape[1]}",
            "both tables need the same features: a score is the inner product of a user's and an item's row",
        )
    return users, items


# -- reading --------------------------------------------------------------------------------------


def _read(files: list[Path]) -> dict[Side, Table]:
    if len(files) == 2:
        return {side: _parquet_table(file, side) for side, file in zip(SIDES, files, strict=True)}
    file = files[0]
    arrays = _safetensors(file) if file.suffix == ".safetensors" else _npz(file)
    tables: dict[Side, Table] = {}
    for side in SIDES:
        if side not in arrays:
            there = ", ".join(sorted(arrays)) or "nothing"
            raise InputError(f"{file} has no array '{side}' (it has: {there})", f"save the features as '{side}'")
        place = f"{file}, table '{side}'"
        rows = _matrix(arrays[side], place)
        id_name = f"{side[:-1]}_ids"
        ids = _id_series(arrays[id_name], f"{file}, array '{id_name}'") if id_name in arrays else None
        tables[side] = _checked(side, place, rows, ids, [str(column) for column in range(rows.shape[1])])
    return tables


def _safetensors(file: Path) -> dict[str, npt.NDArray[Any]]:
    try:
        with safe_open(file, framework="pt") as opened:
            names = set(opened.keys()) & {"users", "items", "user_ids", "item_ids"}
            tensors: dict[str, torch.Tensor] = {name: opened.get_tensor(name) for name in names}
    except SafetensorError as error:
        raise InputError(f"{file} is not a whole safetensors file: {error}", "write the file again") from error
    # numpy has no bfloat16, and half precision is exact in float32
    small = (torch.bfloat16, torch.float16)
    return {name: (t.float() if t.dtype in small else t).numpy() for name, t in tensors.items()}


def _npz(file: Path) -> dict[str, npt.NDArray[Any]]:
    try:
        with np.load(file, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files if name in ("users", "items", "user_ids", "item_ids")}
    except (ValueError, TypeError, AttributeError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(
            f"{file} cannot be read as npz: {error}",
            "save plain arrays with numpy.savez (numbers, and fixed-width text for ids): objects are not read",
        ) from error


def _parquet_table(file: Path, side: Side) -> Table:
    try:
        frame = pl.read_parquet(file)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise InputError(f"{file} is not a readable Parquet file: {error}", "write the file again") from error
    singular = side[:-1]
    id_column = next((name for name in ("id", f"{singular}_id", singular) if name in frame.columns), None)
    ids = None if id_column is None else _ids_of(frame[id_column], f"{file}, column '{id_column}'")
    features = frame.select(pl.exclude(id_column)) if id_column is not None else frame
    lists = [name for name, kind in features.schema.items() if isinstance(kind, pl.List | pl.Array)]
    if len(lists) == 1:
        place = f"{file}, column '{lists[0]}'"
        rows = _list_matrix(features[lists[0]], place)
        columns = [f"{lists[0]}[{position}]" for position in range(rows.shape[1])]
        return _checked(side, place, rows, ids, columns)
    for name, kind in features.schema.items():
        if not kind.is_numeric():
            raise InputError(
                f"{file}, column '{name}' holds {kind} where numbers are expected",
                f"name the id column 'id' or '{singular}_id', and keep only it and the features "
                "(numeric columns, or one list column)",
            )
    if not features.columns:
        raise InputError(f"{file} has no feature column", "add numeric columns, or one list column, beside the id")
    rows = _matrix(features.cast(pl.Float64).fill_null(np.nan).to_numpy(), str(file))
    return _checked(side, str(file), rows, ids, features.columns)


def _list_matrix(column: pl.Series, place: str) -> FloatMatrix:
    values = column.cast(pl.List(column.dtype.inner)) if isinstance(column.dtype, pl.Array) else column
    lengths = values.list.len().fill_null(0).to_numpy()
    if len(lengths) and (lengths != lengths[0]).any():
        row = int(np.argmax(lengths != lengths[0]))
        raise InputError(
            f"{place}: row {row} has {lengths[row]} numbers, the first row has {lengths[0]}",
            "every row needs the same number of features",
        )
    flat = values.explode(empty_as_null=False)
    if not flat.dtype.is_numeric():
        raise InputError(
            f"{place} holds lists of {flat.dtype} where numbers are expected", "save the features as numbers"
        )
    width = int(lengths[0]) if len(lengths) else 0
    return _matrix(flat.cast(pl.Float64).fill_null(np.nan).to_numpy().reshape(len(values), width), place)


# -- checks ---------------------------------------------------------------------------------------


def _matrix(array: npt.NDArray[Any], place: str) -> FloatMatrix:
    if array.dtype.kind not in "fiu":
        raise InputError(f"{place} holds {array.dtype} where numbers are expected", "save the features as float32")
    if array.ndim != 2 or array.shape[1] == 0:
        raise InputError(f"{place} has shape {array.shape}", "it must have two dimensions: rows and features")
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes inf and is reported with its place
        return np.array(array, dtype=np.float32, order="C")  # a copy: safetensors gives views of the user's file


def _id_series(array: npt.NDArray[Any], place: str) -> pl.Series:
    if array.ndim == 2 and array.dtype == np.uint8:
        try:
            return _ids_of(pl.Series([bytes(row).rstrip(b"\0").decode() for row in array], dtype=pl.String), place)
        except UnicodeDecodeError as error:
            raise InputError(f"{place} is not UTF-8 text", "encode ids as UTF-8, filled up with zeros") from error
    if array.ndim != 1 or array.dtype.kind not in "iuUS":
        raise InputError(
            f"{place} has shape {array.shape} and type {array.dtype}", "ids are one integer or one text a row"
        )
    if array.dtype.kind == "S":
        array = np.char.decode(array, "utf-8")
    return _ids_of(pl.Series(array.tolist(), dtype=pl.String if array.dtype.kind == "U" else None), place)


def _ids_of(ids: pl.Series, place: str) -> pl.Series:
    """Ids as text; integers and text only, none missing, none twice."""
    if not (ids.dtype.is_integer() or ids.dtype == pl.String or isinstance(ids.dtype, pl.Categorical | pl.Enum)):
        raise InputError(
            f"{place} holds ids of type {ids.dtype}", "ids must be integers or text, as in the interactions"
        )
    text = ids.cast(pl.String).alias("id")
    if text.null_count():
        raise InputError(f"{place} has no id in row {text.is_null().arg_max()}", "every row needs an id")
    twice = text.is_duplicated()
    if twice.any():
        rows = twice.arg_true()
        first = text[rows[0]]
        raise InputError(
            f"{place} has an id more than once (rows {(text == first).arg_true().to_list()[:3]})",
            "keep one row an id",
        )
    return text


def _checked(side: Side, place: str, rows: FloatMatrix, ids: pl.Series | None, columns: list[str]) -> Table:
    if ids is not None and len(ids) != len(rows):
        raise InputError(f"{place} has {len(rows)} rows but {len(ids)} ids", "every row needs exactly one id")
    return Table(side, place, rows, ids, columns)


def _check_finite(table: Table) -> None:
    finite = np.isfinite(table.rows)
    if finite.all():
        return
    row = int(np.argmin(finite.all(axis=1)))
    column = int(np.argmin(finite[row]))
    bad_rows = int((~finite.all(axis=1)).sum())
    raise InputError(
        f"{table.place}: {table.name(row)}, column {table.columns[column]} holds {table.rows[row, column]} "
        f"where a finite number is needed ({bad_rows} of {len(table.rows)} rows have such values)",
        "train the teacher again or leave those rows out: rows that are missing become zero",
    )


# -- alignment ------------------------------------------------------------------------------------


def _align(table: Table, wanted: pl.Series, warnings: list[str]) -> tuple[FloatMatrix, dict[str, Any]]:
    """Rows in the order of ``wanted``; zero rows where there is none."""
    side, n = table.side, len(wanted)
    if table.ids is None:
        if len(table.rows) != n:
            raise InputError(
                f"{table.place} has {len(table.rows)} rows and no ids, but the data have {n} {side} after cleaning",
                f"add the ids ({side[:-1]}_ids, or an id column), so that rows can be matched by name",
            )
        warnings.append(f"{table.place} has no ids: its rows are taken to be in the order of the data's {side}")
        return table.rows, {"rows": n, "by_id": False, "matched": n, "missing": 0, "unused": 0}
    ids = matching_ids(wanted, table.ids)
    if ids.drop_nulls().is_duplicated().any():
        raise InputError(f"{table.place} has ids that are one, such as 12 and 12.0", "keep one row an id")
    found = rows_of(wanted, ids)
    has = found >= 0
    missing = n - int(has.sum())
    if missing > REFUSE_MISSING * n:
        told = shape if side == "users" else str
        examples = ", ".join(f"'{told(value)}'" for value in wanted.filter(pl.Series(~has)).head(3))
        brought = ", ".join(f"'{told(value)}'" for value in table.ids.head(3))
        raise InputError(
            f"{table.place} has no features for {missing} of {n} {side} (for example {examples}; its own ids look like "
            f"{brought})",
            f"bring features of the same {side} under the same ids as in the interactions",
        )
    if missing > WARN_MISSING * n:
        warnings.append(
            f"{table.place} has no features for {missing} of {n} {side} ({missing / n:.0%}): they score 0 everywhere"
        )
    aligned = np.zeros((n, table.rows.shape[1]), np.float32)
    aligned[has] = table.rows[found[has]]
    info = {
        "rows": len(table.rows),
        "by_id": True,
        "matched": n - missing,
        "missing": missing,
        "unused": len(table.rows) - (n - missing),
    }
    return aligned, info
