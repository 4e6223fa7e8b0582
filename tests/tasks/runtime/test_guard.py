"""Who may ask the Prefect server what: freqd's processes everything, the page what an operator does, others nothing."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from tasks.runtime.guard import BODY_LIMIT, Guard

PORT, TOKEN = 4200, "a secret"
HOME = f"http://127.0.0.1:{PORT}"
ID = "2916175d-7992-4e6e-b895-9ea07f4d8858"


class App:
    """What stands behind the guard: takes down what reaches it."""

    def __init__(self) -> None:
        self.seen: list[tuple[dict[str, Any], bytes]] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body = b""
        while scope["type"] == "http":
            message = await receive()
            body += message["body"]
            if not message["more_body"]:
                break
        self.seen.append((dict(scope), body))
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b""})


def ask(
    method: str,
    path: str,
    body: Any = None,
    *,
    host: str | None = f"127.0.0.1:{PORT}",
    origin: str | None = HOME,
    token: str | None = None,
    more: tuple[tuple[str, str], ...] = (),
    kind: str = "http",
    query: bytes = b"",
) -> tuple[int, App]:
    """The status of an answer, and what got through."""
    app, sent = App(), []
    content = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    given = [("host", host), ("origin", origin), ("x-freqd-token", token), ("content-length", str(len(content))), *more]
    headers = [(name.encode(), value.encode()) for name, value in given if value is not None]
    halves = [content[: len(content) // 2], content[len(content) // 2 :]]

    async def receive() -> dict[str, Any]:
        if kind == "websocket":
            return {"type": "websocket.connect"}
        return {"type": "http.request", "body": halves.pop(0), "more_body": bool(halves)}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": kind, "method": method, "path": path, "root_path": "", "headers": headers, "query_string": query}
    asyncio.run(Guard(app, PORT, TOKEN)(scope, receive, send))
    if kind == "websocket":
        return (403 if sent else 101), app
    return sent[0]["status"], app


@pytest.mark.parametrize("host", [f"127.0.0.1:{PORT}", f"localhost:{PORT}", f"LocalHost:{PORT}", f"[::1]:{PORT}"])
def test_the_servers_own_names(host: str) -> None:
    assert ask("GET", "/api/health", host=host, origin=None)[0] == 200


@pytest.mark.parametrize(
    "host", ["evil.example", f"evil.example:{PORT}", "127.0.0.1", "127.0.0.1:1", f"127.0.0.1:{PORT}.evil", "", None]
)
@pytest.mark.parametrize("token", [None, TOKEN])
@pytest.mark.parametrize("kind", ["http", "websocket"])
def test_a_name_that_was_made_to_point_here(host: str | None, token: str | None, kind: str) -> None:
    status, app = ask("GET", "/api/events/out", host=host, token=token, kind=kind)
    assert (status, app.seen) == (403, [])


def test_two_hosts_are_none() -> None:
    assert ask("GET", "/api/health", more=(("host", "evil.example"),))[0] == 403


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", f"https://127.0.0.1:{PORT}", "http://127.0.0.1:1", f"{HOME}.evil"]
)
@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/api/flows"), ("POST", "/api/flow_runs/filter"), ("POST", f"/api/deployments/{ID}/create_flow_run")],
)
def test_another_page_may_ask_nothing(origin: str, method: str, path: str) -> None:
    assert ask(method, path, {}, origin=origin)[0] == 403


def test_a_request_without_an_origin_may_read_and_not_write() -> None:
    assert ask("GET", "/api/deployments/name/freqd/retrain", origin=None)[0] == 200
    assert ask("POST", f"/api/deployments/{ID}/create_flow_run", {}, origin=None)[0] == 403
    assert ask("GET", "/api/flows", origin=None, more=(("sec-fetch-site", "cross-site"),))[0] == 403
    assert (
        ask("GET", "/", origin=None, more=(("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate")))[0] == 200
    )


@pytest.mark.parametrize("query", [b"include_secrets=true", b"a=1&%69nclude%5Fsecrets=1", b"INCLUDE_SECRETS=true"])
def test_no_secret_of_a_block_is_read_without_the_token(query: bytes) -> None:
    path = f"/api/block_documents/{ID}"
    assert ask("GET", path)[0] == 200
    assert ask("GET", path, query=query)[0] == 403
    assert ask("GET", path, query=query, token=TOKEN)[0] == 200
    for secrets in (True, 1, "true"):
        assert ask("POST", "/api/block_documents/filter", {"include_secrets": secrets})[0] == 403
    status, app = ask("POST", "/api/block_documents/filter", {"limit": 3, "include_secrets": False})
    assert (status, json.loads(app.seen[0][1])) == (200, {"limit": 3})


def test_the_token_opens_everything_and_goes_no_further() -> None:
    status, app = ask("POST", "/api/work_pools/", {"type": "process"}, origin=None, token=TOKEN)
    assert status == 200
    assert not [name for name, _ in app.seen[0][0]["headers"] if name == b"x-freqd-token"]
    for wrong in ("", "a secre", "a secret ", "A SECRET"):
        assert ask("POST", "/api/work_pools/", {}, origin=None, token=wrong)[0] == 403
    assert ask("POST", "/api/work_pools/", {}, token=TOKEN, more=(("x-freqd-token", TOKEN),))[0] == 403


DANGEROUS = [
    ("POST", "/work_pools/"), ("PATCH", "/work_pools/freqd"), ("DELETE", f"/deployments/{ID}"), ("POST", "/deployments/"),
    ("POST", "/automations/"), ("PUT", f"/automations/{ID}"), ("POST", "/block_documents/"), ("POST", "/events"),
    ("PUT", "/admin/storage"), ("DELETE", "/admin/storage"), ("POST", "/flow_runs/"), ("PATCH", f"/flow_runs/{ID}"),
    ("POST", "/flow_runs/bulk_set_state"), ("POST", f"/task_runs/{ID}/set_state"), ("POST", f"/flow_runs/{ID}/input"),
    ("POST", "/deployments/bulk_create"), ("POST", "/variables/"), ("POST", "/logs/"), ("POST", "/templates/validate"),
    ("GET", "/collections/views/aggregate-worker-metadata"), ("TRACE", "/flows/filter"),
    ("POST", f"/deployments/{ID}/schedules"), ("DELETE", f"/flow_runs/{ID}"), ("POST", "/artifacts/"),
]  # fmt: skip


@pytest.mark.parametrize(("method", "path"), DANGEROUS)
def test_what_the_page_may_not_do(method: str, path: str) -> None:
    assert ask(method, f"/api{path}", {})[0] == 403
    assert ask(method, f"/api{path}", {}, token=TOKEN)[0] == 200


@pytest.mark.parametrize(
    "path",
    [
        "/api//work_pools/",
        "/api/work_pools/../flows/filter",
        "/api/flows/filter/..",
        "/work_pools/",
        "//api/flows/filter",
    ],
)
def test_ways_around_the_list(path: str) -> None:
    assert ask("POST", path, {})[0] == 403


@pytest.mark.parametrize(
    "path",
    [
        "/flow_runs/filter",
        "/flows/paginate",
        f"/flow_runs/{ID}/input/filter",
        "/work_pools/freqd/workers/filter",
        "/ui/flow_runs/history",
    ],
)
def test_what_is_asked_by_post_and_only_reads(path: str) -> None:
    assert ask("POST", f"/api{path}", {"limit": 5})[0] == 200


ALLOWED = [
    (
        "POST",
        f"/deployments/{ID}/create_flow_run",
        {"parameters": {"config": {}}, "name": "mine", "state": {"type": "SCHEDULED"}},
    ),
    ("POST", f"/flow_runs/{ID}/resume", {"run_input": {"approve": "yes"}}),
    ("POST", f"/flow_runs/{ID}/set_state", {"state": {"type": "CANCELLING"}}),
    ("POST", f"/deployments/{ID}/pause_deployment", None),
    ("PATCH", f"/deployments/{ID}", {"paused": True}),
    (
        "PATCH",
        f"/deployments/{ID}/schedules/{ID}",
        {"active": False, "schedule": {"cron": "* * * * *"}, "parameters": {"a": 1}},
    ),
    ("PATCH", f"/automations/{ID}", {"enabled": False}),
]


@pytest.mark.parametrize(("method", "path", "body"), ALLOWED)
def test_what_an_operator_does_on_the_page(method: str, path: str, body: Any) -> None:
    status, app = ask(method, f"/api{path}", body)
    assert status == 200
    assert json.loads(app.seen[0][1] or b"null") == (body if body is not None else None) or body is None


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", f"/deployments/{ID}/create_flow_run", {"job_variables": {"command": "touch /tmp/x"}}),
        ("POST", f"/deployments/{ID}/create_flow_run", {"parent_task_run_id": ID}),
        ("POST", f"/deployments/{ID}/create_flow_run", {"state": {"type": "SCHEDULED", "data": {"storage_key": "/x"}}}),
        ("POST", f"/deployments/{ID}/create_flow_run", {"state": "x"}),
        ("POST", f"/flow_runs/{ID}/set_state", {"state": {"type": "COMPLETED", "data": {"storage_key": "/x"}}}),
        ("PATCH", f"/deployments/{ID}", {"entrypoint": "x.py:main"}),
        ("PATCH", f"/deployments/{ID}", {"paused": True, "pull_steps": [{"a": 1}]}),
        ("PATCH", f"/deployments/{ID}/schedules/{ID}", {"job_variables": {"env": {"A": "1"}}}),
        ("PATCH", f"/automations/{ID}", {"actions": [{"type": "call-webhook"}]}),
        ("POST", f"/deployments/{ID}/create_flow_run", [{"parameters": {}}]),
        ("POST", f"/deployments/{ID}/create_flow_run", b"\xff{"),
        ("PATCH", f"/deployments/{ID}", b"x" * (BODY_LIMIT + 1)),
    ],
)
def test_what_a_body_may_not_say(method: str, path: str, body: Any) -> None:
    status, app = ask(method, f"/api{path}", body)
    assert (status, app.seen) == (403, [])


def test_nulls_that_would_clear_something_are_left_out() -> None:
    """The page's switch sends concurrency_options: null too, which would take the limit's strategy away."""
    _, app = ask("PATCH", f"/api/deployments/{ID}", {"paused": True, "concurrency_options": None, "tags": []})
    scope, body = app.seen[0]
    assert json.loads(body) == {"paused": True}
    assert dict(scope["headers"])[b"content-length"] == str(len(body)).encode()


def test_the_second_of_two_equal_keys_does_not_slip_through() -> None:
    _, app = ask("PATCH", f"/api/deployments/{ID}", b'{"paused": true, "paused": false}')
    assert app.seen[0][1] == b'{"paused": false}'


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/api/events/out", 101),
        ("/api/logs/out", 101),
        ("/api/events/in", 403),
        ("/api/task_runs/subscriptions/scheduled", 403),
    ],
)
def test_websockets_of_the_page_only_read(path: str, status: int) -> None:
    assert ask("GET", path, kind="websocket")[0] == status
    assert ask("GET", path, kind="websocket", origin="http://evil.example")[0] == 403
    assert ask("GET", path, kind="websocket", origin=None, token=TOKEN)[0] == 101
