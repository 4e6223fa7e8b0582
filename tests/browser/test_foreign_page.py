"""A web page elsewhere, in the operator's own browser, can neither read nor start anything; nor can one whose name points here."""

from __future__ import annotations

import http.server
import json
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tasks.runtime.server_state import Stack
from tests.browser.conftest import NAMES
from tests.shell import User

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

ATTACK = """
async function attack(api, deployment, target) {
  const body = JSON.stringify({parameters: {}, job_variables: {command: "touch " + target}});
  const found = {};
  const note = async (name, what) => { try { const a = await what(); found[name] = a === undefined ? "sent" : String(a.status) + a.type; } catch (e) { found[name] = "blocked"; } };
  const run = api + "/deployments/" + deployment + "/create_flow_run";
  await note("read", () => fetch(api + "/deployments/name/freqd/retrain"));
  await note("json", () => fetch(run, {method: "POST", headers: {"Content-Type": "application/json"}, body}));
  await note("plain", () => fetch(run, {method: "POST", headers: {"Content-Type": "text/plain"}, body}));
  await note("blind", () => fetch(run, {method: "POST", mode: "no-cors", headers: {"Content-Type": "text/plain"}, body}));
  await note("beacon", () => { navigator.sendBeacon(run, body); });
  await note("patch", () => fetch(api + "/work_pools/freqd", {method: "PATCH", headers: {"Content-Type": "application/json"}, body: "{}"}));
  await note("socket", () => new Promise((resolve, reject) => {
    const s = new WebSocket(api.replace("http", "ws") + "/events/in");
    s.onopen = () => resolve({status: 101, type: "open"}); s.onerror = reject; }));
  const form = document.createElement("form");
  form.method = "post"; form.action = run; form.enctype = "text/plain"; form.target = "frame";
  const field = document.createElement("input"); field.name = body.slice(0, -1) + ', "x": "'; field.value = '"}';
  form.append(field); const frame = document.createElement("iframe"); frame.name = "frame";
  document.body.append(frame, form); form.submit();
  await new Promise(r => setTimeout(r, 1500));
  return found;
}
"""


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[str]:
    """A web server of another origin."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "index.html").write_text(f"<!doctype html><title>x</title><body><script>{ATTACK}</script>")

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *words: Any, **options: Any) -> None:
            super().__init__(*words, directory=str(tmp_path / "site"), **options)

        def log_message(self, *_: Any) -> None:
            return

    found = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet)
    threading.Thread(target=found.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{found.server_address[1]}"
    found.shutdown()


def test_a_page_elsewhere_starts_nothing_and_reads_nothing(user: User, elsewhere: str, tmp_path: Path) -> None:
    from playwright.sync_api import sync_playwright

    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        pytest.skip("no browser on this machine; on Debian: apt-get install chromium")
    up = user("up", *user.ports)
    assert up.returncode == 0, up.stderr
    stack = Stack.read(user.workspace)
    assert stack is not None
    deployment = user.ask("/deployments/name/freqd/retrain", None)["id"]
    target = tmp_path / "pwned"
    port = stack.prefect.rpartition(":")[2]
    rules = "MAP evil.example 127.0.0.1, MAP rebound.example 127.0.0.1, MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost"
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=program, args=[f"--host-resolver-rules={rules}"])
        page = browser.new_page()
        for origin in (
            elsewhere,
            elsewhere.replace("127.0.0.1", "evil.example"),
            elsewhere.replace("127.0.0.1", "localhost"),
        ):
            for host in ("127.0.0.1", "localhost"):
                page.goto(f"http://{origin}/index.html")
                found = page.evaluate(
                    f"attack({json.dumps(f'http://{host}:{port}/api')}, {json.dumps(deployment)}, {json.dumps(str(target))})"
                )
                assert found.pop("beacon") in ("sent", "blocked")
                assert found.pop("blind") in ("0opaque", "blocked"), "sent, but not what came back"
                assert set(found.values()) == {"blocked"}, (origin, host, found)
        # the attacker's name now points here: same origin for the browser, and nothing is served under it
        answer = page.goto(f"http://rebound.example:{port}/api/deployments/name/freqd/retrain")
        assert answer is not None
        assert answer.status == 403
        sent = page.evaluate(
            "async () => (await fetch('/api/deployments/filter', {method: 'POST', headers: {'Content-Type': 'application/json'}, body: '{}'})).status"
        )
        assert sent == 403
        browser.close()
    assert user.runs("SCHEDULED", "PENDING", "RUNNING", "COMPLETED", "FAILED", "CRASHED", "CANCELLED") == []
    assert not target.exists()
    assert user.ask("/work_pools/freqd", None)["name"] == "freqd"


def test_the_worker_runs_nothing_that_the_api_says(user: User, tmp_path: Path) -> None:
    """Even for who has the token: command, environment, entrypoint, pull steps and template are ignored, foreign runs refused."""
    from tests.shell import wait_for

    up = user("up", *user.ports)
    assert up.returncode == 0, up.stderr
    target = tmp_path / "pwned"
    evil = {
        "command": f"touch {target}",
        "env": {"PYTHONPATH": str(tmp_path), "PYTHONSTARTUP": "x"},
        "working_dir": str(tmp_path),
    }
    (tmp_path / "evil.py").write_text(
        f"open({str(target)!r}, 'w').close()\nfrom prefect import flow\n@flow\ndef main(): pass\n"
    )
    deployment = user.ask("/deployments/name/freqd/retrain", None)
    identity = deployment["id"]
    user.ask(
        "/work_pools/freqd",
        {"base_job_template": {"job_configuration": {"command": f"touch {target}"}, "variables": {"properties": {}}}},
        "PATCH",
    )
    user.ask(
        f"/deployments/{identity}",
        {
            "entrypoint": f"{tmp_path}/evil.py:main",
            "path": str(tmp_path),
            "pull_steps": [{"prefect.deployments.steps.run_shell_script": {"script": f"touch {target}"}}],
        },
        "PATCH",
    )
    run = user.ask(
        f"/deployments/{identity}/create_flow_run",
        {"parameters": {"workdir": str(tmp_path / "other")}, "state": {"type": "SCHEDULED"}},
    )
    wait_for(lambda: user.ask(f"/flow_runs/{run['id']}", None)["state"]["type"] in ("FAILED", "CRASHED"), 90)
    assert "this worker works in" in user.ask(f"/flow_runs/{run['id']}", None)["state"]["message"]
    no_data = user.ask(f"/deployments/{identity}/create_flow_run", {"parameters": {}})
    wait_for(lambda: user.ask(f"/flow_runs/{no_data['id']}", None)["state"]["type"] in ("FAILED", "CRASHED"), 90)
    assert "names no data" in user.ask(f"/flow_runs/{no_data['id']}", None)["state"]["message"]
    foreign = user.ask(
        "/deployments/",
        {
            "name": "retrain",
            "flow_id": user.ask("/flows/", {"name": "evil"})["id"],
            "work_pool_name": "freqd",
            "entrypoint": f"{tmp_path}/evil.py:main",
        },
    )
    strange = user.ask(f"/deployments/{foreign['id']}/create_flow_run", {"job_variables": evil})
    wait_for(lambda: user.ask(f"/flow_runs/{strange['id']}", None)["state"]["type"] in ("FAILED", "CRASHED"), 90)
    assert "refused" in user.ask(f"/flow_runs/{strange['id']}", None)["state"]["message"]
    assert not target.exists()
