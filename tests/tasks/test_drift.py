"""What comes of a drift check: the event, the automation that starts the retraining, the cool-down, the records."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import get_client

from flows.ops import automations, deployments
from freqd.config import RunConfig
from freqd.drift.findings import NewInteractions, OwnInteractions
from freqd.errors import InputError
from tasks import drift, events
from tasks.drift_record import DriftCheck, sentence
from tasks.runtime.workspace import Workspace

pytestmark = pytest.mark.usefixtures("prefect_server")
NOW = datetime(2026, 3, 2, 4, 0, tzinfo=UTC)
CONFIG = RunConfig.model_validate({"data": {"source": ['it\'s <new> & "old".csv']}, "drift": {"cooldown_hours": 24}})
FOUND = DriftCheck(
    model="shop", version="7", source=["new.csv"], rows_read=9, dropped=[], limits={}, found=True, judged=True,
    headline="drift in volume", reasons=["volume: 1 a day"], measures=(), edges=[], spectrum={},
    new=NewInteractions(
        pairs=9, between_known=9, unknown_users=0, unknown_items=0, passed_over=0, first=None, last=None
    ),
    compared_with=OwnInteractions(pairs=9, first=None, last=None),
)  # fmt: skip


def conclude(
    workspace: Workspace, hours: float, model: str = "shop", config: RunConfig = CONFIG, **changes: Any
) -> str:
    found = FOUND.model_copy(update={"model": model, **changes})
    return drift.conclude(workspace, found, config, NOW + timedelta(hours=hours)).outcome


def wait_for(what: Callable[[], Any], seconds: float = 30) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := what():
            return found
        time.sleep(0.2)
    raise AssertionError(f"did not happen within {seconds} s")


def asked() -> list[Any]:
    """Runs that the automation started, and that no worker has taken."""
    with get_client(sync_client=True) as client:
        runs = client.read_flow_runs(limit=200)
    return [run for run in runs if run.created_by and "drift" in run.created_by.display_value]


def test_an_event_starts_a_retraining_with_the_settings_of_the_check(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    deployments.deploy(workspace)
    before = {run.id for run in asked()}
    assert conclude(workspace, 0) == drift.SENT
    assert conclude(workspace, 1) == drift.COOLING_DOWN
    (started,) = wait_for(lambda: [run for run in asked() if run.id not in before])
    assert started.parameters["workdir"] == str(tmp_path)
    assert RunConfig.model_validate(started.parameters["config"]) == CONFIG
    time.sleep(2.0)
    assert len([run for run in asked() if run.id not in before]) == 1, "the event of the cool-down starts nothing"
    records = list(drift.records(workspace.drift / "shop"))
    assert [record.outcome for record in records] == [drift.COOLING_DOWN, drift.SENT]
    assert records[0].cooling_down_until == records[1].cooling_down_until == "2026-03-03T04:00:00+00:00"


@pytest.mark.parametrize("name", [automations.NAME, automations.SILENT])
def test_there_is_one_automation_and_switched_off_it_stays_off(tmp_path: Path, name: str) -> None:
    workspace = Workspace(tmp_path)
    deployments.deploy(workspace)
    with get_client(sync_client=True) as client:
        (made,) = client.read_automations_by_name(name)
        assert made.enabled
        client.pause_automation(made.id)
        deployments.deploy(workspace)
        (same,) = client.read_automations_by_name(name)
        assert (same.id, same.enabled) == (made.id, False)
        client.resume_automation(made.id)
        deployments.deploy(workspace)
        assert client.read_automations_by_name(name)[0].enabled


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Events that ask for a retraining, or say that one was asked for not long ago."""
    names: list[str] = []
    monkeypatch.setattr(drift, "tell", lambda name, *_: names.append(name) if name != events.SEEN else None)
    return names


def test_the_cool_down_ends_and_starts_anew_and_is_each_models_own(tmp_path: Path, sent: list[str]) -> None:
    workspace = Workspace(tmp_path)
    assert conclude(workspace, 0) == drift.SENT
    assert conclude(workspace, 1, found=False) == drift.NOTHING
    assert conclude(workspace, 23.9) == drift.COOLING_DOWN
    assert conclude(workspace, 1, model="other") == drift.SENT
    assert conclude(workspace, 24) == drift.SENT, "what was refused during the cool-down does not lengthen it"
    assert conclude(workspace, 47.9, version="8") == drift.COOLING_DOWN, "a new champion does not end it"
    assert sent == [events.FOUND, events.COOLING, events.FOUND, events.FOUND, events.COOLING]
    zero = CONFIG.model_copy(update={"drift": CONFIG.drift.model_copy(update={"cooldown_hours": 0.0})})
    assert conclude(workspace, 48, config=zero) == conclude(workspace, 48.1, config=zero) == drift.SENT


def test_nothing_is_asked_for_if_it_is_switched_off_or_the_servers_are_down(
    tmp_path: Path, sent: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = Workspace(tmp_path)
    off = CONFIG.model_copy(update={"drift": CONFIG.drift.model_copy(update={"retrain": False})})
    assert conclude(workspace, 0, config=off) == drift.SWITCHED_OFF

    with monkeypatch.context() as patched:
        patched.setattr(drift, "server_listens", lambda: False)
        assert conclude(workspace, 1) == drift.NO_SERVER
    assert conclude(workspace, 2) == drift.SENT, "neither of them starts a cool-down"
    assert sent == [events.FOUND]


def test_of_many_checks_at_once_one_asks(tmp_path: Path, sent: list[str]) -> None:
    outcomes: list[str] = []
    threads = [
        threading.Thread(target=lambda n=n: outcomes.append(conclude(Workspace(tmp_path), n / 1000))) for n in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == [drift.COOLING_DOWN] * 5 + [drift.SENT]


def test_a_damaged_record_is_passed_over(tmp_path: Path, sent: list[str]) -> None:
    workspace = Workspace(tmp_path)
    assert conclude(workspace, 0) == drift.SENT
    (workspace.drift / "shop" / "20260302T050000.000000.json").write_text("{torn")
    assert conclude(workspace, 2) == drift.COOLING_DOWN
    for path in sorted((workspace.drift / "shop").glob("*T0[46]*.json")):
        assert json.loads(path.read_text())["reasons"] == FOUND.reasons


# -- files that a retraining would not see ---------------------------------------------------------------------------


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of weekly files, which is the current one, with a file beside them that is none of them."""
    folder = tmp_path / "shop"
    folder.mkdir()
    for name in ("week-1.csv", "week-2.csv", "other.csv"):
        (folder / name).write_text("user,item\nu,i\n")
    (tmp_path / "same.csv").symlink_to(folder / "week-2.csv")
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.parametrize("new", ["{shop}/week-2.csv", "week-2.csv", "../shop/week-2.csv", "../same.csv", "week-*.csv"])
def test_a_file_of_the_settings_data_is_known_by_any_path(shop: Path, new: str) -> None:
    files = [new.format(shop=shop)]
    config = RunConfig.model_validate({"data": {"source": [f"{shop}/week-*.csv"]}})
    assert drift.elsewhere(config, files) == []
    drift.require_among(config, files)


@pytest.mark.parametrize("new", ["other.csv", "*.csv"])
@pytest.mark.parametrize(
    "own", [{"source": ["week-*.csv"]}, {"source": ["grocery"]}, {"train": "week-1.csv", "test": "week-2.csv"}]
)
def test_files_that_a_retraining_would_not_see_are_named(shop: Path, own: dict[str, Any], new: str) -> None:
    config = RunConfig.model_validate({"data": own})
    assert drift.elsewhere(config, ["week-1.csv", new])[-1] == new
    with pytest.raises(InputError, match=r"is not among the data of the settings \((week|grocery)") as caught:
        drift.require_among(config, [new])
    assert "drift.retrain=false" in caught.value.remedy
    off = config.model_copy(update={"drift": config.drift.model_copy(update={"retrain": False})})
    drift.require_among(off, [new])


def test_drift_in_files_that_a_retraining_would_not_see_asks_for_none(tmp_path: Path, sent: list[str]) -> None:
    workspace = Workspace(tmp_path)
    assert conclude(workspace, 0, elsewhere=["new.csv"]) == drift.ELSEWHERE
    (record,) = drift.records(workspace.drift / "shop")
    assert record.cooling_down_until is None
    assert "new.csv is not among the data" in sentence(record)
    assert sent == []
    assert conclude(workspace, 1) == drift.SENT, "it starts no cool-down"
    assert conclude(workspace, 2, elsewhere=["new.csv"], found=False) == drift.NOTHING
