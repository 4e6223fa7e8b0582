"""MLflow's SQLite file, made in one piece: MLflow cannot go on with its first migration where a killed one left off."""

from __future__ import annotations

import os
import sqlite3
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

if TYPE_CHECKING:
    from tasks.runtime.workspace import Workspace


def prepare(workspace: Workspace) -> None:
    """Make the file if there is none, and replace one that holds nothing and cannot be opened.

    It is made under another name and renamed when it is complete. A replaced file is kept beside the new one. A file
    that holds a run or a model is left as it is, whatever its state.
    """
    database = workspace.mlflow_home / "mlflow.db"
    if database.exists() and not _empty(database):
        return
    database.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(database.with_name("mlflow.lock")):
        if database.exists():
            if not _empty(database) or _opens(database):
                return
            database.rename(database.with_name(f"mlflow.db.half-made-{datetime.now():%Y%m%d-%H%M%S}"))
        with _temporary(database.parent) as made:
            _open(made)
            made.rename(database)


def _empty(database: Path) -> bool:
    """Whether there is neither a run nor a model; a file that cannot be read counts as not empty.

    Opened for writing, so that SQLite takes back what a killed process left half written: it refuses to read it before.
    """
    try:
        with closing(sqlite3.connect(f"{database.as_uri()}?mode=rw", uri=True)) as connection:
            tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            held = tables & {"runs", "registered_models"}
            return not any(connection.execute(f"SELECT 1 FROM {table} LIMIT 1").fetchone() for table in held)
    except sqlite3.Error:
        return False


def _opens(database: Path) -> bool:
    """Whether MLflow can use the file, tried with a copy: MLflow would keep a connection to the file itself."""
    with _temporary(database.parent) as copied:
        with closing(sqlite3.connect(database)) as source, closing(sqlite3.connect(copied)) as target:
            source.backup(target)  # waits for whoever is writing
        try:
            _open(copied)
        except Exception:  # whatever MLflow and its migrations raise; the file holds nothing that could be lost
            return False
        return True


@contextmanager
def _temporary(folder: Path) -> Iterator[Path]:
    """A name in the folder, of a file that is gone at the end, as are those that a killed process left."""
    try:
        yield folder / f".mlflow.{uuid.uuid4().hex}.tmp"
    finally:
        for left in folder.glob(".mlflow.*.tmp*"):
            left.unlink()


def _open(database: Path) -> None:
    """Let MLflow open the file, which makes all its tables, and close it again."""
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    make: Any = SqlAlchemyStore
    store = make(f"sqlite:///{database}", (database.parent / "artifacts").as_uri())
    store.engine.dispose()
