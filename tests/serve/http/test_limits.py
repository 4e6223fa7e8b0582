"""Who may ask, and requests that do not come."""

from __future__ import annotations

import socket
import time

import httpx
import pytest
from litestar.testing import TestClient

from freqd.serve.http import limits
from freqd.serve.http.app import create_app
from freqd.serve.http.limits import Access
from freqd.serve.http.service import Service

TOKEN = "0123456789abcdef0123"


def test_without_the_token_there_is_only_the_bare_health(service: Service) -> None:
    with TestClient(create_app(service, Access(TOKEN)), raise_server_exceptions=False) as web:
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
    with TestClient(create_app(service, access), raise_server_exceptions=False) as web:
        for host in ("127.0.0.1", "127.0.0.1:8080", "LOCALHOST:1", "[::1]:8080"):
            assert web.get("/health", headers={"host": host}).status_code == 200
        for host in ("evil.example", "evil.example:8080", "127.0.0.1.evil.example", ""):
            assert web.get("/recommend/u5", headers={"host": host}).status_code == 403


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
    monkeypatch.setattr(limits, "HEAD_SECONDS", 0.4)
    monkeypatch.setattr(limits, "BODY_SECONDS", 0.4)
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
    monkeypatch.setattr(limits, "HEAD_SECONDS", 0.3)
    with httpx.Client(base_url=f"http://{live[0]}:{live[1]}") as web:
        for _ in range(3):
            assert web.get("/health").status_code == 200
            time.sleep(0.5)
