"""The routes: answers, refusals, and errors that all have one shape."""

from __future__ import annotations

import json
import re
import socket
import threading
import time
from typing import Any
from urllib.parse import quote

import numpy as np
import polars as pl
import pytest
from litestar.testing import TestClient
from scipy import sparse

from freqd.embeddings import Embeddings
from freqd.serve import Recommender
from freqd.serve.http import app
from freqd.serve.http.app import create_app
from freqd.serve.http.messages import MAX_K, MAX_LIST, MAX_USERS
from freqd.serve.http.service import MAX_ECHO, Model, Service
from tests.serve.http.shop import ITEMS, RECOMMENDER, USERS, Fixed, items

ODD = ["a/b", "/a", "a/", "a//b", "../a", "a b", "a?b", "100%", "a%2Fb", "ä/ö", "health"]

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


def test_denied_and_allowed_items_are_as_before(web: TestClient[Any]) -> None:
    every = items(web.get("/recommend/u5", params={"k": 60}).json())
    some = web.post("/recommend", json={"users": ["u5", "u6"], "deny": every[:5], "k": 3}).json()["answers"]
    assert items(some[0]) == every[5:8]
    only = web.post("/recommend", json={"users": ["u5"], "allow": every[3:9], "deny": [every[4]], "k": 9}).json()[
        "answers"
    ]
    assert items(only[0]) == [every[3], *every[5:9]]


def test_ids_may_be_written_as_numbers() -> None:
    numbered = Recommender(
        RECOMMENDER.features, pl.Series(map(str, range(USERS))), pl.Series(map(str, range(ITEMS))), RECOMMENDER.seen
    )
    with TestClient(create_app(Service(Fixed(), Model("1", numbered)))) as web:
        answer = web.post("/recommend", json={"users": [3], "allow": [1, 2]}).json()["answers"][0]
        assert answer["source"] == "model"
        assert answer["user"] == "3"


def test_ids_with_slashes_and_other_signs() -> None:
    """Each of these is one id, whether its slashes are written out or as %2F."""
    ids = pl.Series(ODD)
    shape = (len(ODD), len(ODD))
    content = Recommender(
        Embeddings(RECOMMENDER.features.users[: len(ODD)], RECOMMENDER.features.items[: len(ODD)]), ids, ids,
        sparse.csr_array(shape, dtype=np.float32),
    )  # fmt: skip
    with TestClient(create_app(Service(Fixed(), Model("1", content)))) as web:
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


def test_health(web: TestClient[Any]) -> None:
    health = web.get("/health").json()
    assert health["status"] == "ok"
    assert (health["version"], health["users"], health["items"], health["dim"]) == ("1", USERS, ITEMS, 4)
    assert "rejected_version" not in health


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


@pytest.mark.parametrize("name", ["history", "allow", "deny", "users"])
def test_lists_have_an_end(web: TestClient[Any], name: str) -> None:
    answer = web.post("/recommend", json={name: ["x"] * (MAX_LIST + 1)})
    assert answer.status_code == 400
    assert name in answer.json()["error"]
    assert "at most" in answer.json()["error"]


def test_a_body_that_is_too_large_is_not_read(web: TestClient[Any]) -> None:
    answer = web.post("/recommend", content=b'{"deny": ["' + b"x" * app.MAX_BODY + b'"]}')
    assert answer.status_code == 413
    assert answer.json()["status"] == 413


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

    service.model = Model("1", RECOMMENDER)
    object.__setattr__(service, "model", Model("1", type("Broken", (), {"answer": broken, "resolve": broken})()))  # type: ignore[arg-type]
    with TestClient(create_app(service), raise_server_exceptions=False) as web:
        answer = web.get("/recommend/u5")
    assert answer.status_code == 500
    assert "secret" not in answer.text


# -- what takes too long --------------------------------------------------------------------------------------------


def test_long_lists_of_unknown_items_cost_next_to_nothing(web: TestClient[Any]) -> None:
    """A thousand users and all the items that may be denied: lists are looked up once, and hardly repeated."""
    body = {"users": [f"u{n}" for n in range(MAX_USERS)], "deny": [f"unknown{n}" for n in range(MAX_LIST)], "k": 2}
    start = time.perf_counter()
    answer = web.post("/recommend", json=body)
    assert answer.status_code == 200
    assert time.perf_counter() - start < 5
    assert len(answer.content) < 2_000_000
    assert {len(found["unknown_items"]) for found in answer.json()["answers"]} == {MAX_ECHO}


def test_more_than_can_be_answered_is_told_to_come_again(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "MAX_ANSWERED", 1)
    entered, release = threading.Event(), threading.Event()
    answer = type(RECOMMENDER).answer

    def slow(self: Any, *words: Any, **options: Any) -> Any:
        entered.set()
        release.wait(10)
        return answer(self, *words, **options)

    monkeypatch.setattr(type(RECOMMENDER), "answer", slow)
    many = {"users": ["u1", "u2", "u3"], "k": 1}
    with TestClient(create_app(service)) as web:
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
    answer = type(RECOMMENDER).answer

    def slow(self: Any, user: Any, *words: Any, **options: Any) -> Any:
        asked.append(user)
        time.sleep(0.002)
        return answer(self, user, *words, **options)

    monkeypatch.setattr(type(RECOMMENDER), "answer", slow)
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
