"""The servers as a user starts and stops them, schedules, and the configuration files that come with freqd."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tomllib
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import psutil
import pytest

from flows.ops import servers as stack
from flows.ops.processes import answers
from freqd.config.load import build, read_toml
from freqd.errors import InputError
from tasks.runtime import server_state
from tasks.runtime.environment import SWITCHES
from tasks.runtime.server_state import MARK, Stack
from tasks.runtime.workspace import Workspace
from tests.shell import SMALL, User, wait_for

ROOT = Path(__file__).resolve().parents[3]
ENDED = ("COMPLETED", "FAILED", "CRASHED")


# -- with real servers ----------------------------------------------------------------------------------------------


def test_up_schedule_status_down(user: User) -> None:
    started = user("up", *user.ports)
    assert started.returncode == 0, started.stdout + started.stderr
    found = Stack.running(user.workspace)
    assert found is not None
    assert found.prefect in started.stdout
    assert found.mlflow in started.stdout
    assert "Model training" in started.stdout
    processes = found.processes()
    assert {path.stat().st_mode & 0o077 for path in user.workspace.root.rglob("*")} == {0}, "its owner's alone"
    secret = server_state.token(user.workspace)
    for process in processes:
        assert secret not in " ".join([*process.cmdline(), *process.environ().values()])
    assert secret not in (server_state.folder(user.workspace) / "supervisor.conf").read_text()
    mlflow = psutil.Process(found.pids["mlflow"])
    assert len(mlflow.children(recursive=True)) <= 2, "the lean MLflow server"
    assert answers(f"{found.mlflow}/")
    with urllib.request.urlopen(f"{found.prefect}/ui-settings", timeout=10) as answer:
        assert json.load(answer)["api_url"] == "/api", "the page must call the name and port it came from"
    for process in processes:
        environment = process.environ()
        assert {name: environment[name] for name in SWITCHES} == SWITCHES
    listening = {c.laddr.ip for p in processes for c in p.net_connections("tcp") if c.status == psutil.CONN_LISTEN}
    assert listening == {"127.0.0.1"}

    again = user("up")
    assert again.returncode == 0
    assert "up already" in again.stdout
    assert Stack.read(user.workspace) == found
    assert user("status").returncode == 0
    status = json.loads(user("status", "--json").stdout)
    assert [server["state"] for server in status["servers"]] == ["healthy"] * 4
    assert (status["models"], status["runs"], status["schedules"], status["trouble"]) == ([], [], [], [])

    def ask(path: str, host: str, method: str = "GET") -> int:
        request = urllib.request.Request(f"{found.page}{path}", headers={"Host": host}, method=method)
        try:
            return int(urllib.request.urlopen(request).status)
        except urllib.error.HTTPError as error:
            return int(error.code)

    own = found.page.removeprefix("http://")
    asked = [("/", own, "GET"), ("/", "evil.example", "GET"), ("/", own, "POST"), ("/other", own, "GET")]
    assert [ask(*words) for words in asked] == [200, 403, 405, 404], "one page, of this machine, that only reads"

    scheduled = user("schedule", "--cron", "0 3 * * 1", "--config", "small.toml")
    assert scheduled.returncode == 0, scheduled.stderr
    assert "Mon " in scheduled.stdout
    planned = wait_for(lambda: user.runs("SCHEDULED"), 30)
    assert planned[0]["parameters"]["config"]["data"]["source"] == [str(user.folder / "purchases.csv")]
    assert planned[0]["parameters"]["workdir"] == str(user.workspace.root)

    stopped = user("down")
    assert stopped.returncode == 0, stopped.stdout
    assert found.processes() == []
    assert [p.pid for p in processes if p.is_running() and p.status() != psutil.STATUS_ZOMBIE] == []
    assert not answers(f"{found.prefect}/api/health")
    assert user("status").returncode == 1
    assert "down already" in user("down").stdout


@pytest.mark.slow
def test_a_scheduled_run_completes_and_schedules_outlive_a_restart(user: User) -> None:
    assert user("up", *user.ports).returncode == 0
    assert user("schedule", "--cron", "* * * * *", "--config", "small.toml", "--name", "minutely").returncode == 0
    (done,) = wait_for(lambda: user.runs("COMPLETED", "FAILED", "CRASHED")[:1], 180)
    assert done["state_type"] == "COMPLETED", user("logs", "worker").stdout
    assert done["auto_scheduled"]
    assert user("schedule", "pause", "minutely").returncode == 0
    listed = user("models", "list", "--json")
    versions = json.loads(listed.stdout)
    assert versions[-1]["aliases"] == ["challenger", "champion"]
    assert "gate of run" in user("audit").stdout

    by_hand = user("run", "--config", "small.toml", "--set", "distill.dim=3")
    assert by_hand.returncode == 0, by_hand.stderr
    assert any(not run["auto_scheduled"] for run in user.runs("COMPLETED")), "a run by hand is on the server too"
    promoted = user("promote", "2", "--why", "a test")
    assert promoted.returncode == 0, promoted.stderr
    assert "version 1" in user("rollback", "--why", "a test").stdout

    found = Stack.read(user.workspace)
    assert found is not None
    os.kill(found.supervisor, signal.SIGKILL)
    status = user("status")
    assert status.returncode == 1
    assert "gone" in status.stdout
    restarted = user("up", *user.ports)
    assert restarted.returncode == 0, restarted.stdout
    assert "prefect, mlflow, worker, page gone" in restarted.stdout
    assert found.processes() == [], "nothing of the killed stack is left"
    assert "paused" in user("schedule", "list").stdout
    assert user("schedule", "remove", "minutely").returncode == 0
    assert user("schedule", "remove", "minutely").returncode == 2
    assert user("down").returncode == 0
    embedded = user("models", "list", "--json")
    assert [v["version"] for v in json.loads(embedded.stdout)] == ["2", "1"], "the same books without the servers"


@pytest.mark.slow
def test_the_stores_may_be_on_postgresql(postgres: str, tmp_path: Path, purchases: Path) -> None:
    import psycopg

    (tmp_path / "small.toml").write_text(SMALL)
    user = User(tmp_path, FREQD_DATABASE_URL=f"{postgres}?sslmode=disable")
    refused = user("run", "--config", "small.toml")
    assert refused.returncode == 2
    assert "freqd up" in refused.stderr
    try:
        started = user("up", *user.ports)
        assert started.returncode == 0, started.stdout + started.stderr
        assert "postgresql" in started.stdout
        assert user("run", "--config", "small.toml").returncode == 0
        with psycopg.connect(postgres) as connection:
            for table in ("freqd_prefect.flow_run", "freqd_mlflow.model_versions"):
                (count,) = connection.execute(f"SELECT count(*) FROM {table}".encode()).fetchone()  # type: ignore[misc]
                assert count > 0
        assert "challenger" in user("models", "list").stdout
        assert list(user.workspace.root.rglob("*.db")) == []
        secret, found = postgres.partition("//")[2], Stack.read(user.workspace)
        assert found is not None
        for file in ("state.json", "supervisor.conf", "supervisor.log"):
            assert secret not in (server_state.folder(user.workspace) / file).read_text()
        for process in found.processes():
            assert secret not in " ".join(process.cmdline())
        worker = psutil.Process(found.pids["worker"])
        assert secret not in " ".join(worker.environ().values()), "what runs flows does not know the database"
    finally:
        user("down")


@pytest.mark.slow
def test_what_is_killed_is_started_anew_and_runs_are_carried_out(user: User) -> None:
    assert user("up", *user.ports).returncode == 0
    found = Stack.read(user.workspace)
    assert found is not None
    before = found.pids
    served = psutil.Process(before["mlflow"]).children()

    def ended(run: dict[str, Any]) -> Any:
        state = user.ask(f"/flow_runs/{run['id']}", None)["state_type"]
        return state if state in (*ENDED, "CANCELLED") else None

    endless = user.retrain(teacher={"kind": "bpr", "epochs": 100_000, "patience": 100_000})
    wait_for(lambda: user.ask(f"/flow_runs/{endless['id']}", None)["state_type"] == "RUNNING", 120)
    os.kill(before["worker"], signal.SIGKILL)
    assert wait_for(lambda: ended(endless), 240) == "CRASHED", "nobody would look after it any more"
    for name in ("prefect", "mlflow"):
        os.kill(before[name], signal.SIGKILL)
    wait_for(lambda: before["prefect"] not in found.pids.values(), 10)
    assert Stack.running(user.workspace) == found, "a command goes on when a server is started anew"
    wait_for(lambda: user("status").returncode == 0, 120)
    assert set(found.pids.values()).isdisjoint(before.values())
    assert not any(process.is_running() for process in served), "the port is free for the new one"
    assert "up already" in user("up", *user.ports).stdout

    again = user.retrain()
    assert wait_for(lambda: ended(again), 240) == "COMPLETED", user("logs", "worker").stdout
    assert "SIGKILL" in user("logs", "supervisor").stdout
    assert user("down").returncode == 0
    assert found.processes() == []


@pytest.mark.slow
def test_a_question_waits_for_a_person_without_a_process(user: User) -> None:
    assert user("up", *user.ports).returncode == 0
    found = Stack.read(user.workspace)
    assert found is not None
    run = user.retrain(registry={"approval": "ask", "model_name": "asked"})
    wait_for(lambda: user.ask(f"/flow_runs/{run['id']}", None)["state_type"] in ENDED, 120)
    assert user.ask(f"/flow_runs/{run['id']}", None)["state_type"] == "COMPLETED", user("logs", "worker").stdout
    versions = json.loads(user("models", "list", "--json").stdout)
    assert versions[0]["aliases"] == ["challenger"]
    assert versions[0]["tags"]["freqd.verdict"] == "waiting for approval"
    (question,) = wait_for(lambda: user.runs("PAUSED"), 60)
    assert question["name"] == "may asked version 1 become champion"

    def runs() -> list[int]:
        return [p.pid for p in found.processes() if "flows.ops.execute" in p.cmdline()]

    wait_for(lambda: not runs(), 30)
    bad = user.ask(f"/flow_runs/{question['id']}/resume", {"run_input": {"approve": "yes", "who": "", "why": "good"}})
    assert (bad["status"], "who" in bad["details"]["reason"]) == ("REJECT", True)
    given = {"approve": "yes", "who": "Ann", "why": "good"}
    assert user.ask(f"/flow_runs/{question['id']}/resume", {"run_input": given})["status"] == "ACCEPT"
    wait_for(lambda: user.ask(f"/flow_runs/{question['id']}", None)["state_type"] in ENDED, 60)
    (entry,) = json.loads(user("audit", "--json").stdout)
    assert (entry["what"], entry["version"], entry["who"], entry["why"]) == ("promote", "1", "Ann", "good")
    versions = json.loads(user("models", "list", "--json").stdout)
    assert versions[0]["aliases"] == ["challenger", "champion"]


@pytest.mark.slow
def test_a_run_whose_worker_was_killed_with_it_does_not_stay_running(user: User) -> None:
    assert user("up", *user.ports).returncode == 0
    found = Stack.read(user.workspace)
    assert found is not None
    (automation,) = [a for a in user.ask("/automations/filter", {}) if "silent" in a["name"]]
    automation["trigger"]["within"] = 40  # so that the test need not wait for five minutes; heartbeats come every 30 s
    for name in ("id", "created", "updated"):
        del automation[name]
    present = user.ask("/automations/filter", {})
    (identity,) = [a["id"] for a in present if a["name"] == automation["name"]]
    user.ask(f"/automations/{identity}", automation, "PUT")
    run = user.retrain(teacher={"kind": "bpr", "epochs": 100_000, "patience": 100_000})

    def state() -> str:
        return str(user.ask(f"/flow_runs/{run['id']}", None)["state_type"])

    wait_for(lambda: state() == "RUNNING", 60)
    wait_for(
        lambda: user.ask("/events/filter", {"filter": {"event": {"name": ["prefect.flow-run.heartbeat"]}}})["events"],
        60,
    )
    servers_ = {found.pids["prefect"], found.pids["mlflow"]}
    os.kill(found.supervisor, signal.SIGKILL)  # else it would start another worker, which ends the run in order
    kept = {p.pid for pid in servers_ for p in (psutil.Process(pid), *psutil.Process(pid).children(recursive=True))}
    for process in found.processes():
        if process.pid not in kept:
            process.kill()
    assert state() == "RUNNING", "nobody is left who could say that it ended"
    wait_for(lambda: state() == "CRASHED", 150)


# -- without servers ------------------------------------------------------------------------------------------------


def test_a_taken_port_is_named_with_a_remedy(user: User) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        found = user("up", "--prefect-port", port, *user.ports[2:])
    assert found.returncode == 2
    assert port in found.stderr
    assert "--prefect-port" in found.stderr
    assert Stack.read(user.workspace) is None


def test_what_needs_the_servers_says_so(user: User) -> None:
    for words in (["schedule", "list"], ["schedule", "--cron", "0 3 * * 1", "--config", "small.toml"]):
        found = user(*words)
        assert found.returncode == 2
        assert "freqd up" in found.stderr


def test_an_approval_without_a_page_is_refused_before_anything_starts(user: User) -> None:
    found = user("run", "--config", "small.toml", "--set", "registry.approval=ask")
    assert found.returncode == 2
    assert "freqd up" in found.stderr
    assert not user.workspace.root.exists()


def test_a_stale_state_file_is_no_stack(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    assert Stack.running(workspace) is None
    server_state.folder(workspace).mkdir()
    for content in ("", "[]", '{"mark": "x"}'):
        server_state.state_file(workspace).write_text(content)
        assert Stack.read(workspace) is None
    mine = Stack("not-my-mark", os.getpid(), "http://a", "http://b", "sqlite")
    server_state.state_file(workspace).write_text(mine.as_json())
    assert Stack.read(workspace) == mine
    assert Stack.running(workspace) is None, "a living process that is none of the stack's"
    assert mine.processes() == []
    assert stack.down(workspace) == 0
    assert not server_state.state_file(workspace).exists()


def test_down_finds_orphans_and_grandchildren(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    server_state.folder(workspace).mkdir()
    child = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'], start_new_session=True)"
    subprocess.run([sys.executable, "-c", child], env={**os.environ, MARK: "of-this-test"}, check=True)
    found = Stack("of-this-test", 2**22 + 1, "", "", "sqlite")
    assert len(found.processes()) == 1
    server_state.state_file(workspace).write_text(found.as_json())
    assert stack.down(workspace) == 1
    assert found.processes() == []


def test_the_database_address_becomes_one_schema_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace = Workspace(tmp_path)
    monkeypatch.delenv(server_state.DATABASE, raising=False)
    assert server_state.stores(workspace)["MLFLOW_BACKEND_STORE_URI"] == workspace.mlflow_uri
    monkeypatch.setenv(server_state.DATABASE, "postgresql://me:s%40crt@db:5433/books?sslmode=require")
    found = server_state.stores(workspace)
    assert found["PREFECT_API_DATABASE_CONNECTION_URL"] == ("postgresql+asyncpg://me:s%40crt@db:5433/books?ssl=require")
    assert found["MLFLOW_BACKEND_STORE_URI"] == (
        "postgresql+psycopg://me:s%40crt@db:5433/books?sslmode=require&options=-csearch_path%3Dfreqd_mlflow"
    )
    for wrong in ("mysql://db/books", "postgresql://db", "books", "postgresql:///books"):
        monkeypatch.setenv(server_state.DATABASE, wrong)
        with pytest.raises(InputError, match="PostgreSQL"):
            server_state.database()


def test_a_database_that_cannot_be_reached_is_named_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(server_state.DATABASE, "postgresql://freqd:geheim@127.0.0.1:1/none")
    with pytest.raises(InputError, match="cannot be used") as caught:
        stack.prepare_database()
    assert "geheim" not in str(caught.value)


def test_proxies_are_never_asked_for_this_machine() -> None:
    assert server_state.no_proxy({})["NO_PROXY"] == "127.0.0.1,localhost"
    assert server_state.no_proxy({"no_proxy": "example.org,localhost"})["no_proxy"] == "example.org,localhost,127.0.0.1"


@pytest.mark.usefixtures("prefect_server")
def test_schedules_are_kept_when_the_deployment_is_brought_up_to_date(
    tmp_path: Path, purchases: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from prefect.client.orchestration import get_client

    from flows.ops import deployments, scheduling

    monkeypatch.chdir(tmp_path)
    (tmp_path / "small.toml").write_text(SMALL)
    workspace, config = Workspace(tmp_path / "work"), build([read_toml(tmp_path / "small.toml")])
    deployments.deploy(workspace)
    with pytest.raises(InputError, match="Invalid cron"):
        scheduling.schedule("weekly", "99 3 * * 1", "UTC", config, workspace)
    with pytest.raises(InputError, match="Mars"):
        scheduling.schedule("weekly", "0 3 * * 1", "Mars/Base", config, workspace)
    first, second, _ = scheduling.schedule("weekly", "0 3 * * 1", "Europe/Berlin", config, workspace)
    assert (first.hour, first.weekday(), (second - first).days) == (3, 0, 7)
    assert first.tzinfo == ZoneInfo("Europe/Berlin")
    assert scheduling.schedules()[0].next == first
    scheduling.schedule("weekly", "0 4 * * 1", "Europe/Berlin", config, workspace)
    deployments.deploy(workspace)
    (row,) = scheduling.schedules()
    assert (row.name, row.cron, row.active) == ("weekly", "0 4 * * 1", True)
    assert row.data == str(purchases)
    scheduling.set_active("weekly", False)
    assert scheduling.schedules()[0].next is None
    scheduling.set_active("weekly", True)
    (row,) = scheduling.schedules()
    assert (row.cron, row.active, row.data) == ("0 4 * * 1", True, str(purchases)), "nothing is lost on the way"
    assert row.next is not None
    scheduling.set_active("weekly", False)
    with pytest.raises(InputError, match="weekly"):
        scheduling.remove("monthly")
    with get_client(sync_client=True) as client:
        found = client.read_deployment_by_name("freqd/retrain")
    assert found.global_concurrency_limit is not None
    assert found.global_concurrency_limit.limit == 1
    assert found.concurrency_options is not None
    assert found.concurrency_options.collision_strategy.value == "CANCEL_NEW"
    assert "config" in found.parameter_openapi_schema["properties"]
    scheduling.remove("weekly")
    assert scheduling.schedules() == []


# -- configuration files --------------------------------------------------------------------------------------------


def test_server_env_says_what_freqd_up_says() -> None:
    lines = (ROOT / "mlflow" / "server.env").read_text().splitlines()
    pairs = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    ours = {name: value for name, value in {**SWITCHES, **stack.SETTINGS}.items() if name.startswith("MLFLOW_")}
    assert ours.items() <= pairs.items()


def test_gate_toml_is_a_valid_policy() -> None:
    values = tomllib.loads((ROOT / "mlflow" / "gate.toml").read_text())
    assert set(values) == {"registry"}
    assert build([values]).registry.enabled


def test_prefect_yaml_describes_the_deployments_that_freqd_up_makes() -> None:
    import yaml

    from flows.ops import deployments

    found = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
    for entry, what in zip(found, deployments.DEPLOYED, strict=True):
        assert entry["name"] == what.name
        assert entry["description"] == what.description
        assert entry["entrypoint"] == what.entrypoint
        assert entry["work_pool"]["name"] == deployments.POOL
        limit = None if what.limit is None else {"limit": what.limit, "collision_strategy": "CANCEL_NEW"}
        assert entry.get("concurrency_limit") == limit
