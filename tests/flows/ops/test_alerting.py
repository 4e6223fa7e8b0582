"""Alerts as somebody gets them: by the servers of `freqd up`, from a run that failed, a refused model, a late schedule."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from prefect.client.orchestration import get_client

from flows.ops import alerting, automations
from tasks.runtime.alert_block import NAME
from tasks.runtime.workspace import Workspace
from tests.shell import SMALL, User, wait_for
from tests.tasks.runtime.test_alerts import Hook, serving


@pytest.mark.usefixtures("prefect_server")
def test_alerts_are_automations_that_stay_switched_off(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    about = alerting.switch_on(workspace)
    assert {alert.about for alert in alerting.present()} == set(about)
    with get_client(sync_client=True) as client:
        (entry,) = client.read_automations_by_name(f"{automations.ALERTS}drift")
        client.pause_automation(entry.id)
        block = client.read_block_document_by_name(NAME, "freqd-alert")
    assert block.data == {"workdir": str(tmp_path)}, "Prefect knows no address and no password"
    assert alerting.switch_on(workspace) == about
    assert {alert.about for alert in alerting.present() if not alert.active} == {"drift"}
    alerting.switch_off()
    assert alerting.present() == []


@pytest.mark.slow
def test_alerts_arrive(tmp_path: Path, planted: Callable[..., pl.DataFrame]) -> None:
    planted().write_csv(tmp_path / "purchases.csv")
    (tmp_path / "small.toml").write_text(SMALL)
    owner, hook = User(tmp_path), Hook()

    def told(words: str) -> list[str]:
        return [message["body"] for message in hook.told if words in message["subject"]]

    try:
        assert owner("up", *owner.ports).returncode == 0
        with serving(hook):
            made = owner("alerts", "--to", hook.url, "--test")
            assert made.returncode == 0, made.stdout + made.stderr
            assert "t0ken" not in made.stdout
            assert told("a test")
            shown = json.loads(owner("alerts", "--json").stdout)
            assert set(shown["alerts"].values()) == {"active"}

            for dim in ("4", "2"):
                assert owner("run", "--config", "small.toml", "--set", f"distill.dim={dim}").returncode == 0
            (refused,) = wait_for(lambda: told("version 2 was not promoted"), 60)
            assert "NDCG@10" in refused

            broken = owner.retrain(data={"columns": {"user": "nobody"}})
            wait_for(lambda: owner.runs("FAILED"), 120)
            assert wait_for(lambda: told("has failed"), 60)
            assert broken["id"] in told("has failed")[0], "the page of the run is one click away"

            query = {"automations": {"name": {"any_": [f"{automations.ALERTS}silent schedules"]}}}
            (late,) = owner.ask("/automations/filter", query)
            changed = {name: late[name] for name in ("name", "description", "enabled", "actions")}
            changed["trigger"] = {**late["trigger"], "within": 20}
            owner.ask(f"/automations/{late['id']}", changed, "PUT")
            owner.ask("/work_pools/freqd", {"is_paused": True}, "PATCH")
            owner.retrain()
            assert wait_for(lambda: told("has not started"), 120)
            ids = {f"u{n:04d}" for n in range(200)} | {f"i{n:04d}" for n in range(120)}
            everything = json.dumps(hook.told)
            assert not [known for known in ids if known in everything]
            assert owner("alerts", "--off").returncode == 0
        log = owner("logs", "--lines", "2000").stdout
        assert "t0ken" not in log
    finally:
        owner("down")
