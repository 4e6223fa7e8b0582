"""2,000 requests that nobody sends, by the service's own description and by chance: not one error 500."""

from __future__ import annotations

import random
import string
from collections import Counter
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from hypothesis.errors import Unsatisfiable
from litestar.testing import TestClient

from freqd.serve.http.app import create_app
from freqd.serve.http.service import Model, Service
from tests.faults.conftest import count
from tests.serve.http.shop import RECOMMENDER, Fixed

pytestmark = [pytest.mark.faults, pytest.mark.timeout(1200)]
SERVICE = Service(Fixed(), Model("1", RECOMMENDER), poll_seconds=60)
APP = create_app(SERVICE)
BY_DESCRIPTION, BY_CHANCE = 1200, 1500
_asked: Counter[int] = Counter()


@pytest.fixture(scope="module")
def web() -> Any:
    with TestClient(APP, raise_server_exceptions=False) as client:
        yield client


def test_by_the_description(web: TestClient[Any]) -> None:
    schema = schemathesis.openapi.from_dict(web.get("/schema/openapi.json").json())
    operations = [operation.ok() for operation in schema.get_all_operations()]

    for operation in operations:
        for mode in (schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE):

            @settings(
                max_examples=BY_DESCRIPTION // (2 * len(operations)), database=None,
                suppress_health_check=list(HealthCheck),
            )  # fmt: skip
            @schemathesis_given(operation, mode)
            def ask(case: Any) -> None:
                sent = case.as_transport_kwargs(base_url="http://127.0.0.1")
                answer = web.request(
                    **{k: v for k, v in sent.items() if k in ("method", "url", "params", "headers", "json", "content")}
                )
                _asked[answer.status_code] += 1
                assert answer.status_code != 500, (case, answer.text)

            try:
                ask()
            except Unsatisfiable:
                assert not operation.query, "what takes nothing cannot be asked wrongly"
    count("fuzzed requests, by the description", tried=sum(_asked.values()), HTTP_500=_asked[500])


def schemathesis_given(operation: Any, mode: Any) -> Any:
    from hypothesis import given

    return given(case=operation.as_strategy(generation_mode=mode))


def test_by_chance(web: TestClient[Any], chance: random.Random) -> None:
    found: Counter[int] = Counter()
    letters = string.printable + "é\u2028\U0001f600"

    def text(longest: int = 30) -> str:
        return "".join(chance.choices(letters, k=chance.randint(0, longest)))

    def value(depth: int = 0) -> Any:
        kind = chance.randint(0, 7 if depth < 4 else 4)
        simple = [None, chance.random() < 0.5, chance.randint(-(10**12), 10**12), chance.uniform(-1e300, 1e300), text()]
        if kind < 5:
            return simple[kind]
        if kind == 5:
            return [value(depth + 1) for _ in range(chance.randint(0, 5))]
        names = ["users", "history", "k", "allow", "deny", "exclude_seen", text(5)]
        return {chance.choice(names): value(depth + 1) for _ in range(chance.randint(0, 5))}

    for _ in range(BY_CHANCE):
        method = chance.choice(["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "TRACE"])
        path = chance.choice(
            ["/recommend/", "/recommend", "/similar/", "/health", "/metrics", "/", "/schema/openapi.json"]
        )
        from urllib.parse import quote

        path += chance.choice(["", quote(text(), safe=chance.choice(["", "/%"])), "u5", "i3"])
        options: dict[str, Any] = {}
        if chance.random() < 0.5:
            options["params"] = {
                chance.choice(["k", "exclude_seen", text(4)]): chance.choice(["5", "-1", text(), "true"])
            }
        if chance.random() < 0.6:
            options["json"] = value()
        elif chance.random() < 0.5:
            options["content"] = bytes(chance.choices(range(256), k=chance.randint(0, 200)))
        if chance.random() < 0.3:
            options["headers"] = {
                "content-type": chance.choice(["application/json", "text/plain", "application/msgpack", "x"])
            }
        answer = web.request(method, path, **options)
        found[answer.status_code] += 1
        assert answer.status_code != 500, (method, path, options, answer.text)
    count("fuzzed requests, by chance", tried=sum(found.values()), HTTP_500=found[500])
