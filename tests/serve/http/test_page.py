"""The page and the schema."""

from __future__ import annotations

import re
from typing import Any

from litestar.testing import TestClient


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
