"""The drift check as a flow and as a user runs it, up to the retraining that it starts."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey

from flows.cli import drift as command
from flows.drift import drift
from flows.ops import deployments, scheduling
from flows.pipeline import pipeline
from freqd.config import RunConfig
from freqd.config.load import build, parse_assignment
from freqd.errors import InputError
from tasks.drift import champion_settings
from tasks.drift_record import SWITCHED_OFF
from tasks.runtime.server_state import Stack
from tasks.runtime.workspace import Workspace
from tests.shell import User, freqd_command, wait_for

MODEL = "drift-of-planted"
CUT = date(2020, 12, 10)
CHEAP = (
    "teacher.kind=als", "teacher.factors=[8]", "teacher.regularization=[1.0]", "teacher.alpha=[10.0]", "teacher.iterations=4", "distill.dim=4",
    "distill.epochs=2", "baselines.models=none", "spectral.bands=4", "spectral.filter=identity", "evaluate.bootstrap_samples=100", "drift.retrain=false",
)  # fmt: skip


def config(source: Path, *changes: str) -> RunConfig:
    own = {"data": {"source": [str(source)]}, "registry": {"model_name": MODEL}}
    return build([own, *map(parse_assignment, (*CHEAP, *changes))])


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory, planted: Callable[..., pl.DataFrame]) -> Path:
    path = tmp_path_factory.mktemp("data") / "purchases.csv"
    planted(users=400, items=300, per_user=50).write_csv(path)
    return path


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory, source: Path, prefect_server: None) -> Workspace:
    """With a champion that knows what was there until the cut."""
    workdir = tmp_path_factory.mktemp("work")
    pipeline(config(source, f"data.as_of={CUT}"), workdir=str(workdir), run_name="champion")
    return Workspace(workdir)


def check(workspace: Workspace, settings: RunConfig, new: tuple[str, ...] = (), model: str = MODEL) -> dict[str, Any]:
    return drift(settings, workdir=str(workspace.root), model=model, new=new)


def values(found: dict[str, Any]) -> dict[str, float | None]:
    return {measure["name"]: measure["value"] for measure in found["measures"]}


def later(source: Path) -> pl.DataFrame:
    return pl.read_csv(source).filter(pl.from_epoch("time").dt.date() > CUT)


def test_later_rows_of_the_same_source_are_no_drift_and_the_check_is_kept(workspace: Workspace, source: Path) -> None:
    found = check(workspace, config(source))
    assert not found["found"], found["reasons"]
    assert found["new"]["pairs"] == len(later(source))
    assert None not in values(found).values()
    kept = sorted((workspace.drift / MODEL).glob("*.json"))
    assert json.loads(kept[-1].read_text()) == found
    assert found["version"] == "1"
    assert found["limits"]["max_popularity_psi"] == 0.25
    with get_client(sync_client=True) as client:
        for key in (f"drift-{MODEL}", f"drift-{MODEL}-report"):
            artifacts = client.read_artifacts(artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=[key])))
            assert artifacts, key
            assert artifacts[0].description is not None
            assert artifacts[0].description.endswith("no drift")
        assert "| spectrum of the items |" in str(artifacts[0].data)


def test_files_with_the_new_interactions_say_the_same_as_the_whole_source(
    workspace: Workspace, source: Path, tmp_path: Path
) -> None:
    later(source).write_csv(tmp_path / "new.csv")
    whole, alone = check(workspace, config(source)), check(workspace, config(source), (str(tmp_path / "new.csv"),))
    assert values(whole) == values(alone)
    assert alone["source"] == [str(tmp_path / "new.csv")]


def test_strangers_and_other_tastes_are_drift(workspace: Workspace, source: Path, tmp_path: Path) -> None:
    rows = later(source)
    rows.with_columns(user="new-" + pl.col("user")).write_csv(tmp_path / "strangers.csv")
    found = check(workspace, config(source), (str(tmp_path / "strangers.csv"),))
    assert found["found"]
    assert values(found)["unknown users"] == 1.0
    assert found["outcome"] == SWITCHED_OFF
    rows.with_columns(pl.col("item").shuffle(seed=0)).write_csv(tmp_path / "shuffled.csv")
    found = check(workspace, config(source), (str(tmp_path / "shuffled.csv"),))
    assert any(reason.startswith("spectrum") for reason in found["reasons"]), found["measures"]


def test_without_the_split_the_rest_is_still_measured(workspace: Workspace, source: Path) -> None:
    folder = workspace.store.root / "artifacts" / "split"
    folder.rename(folder.with_name("away"))
    try:
        found = values(check(workspace, config(source, "drift.since=2020-12-11")))
        with pytest.raises(InputError, match="what is new in purchases is not known"):
            check(workspace, config(source))
    finally:
        folder.with_name("away").rename(folder)
    assert found["spectrum of the users"] is None
    assert found["volume"] is None
    assert found["item popularity (PSI)"] is not None
    assert found["unknown users"] is not None


def test_what_cannot_be_checked_says_why(workspace: Workspace, source: Path, tmp_path: Path) -> None:
    kept = sorted((workspace.drift / MODEL).glob("*"))
    with pytest.raises(InputError, match="no registered model 'none-such'"):
        check(workspace, config(source), model="none-such")
    later(source).drop("time").write_csv(tmp_path / "timeless.csv")
    with pytest.raises(InputError, match=r"what is new in purchases is not known: it has no times"):
        check(workspace, config(source, "data.columns.time=none"))
    with pytest.raises(InputError, match=r"drift\.since is set, but .*timeless\.csv has no time column"):
        check(workspace, config(source, "drift.since=2020-12-20"), (str(tmp_path / "timeless.csv"),))
    later(source).rename({"user": "a", "item": "b"}).write_csv(tmp_path / "wrong.csv")
    with pytest.raises(InputError, match=r"wrong\.csv: no column looks like the"):
        check(workspace, config(source), (str(tmp_path / "wrong.csv"),))
    assert sorted((workspace.drift / MODEL).glob("*")) == kept, "nothing is kept of a check that was none"


def test_nothing_new_is_no_drift_and_no_failure(workspace: Workspace, source: Path) -> None:
    found = check(workspace, config(source, f"data.as_of={CUT}"))
    assert found["headline"] == "nothing new"
    assert not found["judged"]
    assert set(values(found).values()) == {None}
    assert found["new"]["passed_over"] > 0


def test_since_and_files_without_times(workspace: Workspace, source: Path, tmp_path: Path) -> None:
    found = check(workspace, config(source, "drift.since=2020-12-20"))
    assert 0 < found["new"]["pairs"] < len(later(source))
    later(source).drop("time").write_csv(tmp_path / "timeless.csv")
    found = check(workspace, config(source), (str(tmp_path / "timeless.csv"),))
    assert values(found)["volume"] is None
    assert values(found)["spectrum of the users"] is not None
    assert not found["found"]


def test_the_settings_of_the_champions_run_are_taken_without_its_end(workspace: Workspace, source: Path) -> None:
    own = build([champion_settings(workspace, MODEL)])
    assert own == config(source)
    with pytest.raises(InputError, match="--config"):
        champion_settings(Workspace(workspace.root / "elsewhere"), MODEL)


def test_relative_paths_of_the_champions_run_are_those_of_its_folder(workspace: Workspace, source: Path) -> None:
    path = workspace.runs / "champion" / "summary.json"
    kept = path.read_text()
    summary = json.loads(kept)
    assert summary["folder"] == str(Path.cwd())
    summary["config"]["data"]["source"], summary["folder"] = [source.name], str(source.parent)
    path.write_text(json.dumps(summary))
    try:
        assert build([champion_settings(workspace, MODEL)]) == config(source)
    finally:
        path.write_text(kept)


def test_checks_by_the_clock_are_schedules_like_others(workspace: Workspace, source: Path) -> None:
    deployments.deploy(workspace)
    for what, label in ((scheduling.RETRAIN, "weekly"), (scheduling.WATCH, "drift-shop")):
        more = {} if what == scheduling.RETRAIN else {"model": MODEL, "new": []}
        scheduling.schedule(label, "0 6 * * *", "UTC", config(source), workspace, what, **more)
    rows = {row.name: row for row in scheduling.schedules()}
    assert (rows["weekly"].what, rows["drift-shop"].what) == ("retrain", "watch")
    with get_client(sync_client=True) as client:
        watch = client.read_deployment_by_name("freqd-drift/watch")
        (entry,) = client.read_deployment_schedules(watch.id)
    found = drift(**entry.parameters)
    assert found["headline"] == "no drift", "the parameters of the schedule are those of the flow"
    scheduling.set_active("drift-shop", False)
    assert {row.name: row.active for row in scheduling.schedules()} == {"weekly": True, "drift-shop": False}
    for label in ("weekly", "drift-shop"):
        scheduling.remove(label)
    assert scheduling.schedules() == []


@pytest.fixture
def by_clock(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., int]]:
    """`freqd drift --cron` in this process, with the servers of these tests in the place of its own."""
    deployments.deploy(workspace)
    monkeypatch.setattr("tasks.runtime.environment.embed", lambda *_, **__: None)
    monkeypatch.setattr(command, "scheduling_of", lambda _: scheduling)
    monkeypatch.setattr(command, "require_server", lambda _: None)

    def check(cron: str = "0 6 * * *", timezone: str | None = None, **words: Any) -> int:
        checked = command.Checked(**{"name": MODEL, **words})
        return command.drift(checked=checked, when=command.ByClock(cron, timezone), workdir=workspace.root)

    yield check
    for row in scheduling.schedules():
        scheduling.remove(row.name)


def test_a_check_by_the_clock_takes_only_what_a_retraining_would_see(
    by_clock: Callable[..., int], source: Path, tmp_path: Path
) -> None:
    other, bare, own = tmp_path / "other.csv", tmp_path / "bare.toml", tmp_path / "own.toml"
    later(source).write_csv(other)
    bare.write_text("[drift]\nmax_unknown_items = 0.5\n")
    own.write_text(f"[data]\nsource = ['{source}']\n")
    retrain = ["drift.retrain=true"]
    refused: list[tuple[dict[str, Any], str]] = [
        ({"new": [other], "set_": retrain}, r"other\.csv is not among the data of the settings"),
        ({"config": bare}, r"bare\.toml names no data"),
        ({"cron": "never"}, "--cron 'never'"),
        ({"timezone": "Europe/Nowhere"}, "Europe/Nowhere"),
    ]
    for words, problem in refused:
        with pytest.raises(InputError, match=problem):
            by_clock(**words)
    assert scheduling.schedules() == []
    assert by_clock(new=[other], set_=["drift.retrain=false"]) == by_clock(config=own, new=[source], set_=retrain) == 0
    rows = {row.name: (row.what, row.cron) for row in scheduling.schedules()}
    assert rows == {f"drift-{MODEL}": ("watch", "0 6 * * *"), "drift-own": ("watch", "0 6 * * *")}


@pytest.mark.parametrize("run", [drift, pipeline], ids=["watch", "retrain"])
def test_what_runs_by_itself_takes_no_built_in_data(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, run: Callable[..., Any]
) -> None:
    """A run that was started on the page without settings would judge, or replace, the champion by somebody else's data."""
    kept = sorted(workspace.root.rglob("*.json"))
    monkeypatch.setenv("PREFECT__RUNTIME__DEPLOYMENT__ID", "c5ad5d3e-0e4b-4a9c-9d6f-3c1f4b8f2a11")
    with pytest.raises(InputError, match="this run of the deployment names no data"):
        run(build([{"data": {"as_of": "2020-12-01"}}]), workdir=str(workspace.root))
    assert sorted(workspace.root.rglob("*.json")) == kept


@pytest.mark.parametrize("more", [["--fail"], ["--json"]])
def test_a_schedule_shows_no_check(tmp_path: Path, more: list[str]) -> None:
    found = freqd_command("drift", "--cron", "0 6 * * *", *more, "--workdir", tmp_path / "none")
    assert found.returncode == 2
    assert "--cron only sets a schedule" in found.stderr
    assert not (tmp_path / "none").exists()


def test_without_a_registry_the_command_says_so(tmp_path: Path) -> None:
    found = freqd_command("drift", "--workdir", tmp_path / "none")
    assert found.returncode == 2
    assert "no model registry" in found.stderr
    assert not (tmp_path / "none").exists()


@pytest.mark.slow
def test_the_command_on_the_grocery_set(tmp_path: Path) -> None:
    work = ("--workdir", tmp_path / "work")
    cheap = [word for change in CHEAP for word in ("--set", change)]
    end = ("--set", "data.as_of=2017-10-31")
    ran = freqd_command("run", *work, *cheap, *end, OMP_NUM_THREADS="1")
    assert ran.returncode == 0, ran.stderr
    calm = freqd_command("drift", *work, "--fail", "--json", OMP_NUM_THREADS="1")
    assert calm.returncode == 0, calm.stdout + calm.stderr
    found = json.loads(calm.stdout)
    assert found["headline"] == "no drift"
    assert None not in values(found).values()
    strict = ("--set", "drift.max_unknown_items=0.01", "--set", "drift.retrain=true")
    over = freqd_command("drift", *work, *strict, "--fail", OMP_NUM_THREADS="1")
    assert over.returncode == 3, over.stderr
    assert "drift in unknown items" in over.stdout
    assert "freqd up" in over.stdout, "the servers are down, so that nothing starts"
    nothing = freqd_command("drift", *work, *end, OMP_NUM_THREADS="1")
    assert nothing.returncode == 0
    assert "nothing new" in nothing.stdout
    assert len(list((tmp_path / "work" / "drift" / "freqd-grocery").glob("*.json"))) == 3


@pytest.mark.slow
def test_drift_starts_a_retraining_once(user: User) -> None:
    assert user("up", *user.ports).returncode == 0
    ran = user("run", "--config", "small.toml")
    assert ran.returncode == 0, ran.stderr
    rows = pl.read_csv(user.folder / "purchases.csv")
    new = rows.with_columns(user="new-" + pl.col("user"), time=pl.col("time") + 10_000_000)
    new.write_csv(user.folder / "new.csv")
    checked = user("drift", "--new", "new.csv")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "so it would change nothing" in checked.stdout, "a retraining would not see that file"
    pl.concat([rows, new]).write_csv(user.folder / "purchases.csv")
    checked = user("drift", "--new", "purchases.csv")
    assert "A retraining was asked for" in checked.stdout, checked.stdout

    def automatic() -> list[dict[str, Any]]:
        done = user.runs("COMPLETED", "FAILED", "CRASHED")
        return [run for run in done if (run["created_by"] or {}).get("type") == "AUTOMATION"]

    (retrained,) = wait_for(automatic, 180)
    assert retrained["state_type"] == "COMPLETED", user("logs", "worker").stdout
    assert retrained["parameters"]["config"]["data"]["source"] == [str(user.folder / "purchases.csv")]
    assert "not long ago" in user("drift", "--new", "purchases.csv", "--fail").stdout
    found = Stack.read(user.workspace)
    assert found is not None
    records = [json.loads(p.read_text()) for p in sorted(user.workspace.drift.rglob("*.json"), reverse=True)]
    assert [record["outcome"] for record in records[:2]] == ["cooling down", "retraining asked for"]
    assert len(automatic()) == 1
    by_clock = user("drift", "--new", "purchases.csv", "--cron", "0 6 * * *", "--config", "small.toml")
    assert by_clock.returncode == 0, by_clock.stderr
    assert "drift-small" in by_clock.stdout
    assert "watch" in user("schedule", "list").stdout
    assert user("schedule", "remove", "drift-small").returncode == 0
