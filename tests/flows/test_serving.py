"""The HTTP service over a registry: answers, refusals, and the move to another champion."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import mlflow
import numpy as np
import polars as pl
import pytest
from litestar.testing import AsyncTestClient, TestClient
from mlflow import MlflowClient
from scipy import sparse

from flows import server
from flows.cli import serving
from flows.server import MAX_K, MAX_USERS, Model, Service, build
from freqd.config import IndexConfig
from freqd.embeddings import FeatureTable
from freqd.errors import InputError
from freqd.serve import Recommender
from tasks.mlops import pyfunc_model, registry
from tasks.mlops.champion import Registered

USERS, ITEMS = 40, 60
NAMES = (f"shop-{number}" for number in itertools.count())


def recommender(seed: int = 0) -> Recommender:
    rng = np.random.default_rng(seed)
    return Recommender(
        FeatureTable(
            rng.standard_normal((USERS, 4)).astype(np.float32), rng.standard_normal((ITEMS, 4)).astype(np.float32)
        ),
        pl.Series([f"u{i}" for i in range(USERS)]),
        pl.Series([f"i{i}" for i in range(ITEMS)]),
        sparse.csr_array((np.random.default_rng(9).random((USERS, ITEMS)) < 0.2).astype(np.float32)),
    )


@pytest.fixture(scope="module")
def experiment(tmp_path_factory: pytest.TempPathFactory) -> str:
    place = tmp_path_factory.mktemp("artifacts").as_uri()
    return str(MlflowClient().create_experiment(f"serving-{place[-12:]}", artifact_location=place))


Register = Callable[..., str]


@pytest.fixture(scope="module")
def register(experiment: str) -> Register:
    """Register a recommender as the pipeline does, give it an alias, and return its version."""

    def do(name: str, content: Recommender, *, alias: str | None = "champion", spoil: bool = False) -> str:
        with tempfile.TemporaryDirectory() as folder, mlflow.start_run(experiment_id=experiment):
            content.write(Path(folder))
            if spoil:
                (Path(folder) / "features.safetensors").write_bytes(b"no features")
            info = mlflow.pyfunc.log_model(
                name="student",
                python_model=pyfunc_model.__file__,
                artifacts={"bundle": folder},
                pip_requirements=["numpy"],
            )
        version = str(mlflow.register_model(info.model_uri, name).version)
        if alias is not None:
            MlflowClient().set_registered_model_alias(name, alias, version)
        return version

    return do


@pytest.fixture
def shop(register: Register) -> Iterator[tuple[Registered, str]]:
    """A model of its own with one champion."""
    name = next(NAMES)
    version = register(name, recommender())
    yield Registered(name, "champion"), version
    MlflowClient().delete_registered_model(name)


RECOMMENDER = recommender()


class Fixed:
    """A source that needs no registry."""

    name, alias = "shop", "champion"

    def __init__(self) -> None:
        self.now = "1"
        self.models: dict[str, Recommender | Exception] = {"1": RECOMMENDER}
        self.down: Exception | None = None

    def version(self) -> str:
        if self.down is not None:
            raise self.down
        return self.now

    def load(self, version: str) -> Recommender:
        found = self.models[version]
        if isinstance(found, Exception):
            raise found
        return found


def items(answer: dict[str, Any]) -> list[str]:
    return [entry["item"] for entry in answer["items"]]


# -- answers --------------------------------------------------------------------------------------------------------


def test_a_known_user(web: TestClient[Any]) -> None:
    response = web.get("/recommend/u3", params={"k": 5})
    assert response.status_code == 200
    answer = response.json()
    expected = RECOMMENDER.ask("u3", k=5)
    assert items(answer) == expected.items
    np.testing.assert_allclose([entry["score"] for entry in answer["items"]], expected.scores, rtol=1e-6)
    assert (answer["user"], answer["source"], answer["model"], answer["version"]) == ("u3", "model", "shop", "1")
    assert len(items(web.get("/recommend/u3").json())) == 20
    everything = web.get("/recommend/u3", params={"k": ITEMS, "exclude_seen": "false"}).json()
    assert len(items(everything)) == ITEMS
    assert len(items(web.get("/recommend/u3", params={"k": ITEMS}).json())) < ITEMS


def test_an_unknown_user_gets_what_is_popular_and_is_told_so(web: TestClient[Any]) -> None:
    answer = web.get("/recommend/nobody%20at%20all", params={"k": 4}).json()
    assert (answer["user"], answer["source"]) == ("nobody at all", "popularity")
    assert items(answer) == RECOMMENDER.ask(None, k=4).items


def test_a_new_user_is_folded_in_from_a_history(web: TestClient[Any]) -> None:
    for question in ({"history": ["i1", "i2", "new"]}, {"users": ["stranger"], "history": ["i1", "i2", "new"]}):
        (answer,) = web.post("/recommend", json={**question, "k": 6}).json()["answers"]
        assert answer["source"] == "fold-in"
        assert answer["unknown_items"] == ["new"]
        assert items(answer) == RECOMMENDER.ask(history=["i1", "i2"], k=6).items


def test_many_users_are_answered_as_each_would_be_alone(web: TestClient[Any]) -> None:
    users = [f"u{i}" for i in range(USERS)] + ["nobody"]
    answer = web.post("/recommend", json={"users": users, "k": 7}).json()
    assert [one["user"] for one in answer["answers"]] == users
    for one in answer["answers"]:
        assert one == web.get(f"/recommend/{one['user']}", params={"k": 7}).json()


def test_allow_and_deny(web: TestClient[Any]) -> None:
    question = {"users": ["u1", "u2", "nobody"], "k": ITEMS, "exclude_seen": False}
    allow = ["i1", "i2", "i3", "gone"]
    answer = web.post("/recommend", json={**question, "allow": allow, "deny": ["i2"]}).json()
    for one in answer["answers"]:
        assert set(items(one)) == {"i1", "i3"}
        assert one["unknown_items"] == ["gone"]
    (nothing,) = web.post("/recommend", json={"allow": []}).json()["answers"]
    assert nothing["items"] == []


def test_ids_may_be_written_as_numbers() -> None:
    numbered = Recommender(
        RECOMMENDER.features, pl.Series(map(str, range(USERS))), pl.Series(map(str, range(ITEMS))), RECOMMENDER.seen
    )
    with TestClient(build(Service(Fixed(), Model("1", numbered)))) as web:
        answer = web.post("/recommend", json={"users": [3], "allow": [1, 2]}).json()["answers"][0]
        assert answer["source"] == "model"
        assert answer["user"] == "3"


ODD = ["a/b", "/a", "a/", "a//b", "../a", "a b", "a?b", "100%", "a%2Fb", "ä/ö", "health"]


def test_ids_with_slashes_and_other_signs() -> None:
    """Each of these is one id, whether its slashes are written out or as %2F."""
    ids = pl.Series(ODD)
    shape = (len(ODD), len(ODD))
    content = Recommender(
        FeatureTable(RECOMMENDER.features.users[: len(ODD)], RECOMMENDER.features.items[: len(ODD)]), ids, ids,
        sparse.csr_array(shape, dtype=np.float32),
    )  # fmt: skip
    with TestClient(build(Service(Fixed(), Model("1", content)))) as web:
        for name in ODD:
            for safe in ("", "/") if ".." not in name else ("",):  # a client goes up by ".." before it asks
                user = web.get(f"/recommend/{quote(name, safe=safe)}", params={"k": 3}).json()
                assert (user["user"], user["source"]) == (name, "model")
                item = web.get(f"/similar/{quote(name, safe=safe)}", params={"k": 3}).json()
                assert (item["item"], len(item["items"])) == (name, 3)
        for path in ("/recommend/", "/recommend/%2F", "/similar/"):
            assert web.get(path).status_code in (404, 405)
        text = web.get("/metrics").text
        assert f'route="/recommend/{{user}}",status="200"}} {2.0 * len(ODD) - 1}' in text


def test_similar_items(web: TestClient[Any]) -> None:
    answer = web.get("/similar/i7", params={"k": 3}).json()
    assert items(answer) == RECOMMENDER.similar("i7", k=3).items
    missing = web.get("/similar/gone")
    assert missing.status_code == 404
    assert "'gone'" in missing.json()["error"]


# -- refusals -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/recommend/u1?k=0", r"k: .*>= 1"),
        (f"/recommend/u1?k={MAX_K + 1}", rf"k: .*<= {MAX_K}"),
        ("/recommend/u1?k=many", "k: .*int"),
        ("/recommend/u1?exclude_seen=perhaps", "exclude_seen: .*bool"),
        ("/recommend/u1?exclude_sen=true", "exclude_sen: there is no such query parameter; there are: k, exclude_seen"),
        ("/similar/i1?k=-1", "k: "),
        ("/similar/i1?n=1", "n: "),
    ],
)
def test_a_bad_question_is_named(web: TestClient[Any], path: str, message: str) -> None:
    response = web.get(path)
    assert response.status_code == 400
    assert re.search(message, response.json()["error"]), response.json()
    assert response.json()["status"] == 400


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ('{"users": ["u1"], "k": 0}', r"k.*>= 1|>= 1.*k"),
        ('{"users": "u1"}', r"array.*users|users.*array"),
        ('{"users": [["u1"]]}', "users"),
        ('{"user": "u1"}', "user"),
        ('{"users": ["u1"', "malformed|truncated"),
        ("", "body is missing"),
        ("[]", "object"),
        ('{"users": ["u1", "u2"], "history": ["i1"]}', "history"),
        (json.dumps({"users": ["u"] * (MAX_USERS + 1)}), f"users.*at most {MAX_USERS}"),
    ],
)
def test_a_bad_body_is_named(web: TestClient[Any], body: str, message: str) -> None:
    response = web.post("/recommend", content=body, headers={"content-type": "application/json"})
    assert response.status_code == 400, response.text
    assert re.search(message, response.json()["error"]), response.json()


def test_routes_that_are_not_there(web: TestClient[Any]) -> None:
    assert web.get("/recommend").status_code == 405
    assert web.get("/nothing").status_code == 404
    assert web.get("/nothing").json()["error"]


# -- what operators look at -----------------------------------------------------------------------------------------


def test_health(web: TestClient[Any]) -> None:
    health = web.get("/health").json()
    assert health["status"] == "ok"
    assert (health["version"], health["users"], health["items"], health["dim"]) == ("1", USERS, ITEMS, 4)
    assert "rejected_version" not in health


def test_an_index_is_built_from_so_many_items_on_and_said_to_be_one(service: Service) -> None:
    said: list[str] = []
    service.say = said.append
    service.index = IndexConfig(min_items=ITEMS, recall=1.0)
    source = service.source
    assert isinstance(source, Fixed)
    source.now, source.models["2"] = "2", recommender(1)
    with TestClient(build(service)) as web:
        assert web.get("/health").json()["index"] == "exact"
        assert "freqd_index_recall 1.0" in web.get("/metrics").text
        wait_for(lambda: web.get("/health").json()["version"] == "2")
        health = web.get("/health").json()
        assert (health["index"], health["index_recall"]) == ("faiss", 1.0)
        assert health["index_build_seconds"] >= 0
        assert items(web.get("/recommend/u5", params={"k": 9}).json()) == recommender(1).ask("u5", k=9).items
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
    monkeypatch.setattr(server.cells, "installed", lambda: there)
    content = recommender()
    assert re.fullmatch(expected, server.prepare(content, config))
    assert (content.index.approximate is not None) == expected.startswith("faiss")


def test_an_index_that_cannot_be_had_is_refused_before_a_model_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server.cells.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match="faiss is not installed"):
        serving.serve(port=0, index="faiss")
    with pytest.raises(InputError, match=r"--index-recall 1\.5: .*less than or equal to 1"):
        serving.serve(port=0, index_recall=1.5)
    with pytest.raises(InputError, match="--index-from 0: "):
        serving.serve(port=0, index_from=0)


def test_metrics(web: TestClient[Any]) -> None:
    web.get("/recommend/u1")
    web.get("/recommend/nobody")
    web.get("/recommend/u1?k=0")
    web.get("/no/such/route/u1")
    web.post("/recommend", json={"history": ["i1"]})
    text = web.get("/metrics").text
    for line in (
        'freqd_requests_total{method="GET",route="/recommend/{user}",status="200"} 2.0',
        'freqd_requests_total{method="GET",route="/recommend/{user}",status="400"} 1.0',
        'freqd_requests_total{method="GET",route="none",status="404"} 1.0',
        'freqd_request_seconds_count{route="/recommend/{user}"} 3.0',
        'freqd_answers_total{source="popularity"} 1.0',
        'freqd_answers_total{source="fold-in"} 1.0',
        'freqd_model_info{name="shop",version="1"} 1.0',
        "freqd_model_rejected 0.0",
        "freqd_registry_up 1.0",
    ):
        assert line in text, text
    assert "u1" not in text, "no user's id may become a label"


def test_the_pages_refer_to_nothing_outside(web: TestClient[Any]) -> None:
    schema = web.get("/schema/openapi.json")
    assert schema.status_code == 200
    assert set(schema.json()["paths"]) == {"/recommend", "/recommend/{user}", "/similar/{item}", "/health", "/metrics"}
    page = web.get("/")
    assert page.headers["content-type"].startswith("text/html")
    assert "/recommend/{user}" in page.text
    for text in (page.text, schema.text):
        assert not re.search(r"https?:|//\w|<script|<link|@import", text)
    for link in re.findall(r'href="([^"]+)"', page.text):
        assert web.get(link).status_code == 200
    for path in ("/schema", "/schema/swagger", "/schema/redoc", "/schema/elements", "/schema/scalar"):
        response = web.get(path)
        assert response.status_code == 404 or not re.search(r"https?://", response.text)


# -- another champion -----------------------------------------------------------------------------------------------


def wait_for(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def test_a_new_champion_takes_over_under_load_without_a_failed_request(
    shop: tuple[Registered, str], register: Register
) -> None:
    registered, first = shop
    second = register(registered.name, recommender(1), alias=None)
    service = Service(registered, Model(first, registered.load(first)), poll_seconds=0.05)
    expected = {first: recommender(0).ask("u5", k=10).items, second: recommender(1).ask("u5", k=10).items}
    assert expected[first] != expected[second]
    found: list[tuple[int, str, list[str]]] = []

    async def ask(web: AsyncTestClient[Any], until: asyncio.Event) -> None:
        while not until.is_set():
            response = await web.get("/recommend/u5", params={"k": 10})
            answer = response.json()
            found.append((response.status_code, answer["version"], items(answer)))
            await asyncio.sleep(0.001)  # in process nothing else would let the watch have its turn

    async def scene() -> None:
        async with AsyncTestClient(build(service)) as web:
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
    with TestClient(build(service)) as web:
        before = web.get("/recommend/u5").json()
        second = register(registered.name, recommender(1), spoil=True)
        wait_for(lambda: web.get("/health").json()["status"] == "degraded")
        health = web.get("/health").json()
        assert health["version"] == first
        assert health["rejected_version"] == second
        assert "SafetensorError" in health["rejected_reason"]
        assert "freqd_model_rejected 1.0" in web.get("/metrics").text
        assert web.get("/recommend/u5").json() == before

        third = register(registered.name, recommender(2))
        wait_for(lambda: web.get("/health").json()["version"] == third)
        assert web.get("/health").json()["status"] == "ok"
        text = web.get("/metrics").text
        assert f'freqd_model_info{{name="{registered.name}",version="{third}"}} 1.0' in text
        assert f'version="{first}"' not in text
        assert "freqd_model_swaps_total 1.0" in text
        assert "freqd_model_rejected 0.0" in text


def test_a_version_that_answers_nonsense_is_broken(shop: tuple[Registered, str], register: Register) -> None:
    registered, _ = shop
    content = recommender(3)
    content.features.items[4, 0] = np.nan
    version = register(registered.name, content)
    with pytest.raises(registry.BrokenModel, match=rf"version {version} .* not all finite"):
        registered.load(version)
    with pytest.raises(InputError, match="not all finite"):
        registered.open()
    with pytest.raises(
        InputError, match=rf"champion is broken: version {version} .* not all finite[^`]*`freqd models list`"
    ):
        registry.load_champion(registered.name, version)


def test_a_registry_that_is_away_stops_nothing(service: Service) -> None:
    source = service.source
    assert isinstance(source, Fixed)

    async def scene() -> None:
        source.down = ConnectionError("no route")
        await service.look()
        assert service.registry_error == "ConnectionError: no route"
        source.down = None
        source.now, source.models["2"] = "2", recommender(1)
        await service.look()
        assert service.registry_error is None
        assert service.model.version == "2"

    asyncio.run(scene())


def test_a_broken_version_is_tried_again_but_less_and_less_often(service: Service) -> None:
    source = service.source
    assert isinstance(source, Fixed)
    source.now, source.models["2"] = "2", registry.BrokenModel("half a file")

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
        source.models["2"] = recommender(1)
        service.rejected.retry_at = 0.0
        await service.look()
        assert (service.model.version, service.rejected) == ("2", None)

    asyncio.run(scene())


def test_the_alias_goes_back_before_the_broken_version_is_mended(service: Service) -> None:
    source = service.source
    assert isinstance(source, Fixed)
    source.now, source.models["2"] = "2", registry.BrokenModel("half a file")

    async def scene() -> None:
        await service.look()
        source.now = "1"
        await service.look()

    asyncio.run(scene())
    assert service.rejected is None


# -- commands -------------------------------------------------------------------------------------------------------


def test_the_model_is_found_by_its_alias(register: Register, shop: tuple[Registered, str]) -> None:
    registered, _ = shop
    alias = f"only-{registered.name}"
    register(registered.name, recommender(), alias=alias)
    assert Registered.find(None, alias) == Registered(registered.name, alias)
    with pytest.raises(InputError, match="no registered model has the alias 'winner'"):
        Registered.find(None, "winner")
    with pytest.raises(InputError, match="no registered model 'shops'"):
        Registered.find("shops", "champion")
    with pytest.raises(InputError, match="no version with the alias 'winner'"):
        Registered.find(registered.name, "winner")


def test_without_a_registry_it_says_so_and_makes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    with pytest.raises(InputError, match="no model registry below"):
        serving.recommend(out=tmp_path / "all.parquet", workdir=tmp_path / "work")
    assert list(tmp_path.iterdir()) == []


def test_recommend_and_export(shop: tuple[Registered, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    registered, version = shop
    assert serving.recommend(out=tmp_path / "all.parquet", k=5, name=registered.name) == 0
    found = pl.read_parquet(tmp_path / "all.parquet")
    expected = recommender().recommend([f"u{i}" for i in range(USERS)], k=5)
    assert found.drop("score").equals(expected.drop("score"))
    assert f"version {version}" in capsys.readouterr().out
    with pytest.raises(InputError, match=r"\.parquet"):
        serving.recommend(out=tmp_path / "all.csv", name=registered.name)
    assert serving.export(out=tmp_path / "features.npz", name=registered.name) == 0
    with np.load(tmp_path / "features.npz", allow_pickle=False) as file:
        np.testing.assert_array_equal(file["users"], recommender().features.users)
        assert file["item_ids"].tolist() == [f"i{i}" for i in range(ITEMS)]


def test_a_taken_port_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=f"port {port}"):
            serving.serve(port=port)


def test_loading_leaves_nothing_on_the_disk(
    shop: tuple[Registered, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    registered, version = shop
    monkeypatch.setattr(registry.tempfile, "tempdir", str(tmp_path))
    assert registered.load(version).ask("u5", k=3).items == recommender().ask("u5", k=3).items
    assert list(tmp_path.iterdir()) == []


def test_the_command_serves_until_it_is_interrupted(shop: tuple[Registered, str]) -> None:
    registered, version = shop
    command = [Path(sys.executable).parent / "freqd", "serve", "--name", registered.name, "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "COLUMNS": "200"}) as server:
        try:
            assert server.stdout is not None
            first = server.stdout.readline()
            address = re.search(r"http://127\.0\.0\.1:\d+", first)
            assert address, first
            assert f"version {version}" in first
            with httpx.Client(base_url=address.group()) as web:
                seconds = [web.get("/recommend/u5", params={"k": 5}).elapsed.total_seconds() for _ in range(10)]
                assert items(web.get("/recommend/u5", params={"k": 5}).json()) == recommender().ask("u5", k=5).items
            assert min(seconds) < 0.03, "head and body of an answer must not wait for an acknowledgement between them"
        finally:
            server.send_signal(signal.SIGINT)
        assert server.wait(20) == 0
