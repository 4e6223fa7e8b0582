"""What Prometheus gets: requests by route and status, answers by source, and the version that is served."""

from __future__ import annotations

import time

from litestar.types import ASGIApp, Message, Receive, Scope, Send
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

METHODS = frozenset({"GET", "POST", "HEAD", "OPTIONS", "PUT", "PATCH", "DELETE"})
BUCKETS = (0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


class Metrics:
    """Prometheus metrics of one service."""

    def __init__(self) -> None:
        self.registry = own = CollectorRegistry()
        self.requests = Counter(
            "freqd_requests", "Requests by route and status.", ("method", "route", "status"), registry=own
        )
        self.seconds = Histogram(
            "freqd_request_seconds", "Seconds to answer, by route.", ("route",), buckets=BUCKETS, registry=own
        )
        self.answers = Counter("freqd_answers", "Answers by where they come from.", ("source",), registry=own)
        self.versions = Counter(
            "freqd_answers_by_version", "Answers by version of the model.", ("version",), registry=own
        )
        self.events = Counter("freqd_events", "Events that were kept, by kind.", ("event",), registry=own)
        self.model = Gauge("freqd_model_info", "1 for the version that is served.", ("name", "version"), registry=own)
        self.loaded = Gauge("freqd_model_loaded_timestamp_seconds", "When the served version was loaded.", registry=own)
        self.broken = Gauge("freqd_model_rejected", "1 while the alias points at a broken version.", registry=own)
        self.registry_up = Gauge("freqd_registry_up", "1 if the registry answered when last asked.", registry=own)
        self.recall = Gauge("freqd_index_recall", "Share of the exact top 20 that is found; 1: exact.", registry=own)
        self.build = Gauge("freqd_index_build_seconds", "Seconds that the index took; 0: there is none.", registry=own)
        self.swaps = Counter("freqd_model_swaps", "Times that another version took over.", registry=own)


def measured(app: ASGIApp, metrics: Metrics) -> ASGIApp:
    """Count and time every request."""

    async def measure(scope: Scope, receive: Receive, send: Send) -> None:
        started, status = time.perf_counter(), 500

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await app(scope, receive, watched)
        finally:
            route = str(scope.get("path_template") or "none")
            method = str(scope.get("method", ""))
            metrics.requests.labels(method if method in METHODS else "other", route, str(status)).inc()
            metrics.seconds.labels(route).observe(time.perf_counter() - started)

    return measure
