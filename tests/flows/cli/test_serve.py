"""`freqd serve`: what it refuses before it loads anything, and that it answers until it is interrupted."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from flows.cli import serve as command
from flows.cli.serve import Index, Listening, serve
from freqd.errors import InputError
from freqd.evaluate import faiss_index
from tasks.mlops.champion import Registered
from tests.serve.http.shop import items, make_recommender

TOKEN = "0123456789abcdef0123"


ANY = Listening(port=0)


def test_an_index_that_cannot_be_had_is_refused_before_a_model_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faiss_index.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match="faiss is not installed"):
        serve(listening=ANY, index=Index(index="faiss"))
    with pytest.raises(InputError, match=r"--index-recall 1\.5: .*less than or equal to 1"):
        serve(listening=ANY, index=Index(index_recall=1.5))
    with pytest.raises(InputError, match="--index-from 0: "):
        serve(listening=ANY, index=Index(index_from=0))


def test_a_taken_port_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=f"port {port}"):
            serve(listening=Listening(port=port))


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "::"])
def test_beyond_this_machine_a_token_is_asked_for(host: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(command.TOKEN, raising=False)
    with pytest.raises(InputError, match="can be reached by others") as caught:
        command._access(host, None, ())
    assert "openssl rand" in caught.value.remedy
    monkeypatch.setenv(command.TOKEN, TOKEN)
    assert command._access(host, None, ()).token == TOKEN
    (tmp_path / "token").write_text(f"{TOKEN}9\n")
    assert command._access(host, tmp_path / "token", ()).token == f"{TOKEN}9"
    for wrong in ("short", "with blanks in it, but long", "ümläütsümläüts"):
        monkeypatch.setenv(command.TOKEN, wrong)
        with pytest.raises(InputError, match="token"):
            command._access(host, None, ())


def test_the_command_refuses_an_open_address_before_it_loads_anything(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != command.TOKEN}
    words = [Path(sys.executable).parent / "freqd", "serve", "--host", "0.0.0.0", "--workdir", tmp_path / "none"]
    found = subprocess.run(words, capture_output=True, text=True, env=environment, timeout=60)
    assert found.returncode == 2
    assert re.search("token", found.stderr)
    assert not (tmp_path / "none").exists()


def test_the_command_serves_until_it_is_interrupted(shop: tuple[Registered, str]) -> None:
    registered, version = shop
    words = [Path(sys.executable).parent / "freqd", "serve", "--name", registered.name, "--port", "0"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env={**os.environ, "COLUMNS": "200"}) as server:
        try:
            assert server.stdout is not None
            first = server.stdout.readline()
            address = re.search(r"http://127\.0\.0\.1:\d+", first)
            assert address, first
            assert f"version {version}" in first
            with httpx.Client(base_url=address.group()) as web:
                seconds = [web.get("/recommend/u5", params={"k": 5}).elapsed.total_seconds() for _ in range(10)]
                assert (
                    items(web.get("/recommend/u5", params={"k": 5}).json()) == make_recommender().ask("u5", k=5).items
                )
            assert min(seconds) < 0.03, "head and body of an answer must not wait for an acknowledgement between them"
        finally:
            server.send_signal(signal.SIGINT)
        assert server.wait(20) == 0
