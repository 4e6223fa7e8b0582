"""A registered model behind an alias: found, opened, checked, and followed by the service."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from litestar.testing import AsyncTestClient, TestClient
from mlflow import MlflowClient

from freqd.errors import InputError
from freqd.serve.http.app import create_app
from freqd.serve.http.service import Model, Service
from tasks.mlops import registry
from tasks.mlops.champion import Registered
from tests.serve.http.shop import items, make_recommender, wait_for

Register = Callable[..., str]


def test_the_model_is_found_by_its_alias(register: Register, shop: tuple[Registered, str]) -> None:
    registered, _ = shop
    alias = f"only-{registered.name}"
    register(registered.name, make_recommender(), alias=alias)
    assert Registered.find(None, alias) == Registered(registered.name, alias)
    with pytest.raises(InputError, match="no registered model has the alias 'winner'"):
        Registered.find(None, "winner")
    with pytest.raises(InputError, match="no registered model 'shops'"):
        Registered.find("shops", "champion")
    with pytest.raises(InputError, match="no version with the alias 'winner'"):
        Registered.find(registered.name, "winner")


def test_loading_leaves_nothing_on_the_disk(
    shop: tuple[Registered, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    registered, version = shop
    monkeypatch.setattr(registry.tempfile, "tempdir", str(tmp_path))
    assert registered.load(version).ask("u5", k=3).items == make_recommender().ask("u5", k=3).items
    assert list(tmp_path.iterdir()) == []


def test_a_version_that_answers_nonsense_is_broken(shop: tuple[Registered, str], register: Register) -> None:
    registered, _ = shop
    content = make_recommender(3)
    content.features.items[4, 0] = np.nan
    version = register(registered.name, content)
    with pytest.raises(registry.BrokenModelError, match=rf"version {version} .* not all finite"):
        registered.load(version)
    with pytest.raises(InputError, match="not all finite"):
        registered.open()
    with pytest.raises(
        InputError, match=rf"champion is broken: version {version} .* not all finite[^`]*`freqd models list`"
    ):
        registry.load_champion(registered.name, version)


def test_a_new_champion_takes_over_under_load_without_a_failed_request(
    shop: tuple[Registered, str], register: Register
) -> None:
    registered, first = shop
    second = register(registered.name, make_recommender(1), alias=None)
    service = Service(registered, Model(first, registered.load(first)), poll_seconds=0.05)
    expected = {first: make_recommender(0).ask("u5", k=10).items, second: make_recommender(1).ask("u5", k=10).items}
    assert expected[first] != expected[second]
    found: list[tuple[int, str, list[str]]] = []

    async def ask(web: AsyncTestClient[Any], until: asyncio.Event) -> None:
        while not until.is_set():
            response = await web.get("/recommend/u5", params={"k": 10})
            answer = response.json()
            found.append((response.status_code, answer["version"], items(answer)))
            await asyncio.sleep(0.001)  # in process nothing else would let the watch have its turn

    async def scene() -> None:
        async with AsyncTestClient(create_app(service)) as web:
            done = asyncio.Event()
            load = [asyncio.create_task(ask(web, done)) for _ in range(4)]
            await asyncio.sleep(0.2)
            await asyncio.to_thread(
                MlflowClient().set_registered_model_alias, registered.name, registered.alias, second
            )
            for _ in range(200):
                await asyncio.sleep(0.05)
                if found[-1][1] == second:
                    break
            await asyncio.sleep(0.1)
            done.set()
            await asyncio.gather(*load)
            health = (await web.get("/health")).json()
            assert (health["version"], health["status"]) == (second, "ok")

    asyncio.run(scene())
    versions = [version for _, version, _ in found]
    assert {status for status, _, _ in found} == {200}
    assert set(versions) == {first, second}
    assert all(answer == expected[version] for _, version, answer in found), "an answer must come from one model"


def test_a_broken_champion_is_not_served_and_said_to_be_broken(
    shop: tuple[Registered, str], register: Register
) -> None:
    registered, first = shop
    service = Service(registered, Model(first, registered.load(first)), poll_seconds=0.05)
    with TestClient(create_app(service)) as web:
        before = web.get("/recommend/u5").json()
        second = register(registered.name, make_recommender(1), spoil=True)
        wait_for(lambda: web.get("/health").json()["status"] == "degraded")
        health = web.get("/health").json()
        assert health["version"] == first
        assert health["rejected_version"] == second
        assert "SafetensorError" in health["rejected_reason"]
        assert "freqd_model_rejected 1.0" in web.get("/metrics").text
        assert web.get("/recommend/u5").json() == before

        third = register(registered.name, make_recommender(2))
        wait_for(lambda: web.get("/health").json()["version"] == third)
        assert web.get("/health").json()["status"] == "ok"
        text = web.get("/metrics").text
        assert f'freqd_model_info{{name="{registered.name}",version="{third}"}} 1.0' in text
        assert f'freqd_model_info{{name="{registered.name}",version="{first}"' not in text
        assert "freqd_model_swaps_total 1.0" in text
        assert "freqd_model_rejected 0.0" in text
