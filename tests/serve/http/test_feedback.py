"""POST /events, and a challenger for a share of the users."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from litestar.testing import TestClient

from freqd.feedback import EventLog, read_events
from freqd.serve.http.app import create_app
from freqd.serve.http.messages import MAX_EVENTS
from freqd.serve.http.service import Model, Service, Trial
from tests.serve.http.shop import RECOMMENDER, USERS, Fixed, items, make_recommender

GOOD = {"user": "u1", "item": "i2", "event": "click", "version": "1"}
OTHER = make_recommender(5)


def trial(service: Service, share: float = 0.3, version: str = "2") -> Trial:
    return Trial(Service(Fixed(), Model(version, OTHER), metrics=service.metrics, leads=False), share)


@pytest.fixture
def keeping(service: Service, tmp_path: Path) -> Iterator[TestClient[Any]]:
    with TestClient(
        create_app(service, log=EventLog(tmp_path, "shop", 10**9)), raise_server_exceptions=False
    ) as client:
        yield client


def test_events_are_kept_with_the_served_models_name(keeping: TestClient[Any], tmp_path: Path) -> None:
    shown = {"user": 7, "item": "i2", "event": "impression", "version": "1", "time": 12.5, "position": 3}
    answer = keeping.post("/events", json={"events": [GOOD, shown]})
    assert (answer.status_code, answer.json()) == (202, {"taken": 2})
    rows = pl.concat(read_events(tmp_path)).sort("time").to_dicts()
    assert rows[0] == {**shown, "user": "7", "time": 12_500_000, "model": "shop"}
    assert rows[1]["time"] > 1.7e15
    assert 'freqd_events_total{event="click"} 1.0' in keeping.get("/metrics").text


@pytest.mark.parametrize(
    "body",
    [
        {}, [], {"events": []}, {"events": [GOOD] * (MAX_EVENTS + 1)}, {"events": [{**GOOD, "event": "look"}]},
        {"events": [{**GOOD, "user": ""}]}, {"events": [{**GOOD, "user": "u" * 1001}]}, {"events": [{**GOOD, "time": -1}]},
        {"events": [{**GOOD, "position": 0}]}, {"events": [{**GOOD, "name": "x"}]}, {"events": [GOOD, {"user": "u1"}]},
        {"events": [{**GOOD, "version": None}]}, {"events": [{**GOOD, "time": "now"}]},
    ],
)  # fmt: skip
def test_what_is_wrong_is_refused_as_a_whole(keeping: TestClient[Any], tmp_path: Path, body: object) -> None:
    answer = keeping.post("/events", json=body)
    assert answer.status_code == 400, answer.text
    assert pl.concat(read_events(tmp_path)).is_empty()


def test_a_full_disk_is_told(keeping: TestClient[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(EventLog, "write", full)
    answer = keeping.post("/events", json={"events": [GOOD]})
    assert answer.status_code == 503
    assert "not kept" in answer.json()["error"]


def test_a_service_that_keeps_none_says_so(web: TestClient[Any]) -> None:
    assert web.post("/events", json={"events": [GOOD]}).status_code == 503


def test_the_challenger_answers_its_share_always_the_same_users(service: Service) -> None:
    on_trial = trial(service)
    with TestClient(create_app(service, trial=on_trial)) as web:
        versions = {u: web.get(f"/recommend/u{u}").json()["version"] for u in range(USERS)}
        assert {web.get(f"/recommend/u{u}").json()["version"] == versions[u] for u in range(USERS)} == {True}
        users = [f"u{u}" for u in range(USERS)]
        together = web.post("/recommend", json={"users": users, "k": 5}).json()
        assert [one["version"] for one in together["answers"]] == [versions[u] for u in range(USERS)]
        assert together["version"] is None, "each answer has its own"
        alone = web.post("/recommend", json={"users": [next(u for u in users if versions[int(u[1:])] == "2")]}).json()
        assert alone["version"] == "2"
        for user, one in enumerate(together["answers"]):
            model = OTHER if versions[user] == "2" else RECOMMENDER
            assert items(one) == model.ask(f"u{user}", k=5).items
        assert web.post("/recommend", json={"history": ["i1"]}).json()["answers"][0]["version"] == "1"
        health = web.get("/health").json()
        assert (health["version"], health["challenger_version"], health["challenger_share"]) == ("1", "2", 0.3)
        assert 'freqd_answers_by_version_total{version="2"}' in web.get("/metrics").text
    assert 0 < sum(version == "2" for version in versions.values()) < USERS // 2


def test_the_share_is_what_was_asked_for_and_another_version_draws_others(service: Service) -> None:
    users = [str(n) for n in range(20_000)]
    one, two = trial(service, 0.1), trial(service, 0.1, "3")
    first, second = ({u for u in users if t.takes(u, "1")} for t in (one, two))
    for found in (first, second):
        assert 0.09 < len(found) / len(users) < 0.11
    assert len(first & second) < 0.02 * len(users)


def test_a_challenger_that_became_champion_is_no_trial(service: Service) -> None:
    same = trial(service, 0.5, "1")
    with TestClient(create_app(service, trial=same)) as web:
        assert {web.get(f"/recommend/u{u}").json()["version"] for u in range(USERS)} == {"1"}
        assert "challenger_version" not in web.get("/health").json()


@pytest.mark.parametrize(
    "headers",
    [
        {"content-type": "text/plain"},
        {"content-type": "application/x-www-form-urlencoded"},
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
def test_a_foreign_page_reports_nothing(keeping: TestClient[Any], tmp_path: Path, headers: dict[str, str]) -> None:
    body = json.dumps({"events": [GOOD]})
    answer = keeping.post("/events", content=body, headers={"content-type": "application/json", **headers})
    assert answer.status_code in (400, 403)
    assert pl.concat(read_events(tmp_path)).is_empty()
    own = {
        "content-type": "application/json; charset=utf-8",
        "origin": "http://testserver.local",
        "sec-fetch-site": "same-origin",
    }
    assert keeping.post("/events", content=body, headers=own).status_code == 202
