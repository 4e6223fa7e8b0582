"""What the tests of flows share: a service, and a client of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from litestar.testing import TestClient

from flows.server import Model, Service, build


@pytest.fixture
def service() -> Service:
    """A service over a registry that stands still."""
    from tests.flows.test_serving import BUNDLE, Fixed

    return Service(Fixed(), Model("1", BUNDLE), poll_seconds=0.02)


@pytest.fixture
def web(service: Service) -> Iterator[TestClient[Any]]:
    with TestClient(build(service), raise_server_exceptions=False) as client:
        yield client
