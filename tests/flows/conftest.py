"""Each module of flows has its own MLflow store: a champion of another module's data would be one of the same name."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.mlops import database, tracking
from tasks.runtime.workspace import Workspace


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MLflow's SQLite file with its tables, which take seconds to make, and nothing in them."""
    workspace = Workspace(tmp_path_factory.mktemp("mlflow"))
    database.prepare(workspace)
    return workspace.mlflow_home / "mlflow.db"


@pytest.fixture(scope="module")
def prefect_server(prefect_server: None, empty_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The Prefect server of the session, and an MLflow store of the module's own."""
    own = shutil.copy(empty_store, tmp_path_factory.mktemp("mlflow"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{own}")
        tracking.client.cache_clear()
        yield
    tracking.client.cache_clear()
