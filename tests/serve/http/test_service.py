"""The model that is served: its index, and another one that takes over or does not."""

from __future__ import annotations

import asyncio
import re
import threading
import time
from typing import Any

import pytest
from litestar.testing import TestClient

from freqd.config import IndexConfig
from freqd.evaluate import faiss_index
from freqd.serve.http import service as module
from freqd.serve.http.app import create_app
from freqd.serve.http.service import Service, warm_up
from tests.serve.http.shop import ITEMS, Fixed, items, make_recommender, wait_for


def test_an_index_is_built_from_so_many_items_on_and_said_to_be_one(service: Service) -> None:
    said: list[str] = []
    service.say = said.append
    service.index = IndexConfig(min_items=ITEMS, recall=1.0)
    source = service.source
    assert isinstance(source, Fixed)
    source.now, source.models["2"] = "2", make_recommender(1)
    with TestClient(create_app(service)) as web:
        assert web.get("/health").json()["index"] == "exact"
        assert "freqd_index_recall 1.0" in web.get("/metrics").text
        wait_for(lambda: web.get("/health").json()["version"] == "2")
        health = web.get("/health").json()
        assert (health["index"], health["index_recall"]) == ("faiss", 1.0)
        assert health["index_build_seconds"] >= 0
        assert items(web.get("/recommend/u5", params={"k": 9}).json()) == make_recommender(1).ask("u5", k=9).items
        text = web.get("/metrics").text
        assert not re.search(r"freqd_index_build_seconds 0\.0$", text, re.MULTILINE)
    assert len(said) == 1
    assert said[0].startswith("version 2: faiss, ")
    assert "recall at 20 1.000" in said[0]


@pytest.mark.parametrize(
    ("config", "there", "expected"),
    [
        (IndexConfig(), True, "exact"),
        (IndexConfig(kind="exact", min_items=ITEMS), True, "exact"),
        (IndexConfig(min_items=ITEMS + 1), True, "exact"),
        (IndexConfig(min_items=ITEMS), False, 'exact; with `pip install "freqd\\[index\\]"` an index is built'),
        (IndexConfig(min_items=ITEMS), True, "faiss, .*"),
        (IndexConfig(kind="faiss"), True, "faiss, .*"),
    ],
)
def test_which_models_get_an_index(
    config: IndexConfig, there: bool, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(faiss_index, "installed", lambda: there)
    content = make_recommender()
    assert re.fullmatch(expected, warm_up(content, config))
    assert (content.index.approximate is not None) == expected.startswith("faiss")


def test_a_registry_that_is_away_stops_nothing(service: Service) -> None:
    source = service.source
    assert isinstance(source, Fixed)

    async def scene() -> None:
        source.down = ConnectionError("no route")
        await service.look()
        assert service.registry_error == "ConnectionError: no route"
        source.down = None
        source.now, source.models["2"] = "2", make_recommender(1)
        await service.look()
        assert service.registry_error is None
        assert service.model.version == "2"

    asyncio.run(scene())


def test_a_registry_that_hangs_is_told_within_seconds(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REGISTRY_SECONDS", 0.2)
    release = threading.Event()
    source: Any = service.source
    source.version = lambda: release.wait(20) and "1"

    async def look() -> None:
        await service.look()
        assert service.registry_error is not None
        assert "does not answer within 0.2 s" in service.registry_error
        await service.look()
        release.set()
        for _ in range(50):
            await service.look()
            if service.registry_error is None:
                return
            await asyncio.sleep(0.05)
        raise AssertionError("it answers again")

    asyncio.run(look())


def test_a_broken_version_is_tried_again_but_less_and_less_often(service: Service) -> None:
    source = service.source
    assert isinstance(source, Fixed)
    source.now, source.models["2"] = "2", ValueError("half a file")

    async def scene() -> None:
        await service.look()
        assert service.rejected is not None
        waited = service.rejected.retry_at - time.monotonic()
        await service.look()
        assert service.rejected.tries == 1, "too early"
        service.rejected.retry_at = 0.0
        await service.look()
        assert service.rejected.tries == 2
        assert service.rejected.retry_at - time.monotonic() > waited
        source.models["2"] = make_recommender(1)
        service.rejected.retry_at = 0.0
        await service.look()
        assert (service.model.version, service.rejected) == ("2", None)

    asyncio.run(scene())


def test_the_alias_goes_back_before_the_broken_version_is_mended(service: Service) -> None:
    source = service.source
    assert isinstance(source, Fixed)
    source.now, source.models["2"] = "2", ValueError("half a file")

    async def scene() -> None:
        await service.look()
        source.now = "1"
        await service.look()

    asyncio.run(scene())
    assert service.rejected is None


def test_health_shows_no_place_of_the_machine(service: Service) -> None:
    source: Any = service.source
    source.down = OSError(
        "cannot open sqlite:////srv/freqd/mlflow/mlflow.db or /home/ann/x.bin: http://10.0.0.1:5000/api"
    )

    async def look() -> None:
        await service.look()

    asyncio.run(look())
    assert service.registry_error is not None
    for secret in ("srv", "/home/ann", "10.0.0.1"):
        assert secret not in service.registry_error
