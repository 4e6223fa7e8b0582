"""MLflow's file: whole or not there, and one that a killed migration left is replaced."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy
from mlflow import MlflowClient
from mlflow.store.tracking.dbmodels.initial_models import Base

from tasks.mlops.database import _opens, prepare
from tasks.runtime.workspace import Workspace


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "work")


def half_made(workspace: Workspace) -> Path:
    """What is left when the migration is killed after a table was made and before that was written down."""
    database = workspace.mlflow_home / "mlflow.db"
    database.parent.mkdir(parents=True)
    engine = sqlalchemy.create_engine(f"sqlite:///{database}")
    Base.metadata.create_all(engine)
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text("CREATE TABLE registered_models (name VARCHAR(256))"))
    engine.dispose()
    return database


def works(workspace: Workspace) -> bool:
    client = MlflowClient(workspace.mlflow_uri, workspace.mlflow_uri)
    run = client.create_run(client.create_experiment("shop")).info.run_id
    client.create_registered_model("shop")
    return client.get_run(run).info.run_id == run


def files(workspace: Workspace) -> list[str]:
    return sorted(path.name for path in workspace.mlflow_home.iterdir())


def test_it_is_made_once(workspace: Workspace) -> None:
    prepare(workspace)
    database = workspace.mlflow_home / "mlflow.db"
    before = database.stat().st_ino, database.read_bytes()
    prepare(workspace)
    assert (database.stat().st_ino, database.read_bytes()) == before
    assert files(workspace) == ["mlflow.db", "mlflow.lock"]
    assert works(workspace)


def test_a_half_made_file_is_replaced_and_kept(workspace: Workspace) -> None:
    left = half_made(workspace).read_bytes()
    assert not _opens(workspace.mlflow_home / "mlflow.db")
    prepare(workspace)
    assert works(workspace)
    (kept,) = workspace.mlflow_home.glob("mlflow.db.half-made-*")
    assert len(kept.read_bytes()) == len(left)


def test_a_table_that_was_being_written_is_taken_back_first(workspace: Workspace) -> None:
    """The journal of a killed process: SQLite refuses to read the file before it has been applied."""
    database = half_made(workspace)
    journal = database.with_name("mlflow.db-journal")
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("PRAGMA cache_size = 1")  # so that pages are written before the end
        connection.execute("CREATE TABLE other (text)")
        connection.execute("BEGIN")
        connection.executemany("INSERT INTO other VALUES (?)", [("x" * 3000,)] * 200)
        left = {path: path.read_bytes() for path in (database, journal)}
    for path, content in left.items():
        path.write_bytes(content)
    prepare(workspace)
    assert works(workspace)
    assert len(list(workspace.mlflow_home.glob("mlflow.db.half-made-*"))) == 1
    assert not journal.exists()


@pytest.mark.parametrize("table", ["runs", "registered_models"])
def test_what_holds_something_is_left_alone(workspace: Workspace, table: str) -> None:
    database = half_made(workspace)
    column = "run_uuid" if table == "runs" else "name"
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute(f"INSERT INTO {table} ({column}) VALUES ('x')")
    before = database.read_bytes()
    prepare(workspace)
    assert database.read_bytes() == before
    assert files(workspace) == ["mlflow.db"]


def test_a_file_that_cannot_be_read_is_left_alone(workspace: Workspace) -> None:
    database = workspace.mlflow_home / "mlflow.db"
    database.parent.mkdir(parents=True)
    database.write_bytes(b"no database at all, but perhaps somebody's" * 100)
    prepare(workspace)
    assert files(workspace) == ["mlflow.db"]


def test_killed_in_the_middle_it_leaves_no_file_by_that_name(workspace: Workspace) -> None:
    code = "import sys, pathlib; from tasks.mlops import database; from tasks.runtime import workspace; " + (
        "database.prepare(workspace.Workspace(pathlib.Path(sys.argv[1])))"
    )
    with subprocess.Popen([sys.executable, "-c", code, workspace.root], stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 60
        while not any(path.stat().st_size for path in workspace.mlflow_home.glob(".mlflow.*.tmp")):
            assert process.poll() is None, "it was not caught in time"
            assert time.monotonic() < deadline
            time.sleep(0.005)
        os.kill(process.pid, signal.SIGKILL)
    assert not (workspace.mlflow_home / "mlflow.db").exists()
    prepare(workspace)
    assert files(workspace) == ["mlflow.db", "mlflow.lock"]
    assert works(workspace)
