"""A service over a registry that stands still, asked in the process and on a port of its own."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import uvicorn
from litestar.testing import TestClient

from freqd.serve.http.app import create_app
from freqd.serve.http.limits import TimeoutProtocol
from freqd.serve.http.service import Model, Service
from tests.serve.http.shop import RECOMMENDER, Fixed


@pytest.fixture
def service() -> Service:
    return Service(Fixed(), Model("1", RECOMMENDER), poll_seconds=0.02)


@pytest.fixture
def web(service: Service) -> Iterator[TestClient[Any]]:
    with TestClient(create_app(service), raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def live(service: Service) -> Iterator[tuple[str, int]]:
    """The service as `freqd serve` runs it, on a port of its own."""
    listening = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(create_app(service), http=TimeoutProtocol, log_level="error", lifespan="on")
    running = uvicorn.Server(config)
    thread = threading.Thread(target=running.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    while not running.started:
        time.sleep(0.01)
    yield "127.0.0.1", listening.getsockname()[1]
    running.should_exit = True
    thread.join(15)
