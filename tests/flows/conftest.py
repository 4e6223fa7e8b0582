"""What the tests of flows share: planted purchases as a file, and a working directory, each made once a module."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from litestar.testing import TestClient

from flows.server import Model, Service, build


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory, planted: Callable[..., pl.DataFrame]) -> Path:
    path = tmp_path_factory.mktemp("data") / "purchases.csv"
    planted().write_csv(path)
    return path


@pytest.fixture(scope="module")
def workdir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("work")


@pytest.fixture
def service() -> Service:
    """A service over a registry that stands still."""
    from tests.flows.test_serving import RECOMMENDER, Fixed

    return Service(Fixed(), Model("1", RECOMMENDER), poll_seconds=0.02)


@pytest.fixture
def web(service: Service) -> Iterator[TestClient[Any]]:
    with TestClient(build(service), raise_server_exceptions=False) as client:
        yield client
