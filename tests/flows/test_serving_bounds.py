"""No request takes the service down, reads what it may not, or sees an error of another shape."""

from __future__ import annotations

import asyncio
import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import polars as pl
import pytest
import uvicorn
from litestar.testing import TestClient

from flows import server
from flows.cli import serving
from flows.server import MAX_ECHO, MAX_LIST, MAX_USERS, Access, Model, Service, build
from freqd.errors import InputError
from tests.flows.test_serving import BUNDLE, items

TOKEN = "0123456789abcdef0123"


@pytest.fixture
def live(service: Service) -> Iterator[tuple[str, int]]:
    """The service as `freqd serve` runs it, on a port of its own."""
    listening = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(build(service), http=server.impatient(), log_level="error", lifespan="on")
    running = uvicorn.Server(config)
    thread = threading.Thread(target=running.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    while not running.started:
        time.sleep(0.01)
    yield "127.0.0.1", listening.getsockname()[1]
    running.should_exit = True
    thread.join(15)


def test_long_lists_of_unknown_items_cost_next_to_nothing(web: TestClient[Any]) -> None:
    """A thousand users and all the items that may be denied: lists are looked up once, and hardly repeated."""
    body = {"users": [f"u{n}" for n in range(MAX_USERS)], "deny": [f"unknown{n}" for n in range(MAX_LIST)], "k": 2}
    start = time.perf_counter()
    answer = web.post("/recommend", json=body)
    assert answer.status_code == 200
    assert time.perf_counter() - start < 5
    assert len(answer.content) < 2_000_000
    assert {len(found["unknown_items"]) for found in answer.json()["answers"]} == {MAX_ECHO}


@pytest.mark.parametrize("name", ["history", "allow", "deny", "users"])
def test_lists_have_an_end(web: TestClient[Any], name: str) -> None:
    answer = web.post("/recommend", json={name: ["x"] * (MAX_LIST + 1)})
    assert answer.status_code == 400
    assert name in answer.json()["error"]
    assert "at most" in answer.json()["error"]


def test_a_body_that_is_too_large_is_not_read(web: TestClient[Any]) -> None:
    answer = web.post("/recommend", content=b'{"deny": ["' + b"x" * server.MAX_BODY + b'"]}')
    assert answer.status_code == 413
    assert answer.json()["status"] == 413


def test_denied_and_allowed_items_are_as_before(web: TestClient[Any]) -> None:
    every = items(web.get("/recommend/u5", params={"k": 60}).json())
    some = web.post("/recommend", json={"users": ["u5", "u6"], "deny": every[:5], "k": 3}).json()["answers"]
    assert items(some[0]) == every[5:8]
    only = web.post("/recommend", json={"users": ["u5"], "allow": every[3:9], "deny": [every[4]], "k": 9}).json()[
        "answers"
    ]
    assert items(only[0]) == [every[3], *every[5:9]]


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"[" * 100_000, "nested"),
        (b'{"users": ' * 3000 + b"}" * 3000, ""),
        (b'{"users": ["\xff\xfe"]}', ""),
        (b"\xff", ""),
        (b'{"k": 1e400}', ""),
        (b'{"k": 99999999999999999999999}', ""),
        (b'{"users": ["\\ud800"]}', ""),
        (b"null", "missing"),
        (b"", "missing"),
    ],
)
def test_bodies_that_nobody_can_read_are_refused(web: TestClient[Any], content: bytes, kind: str) -> None:
    answer = web.post("/recommend", content=content, headers={"content-type": "application/json"})
    assert answer.status_code in (200, 400), answer.text
    if answer.status_code == 400:
        assert set(answer.json()) == {"status", "error"}
        assert kind in answer.json()["error"]


@pytest.mark.parametrize(
    ("path", "status"),
    [("/recommend%2F1", 404), ("//recommend/u5", 404), ("/recommend/%ff", 400), ("/similar%2fi1", 404)],
)
def test_paths_that_look_like_others(live: tuple[str, int], path: str, status: int) -> None:
    """As they are sent: a client library would tidy them up."""
    with socket.create_connection(live) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        answer = b"".join(iter(lambda: connection.recv(65536), b"")).decode()
    assert f" {status} " in answer.splitlines()[0], answer
    assert '"error"' in answer


def test_methods_that_clients_make_up_are_one_label(web: TestClient[Any]) -> None:
    for number in range(5):
        web.request(f"MADEUP{number}", "/health")
    assert "MADEUP" not in web.get("/metrics").text
    assert 'method="other"' in web.get("/metrics").text


def test_errors_have_the_documented_shape(web: TestClient[Any]) -> None:
    schema = web.get("/schema/openapi.json").json()
    for path, operations in schema["paths"].items():
        for operation in operations.values():
            for status, answer in operation["responses"].items():
                if int(status) >= 400:
                    shape = answer["content"]["application/json"]["schema"]
                    assert shape == {"$ref": "#/components/schemas/Problem"}, (path, status)
    assert web.get("/recommend/u5", params={"k": 0}).json() == {
        "status": 400,
        "error": web.get("/recommend/u5?k=0").json()["error"],
    }


def test_a_request_that_fails_says_nothing_of_why(service: Service) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ValueError("/srv/secret/place")

    service.model = Model("1", BUNDLE)
    object.__setattr__(service, "model", Model("1", type("Broken", (), {"answer": broken, "resolve": broken})()))  # type: ignore[arg-type]
    with TestClient(build(service), raise_server_exceptions=False) as web:
        answer = web.get("/recommend/u5")
    assert answer.status_code == 500
    assert "secret" not in answer.text


# -- who may ask ----------------------------------------------------------------------------------------------------


def test_without_the_token_there_is_only_the_bare_health(service: Service) -> None:
    with TestClient(build(service, Access(TOKEN)), raise_server_exceptions=False) as web:
        for path in ("/recommend/u5", "/similar/i1", "/metrics", "/", "/schema/openapi.json", "/nothing"):
            for headers in (
                {},
                {"authorization": f"Bearer {TOKEN}x"},
                {"authorization": TOKEN},
                {"authorization": f"Basic {TOKEN}"},
            ):
                answer = web.get(path, headers=headers)
                assert answer.status_code == 401, path
                assert answer.headers["www-authenticate"] == "Bearer"
        assert web.post("/recommend", json={}).status_code == 401
        assert web.get("/health").json() == {"status": "ok"}
        known = {"authorization": f"Bearer {TOKEN}"}
        assert web.get("/recommend/u5", headers=known).status_code == 200
        assert web.get("/health", headers=known).json()["version"] == "1"


def test_another_name_is_not_answered(service: Service) -> None:
    access = Access(hosts=frozenset({"127.0.0.1", "localhost", "[::1]"}))
    with TestClient(build(service, access), raise_server_exceptions=False) as web:
        for host in ("127.0.0.1", "127.0.0.1:8080", "LOCALHOST:1", "[::1]:8080"):
            assert web.get("/health", headers={"host": host}).status_code == 200
        for host in ("evil.example", "evil.example:8080", "127.0.0.1.evil.example", ""):
            assert web.get("/recommend/u5", headers={"host": host}).status_code == 403


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "::"])
def test_beyond_this_machine_a_token_is_asked_for(host: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(serving.TOKEN, raising=False)
    with pytest.raises(InputError, match="can be reached by others") as caught:
        serving._access(host, None, ())
    assert "openssl rand" in caught.value.remedy
    monkeypatch.setenv(serving.TOKEN, TOKEN)
    assert serving._access(host, None, ()).token == TOKEN
    (tmp_path / "token").write_text(f"{TOKEN}9\n")
    assert serving._access(host, tmp_path / "token", ()).token == f"{TOKEN}9"
    for wrong in ("short", "with blanks in it, but long", "ümläütsümläüts"):
        monkeypatch.setenv(serving.TOKEN, wrong)
        with pytest.raises(InputError, match="token"):
            serving._access(host, None, ())


# -- what takes too long --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"GET /health HTTP/1.1\r\nHost: x\r\n",
        b"POST /recommend HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{",
    ],
)
def test_requests_that_do_not_come_are_ended(
    live: tuple[str, int], sent: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "HEAD_SECONDS", 0.4)
    monkeypatch.setattr(server, "BODY_SECONDS", 0.4)
    with socket.create_connection(live, timeout=5) as connection:
        connection.sendall(sent)
        start = time.monotonic()
        answer = connection.recv(65536)
        assert time.monotonic() - start < 3
        assert answer == b"" or b" 408 " in answer
    assert httpx.get(f"http://{live[0]}:{live[1]}/health").status_code == 200


def test_a_kept_connection_is_not_ended_between_requests(
    live: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "HEAD_SECONDS", 0.3)
    with httpx.Client(base_url=f"http://{live[0]}:{live[1]}") as web:
        for _ in range(3):
            assert web.get("/health").status_code == 200
            time.sleep(0.5)


def test_more_than_can_be_answered_is_told_to_come_again(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "MAX_ANSWERED", 1)
    entered, release = threading.Event(), threading.Event()
    answer = type(BUNDLE).answer

    def slow(self: Any, *words: Any, **options: Any) -> Any:
        entered.set()
        release.wait(10)
        return answer(self, *words, **options)

    monkeypatch.setattr(type(BUNDLE), "answer", slow)
    many = {"users": ["u1", "u2", "u3"], "k": 1}
    with TestClient(build(service)) as web:
        first: list[Any] = []
        thread = threading.Thread(target=lambda: first.append(web.post("/recommend", json=many)))
        thread.start()
        assert entered.wait(5)
        second = web.post("/recommend", json=many)
        assert second.status_code == 503
        assert second.headers["retry-after"] == "1"
        release.set()
        thread.join(10)
        assert first[0].status_code == 200


def test_work_ends_when_the_client_has_gone(live: tuple[str, int], monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    answer = type(BUNDLE).answer

    def slow(self: Any, user: Any, *words: Any, **options: Any) -> Any:
        asked.append(user)
        time.sleep(0.002)
        return answer(self, user, *words, **options)

    monkeypatch.setattr(type(BUNDLE), "answer", slow)
    body = json.dumps({"users": [f"u{n}" for n in range(MAX_USERS)]}).encode()
    with socket.create_connection(live) as connection:
        head = f"POST /recommend HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        connection.sendall(head.encode() + body)
        while not asked:
            time.sleep(0.01)
    time.sleep(0.6)
    count = len(asked)
    assert count < MAX_USERS / 2
    time.sleep(0.3)
    assert len(asked) == count


def test_a_registry_that_hangs_is_told_within_seconds(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "REGISTRY_SECONDS", 0.2)
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


def test_a_version_whose_files_were_changed_is_not_served(tmp_path: Path) -> None:
    """By hand, below the registry: the digest of its registration tells."""
    import mlflow
    from mlflow import MlflowClient

    from freqd.storage.files import folder_digest
    from tasks.mlops import pyfunc_model, registry

    experiment = MlflowClient().create_experiment(
        f"changed-{tmp_path.name}", artifact_location=(tmp_path / "a").as_uri()
    )
    (tmp_path / "bundle").mkdir()
    BUNDLE.write(tmp_path / "bundle")
    with mlflow.start_run(experiment_id=experiment):
        info = mlflow.pyfunc.log_model(
            name="student",
            python_model=pyfunc_model.__file__,
            artifacts={"bundle": str(tmp_path / "bundle")},
            pip_requirements=["numpy"],
        )
    name = f"changed-{tmp_path.name}"
    tags = {registry.DIGEST: folder_digest(tmp_path / "bundle")}
    version = str(mlflow.register_model(info.model_uri, name, tags=tags).version)
    assert registry.load(name, version).ask("u5", k=1).items
    (stored,) = (tmp_path / "a").rglob("users.parquet")
    pl.read_parquet(stored).reverse().write_parquet(stored)
    with pytest.raises(registry.BrokenModel, match="digest"):
        registry.load(name, version)
    MlflowClient().delete_registered_model(name)


def test_the_command_refuses_an_open_address_before_it_loads_anything(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != serving.TOKEN}
    command = [Path(sys.executable).parent / "freqd", "serve", "--host", "0.0.0.0", "--workdir", tmp_path / "none"]
    found = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60)
    assert found.returncode == 2
    assert re.search("token", found.stderr)
    assert not (tmp_path / "none").exists()
