"""The page and the schema."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from litestar.testing import TestClient

from freqd.feedback import EventLog
from freqd.serve.http.app import create_app
from freqd.serve.http.page import EXAMPLES
from freqd.serve.http.service import Model, Service
from tests.serve.http.shop import RECOMMENDER, Fixed


def test_the_pages_refer_to_nothing_outside(web: TestClient[Any]) -> None:
    schema = web.get("/schema/openapi.json")
    assert schema.status_code == 200
    paths = {"/recommend", "/recommend/{user}", "/similar/{item}", "/events", "/health", "/metrics"}
    assert set(schema.json()["paths"]) == paths
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


def test_bodies_are_shown_with_examples_that_are_answered(web: TestClient[Any], tmp_path: Path) -> None:
    page, schema = web.get("/").text, web.get("/schema/openapi.json").json()
    assert "`" not in page
    for (method, path), examples in EXAMPLES.items():
        body = schema["paths"][path][method]["requestBody"]["content"]["application/json"]
        assert [body["examples"][name]["value"] for name, _ in examples] == [value for _, value in examples]
        for name, value in examples:
            assert name in page
            with TestClient(
                create_app(Service(Fixed(), Model("1", RECOMMENDER)), log=EventLog(tmp_path, "shop", 10**9))
            ) as asked:
                assert asked.request(method, path, json=value).status_code in (200, 202)


def test_try_it_needs_nothing_from_elsewhere(web: TestClient[Any]) -> None:
    page = web.get("/try")
    assert page.status_code == 200
    wanted = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert wanted == ["/try/swagger-ui.css", "/try/swagger-ui-bundle.js", "/try/start.js"]
    for path in wanted:
        assert web.get(path).status_code == 200
    assert "'unsafe-eval'" not in page.headers["content-security-policy"]
    for path in ("/try/other.js", "/try/..%2Fpage.py", "/try/index.html"):
        assert web.get(path).status_code == 404
