"""What Prometheus reads, and what it must not."""

from __future__ import annotations

from typing import Any

from litestar.testing import TestClient


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


def test_methods_that_clients_make_up_are_one_label(web: TestClient[Any]) -> None:
    for number in range(5):
        web.request(f"MADEUP{number}", "/health")
    assert "MADEUP" not in web.get("/metrics").text
    assert 'method="other"' in web.get("/metrics").text
