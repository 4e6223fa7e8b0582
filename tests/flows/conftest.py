"""What the tests of flows share: a service, and a client of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory, planted: Callable[..., pl.DataFrame]) -> Path:
    path = tmp_path_factory.mktemp("data") / "purchases.csv"
    planted().write_csv(path)
    return path


@pytest.fixture(scope="module")
def workdir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("work")
