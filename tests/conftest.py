"""Nothing leaves the machine, and nothing of the user's is touched."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest

_home = Path(tempfile.mkdtemp(prefix="freqd-tests-"))
os.environ["PREFECT_HOME"] = str(_home / "prefect")
os.environ["PREFECT_RESULTS_LOCAL_STORAGE_PATH"] = str(_home / "prefect" / "results")
os.environ["PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL"] = "CRITICAL"
os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{_home}/mlflow.db"
os.environ.pop("FREQD_WORKDIR", None)
if "FREQD_DATA_DIR" not in os.environ:
    _shared = Path(__file__).resolve().parent.parent.parent / "shared" / "data"
    if _shared.is_dir():
        os.environ["FREQD_DATA_DIR"] = str(_shared)

from tasks.environment import silence  # noqa: E402

silence()


@pytest.fixture(scope="session")
def prefect_server() -> Iterator[None]:
    """A Prefect server of this test session."""
    from prefect.testing.utilities import prefect_test_harness

    with prefect_test_harness(server_startup_timeout=90):
        yield


@pytest.fixture(scope="session")
def planted() -> Callable[..., pl.DataFrame]:
    """Purchases with a structure that a low-rank model can learn: groups of users like groups of items."""

    def make(users: int = 200, items: int = 120, groups: int = 6, per_user: int = 24, seed: int = 0) -> pl.DataFrame:
        rng = np.random.default_rng(seed)
        likes = rng.dirichlet(np.full(groups, 0.2), users)
        within = rng.dirichlet(np.full(items, 0.15), groups)
        rows = []
        for user in range(users):
            chosen = rng.choice(
                items, min(per_user, items // 2), replace=False, p=likes[user] @ within * 0.95 + 0.05 / items
            )
            rows += [(f"u{user:04d}", f"i{item:04d}") for item in chosen]
        frame = pl.DataFrame(rows, schema=["user", "item"], orient="row")
        return frame.with_columns(time=pl.Series(rng.integers(1_600_000_000, 1_610_000_000, len(frame))))

    return make


@pytest.fixture
def purchases(tmp_path: Path, planted: Callable[..., pl.DataFrame]) -> Path:
    """A CSV file of planted purchases."""
    path = tmp_path / "purchases.csv"
    planted().write_csv(path)
    return path
