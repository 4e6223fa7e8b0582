"""What `freqd clean` would take and what it keeps, of runs whose files are as small as they can be."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from filelock import FileLock
from mlflow import MlflowClient
from prefect import flow
from prefect.runtime import flow_run

from flows.cli import clean as command
from freqd.errors import InputError
from tasks.mlops import tracking
from tasks.runtime import cleaning
from tasks.runtime.workspace import Workspace

DAY = 86_400.0
NOW = 1_900_000_000.0


def digest(name: str) -> str:
    """A digest that a test can tell by its beginning."""
    return name.encode().hex().ljust(64, "0")


class Shop:
    """A working directory that is filled by hand; ages are days before ``NOW``."""

    def __init__(self, workspace: Workspace, model: str) -> None:
        self.workspace, self.model = workspace, model
        self.root, self.store = workspace.root, workspace.store.root

    def file(self, place: str, age: float, content: str = "0123456789") -> Path:
        path = self.root / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
        return self.aged(path, age)

    def aged(self, path: Path, age: float) -> Path:
        for each in (*(path.rglob("*") if path.is_dir() else ()), path):
            os.utime(each, (NOW - age * DAY, NOW - age * DAY))
        return path

    def result(self, name: str, age: float, *, made: float | None = None) -> tuple[Path, Path]:
        """An artifact and the entry of the index that names it."""
        self.file(f"store/artifacts/split/{digest(name)}/data", made or age)
        entry = self.file(f"store/index/ingest/{name}.json", made or age, json.dumps({"refs": {"split": digest(name)}}))
        return self.aged(self.store / "artifacts" / "split" / digest(name), made or age), entry

    def run(self, name: str, age: float, *needs: str, place: str = "runs", file: str = "summary.json") -> Path:
        """A run that ended then, with the artifacts that it names."""
        found = {"artifacts": {need: {"digest": digest(need)} for need in needs}, "mlflow": {"run_id": f"of-{name}"}}
        self.file(f"{place}/{name}/report.html", age)
        return self.file(f"{place}/{name}/{file}", age, json.dumps(found)).parent

    def plan(self, keep: int = 1, days: float = 30.0) -> cleaning.Plan:
        return cleaning.plan(self.workspace, keep, days, now=NOW)

    def names(self, keep: int = 1, days: float = 30.0) -> set[str]:
        return {path.name for path in self.plan(keep, days).runs}


prefect_runs = cleaning._prefect_runs


@pytest.fixture
def shop(workspace: Workspace, model: str, monkeypatch: pytest.MonkeyPatch) -> Shop:
    """Without Prefect, but for the test that is about its runs."""
    monkeypatch.setattr(cleaning, "_prefect_runs", lambda *_: [])
    return Shop(workspace, model)


def tag(model: str, version: str, **tags: str) -> None:
    for name, value in tags.items():
        MlflowClient().set_model_version_tag(model, version, f"freqd.{name}", value)


# -- runs -----------------------------------------------------------------------------------------------------------


def test_the_latest_and_the_young_stay(shop: Shop) -> None:
    for name, age in (("new", 1), ("young", 29), ("old", 31), ("older", 60)):
        shop.run(name, age)
    assert shop.names(keep=0) == {"old", "older"}
    assert shop.names(keep=2) == {"old", "older"}
    assert shop.names(keep=3) == {"older"}
    assert shop.names(keep=4) == set()
    assert shop.names(keep=0, days=0.5) == {"new", "young", "old", "older"}


def test_what_a_version_came_from_stays(shop: Shop) -> None:
    """Not only the champion's: any version may be promoted, or rolled back to."""
    for name in ("made-1", "made-2", "before-2", "nothing"):
        shop.run(name, 90, name)
        shop.result(name, 90)
    shop.result("of-the-data", 90)
    tag(shop.model, "1", run="made-1")
    tag(shop.model, "2", run="made-2", start_run="before-2", data_digest=digest("of-the-data"))
    MlflowClient().set_registered_model_alias(shop.model, "champion", "1")
    found = shop.plan(keep=0)
    assert {path.name for path in found.runs} == {"nothing"}
    assert [path.name for path in found.files["artifacts"]] == [digest("nothing")]
    assert [path.name for path in found.files["results of stages"]] == ["nothing.json"]


def test_a_run_that_has_not_ended_is_none_of_the_old_ones(shop: Shop) -> None:
    """It has no summary yet, and its results belong to no run: a week is left to it."""
    shop.file("runs/going-on/settings.toml", 90)
    shop.result("day", 1)
    shop.result("week", 6)
    shop.result("month", 31)
    found = shop.plan(keep=0, days=0.5)
    assert found.runs == []
    assert [path.name for path in found.files["artifacts"]] == [digest("month")]


# -- results --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["comparisons", "tuned", "cadences"])
def test_the_results_of_other_commands_stay_with_what_they_need(shop: Shop, place: str) -> None:
    folder = shop.run("mine", 300, "theirs", place=place, file="result.json")
    shop.result("theirs", 300)
    shop.result("nobodys", 300)
    found = shop.plan(keep=0)
    assert [path.name for path in found.files["artifacts"]] == [digest("nobodys")]
    assert folder not in found.runs


def test_an_old_result_that_a_kept_run_uses_stays(shop: Shop) -> None:
    shop.run("old", 90, "shared", "own")
    shop.run("new", 1, "shared")
    shop.result("shared", 90)
    own, entry = shop.result("own", 90)
    found = shop.plan(keep=1)
    assert [path.name for path in found.runs] == ["old"]
    assert (found.files["artifacts"], found.files["results of stages"]) == ([own], [entry])


def test_what_killed_processes_left_goes_unless_somebody_may_still_write_it(shop: Shop) -> None:
    left = {shop.file("runs/.summary.json.tmp", 0.1), shop.file("store/artifacts/split/.abc.old/data", 0.1).parent}
    shop.aged(shop.store / "artifacts" / "split" / ".abc.old", 0.1)
    shop.file("runs/.other.json.tmp", 0.5 / 24)
    assert set(shop.plan().files["left by killed processes"]) == left


def test_checkpoints_and_locks_go_unless_they_are_in_use(shop: Shop) -> None:
    old = shop.file("store/scratch/teacher/old/epoch", 90).parent
    shop.file("store/scratch/teacher/going-on/epoch", 90)
    shop.aged(old, 90)
    shop.file("store/scratch/teacher/going-on/next", 1)
    free, held = shop.file("store/locks/free.lock", 90), shop.file("store/locks/held.lock", 90)
    with FileLock(held):
        shop.aged(held, 90)
        found = shop.plan()
    assert found.files["checkpoints"] == [old]
    assert found.files["locks"] == [free]


# -- MLflow's and Prefect's runs ------------------------------------------------------------------------------------


@pytest.fixture
def ended(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., str]]:
    """Makes an MLflow run of freqd's that ended so many days ago; the experiment is this test's own."""
    client, experiment = MlflowClient(), MlflowClient().create_experiment(f"clean-{uuid.uuid4().hex[:8]}")
    find = client.get_experiment
    monkeypatch.setattr(tracking.client(), "get_experiment_by_name", lambda _: find(experiment))

    def make(age: float, status: str = "FINISHED", **tags: str) -> str:
        run = client.create_run(experiment, tags={cleaning.MARK: "here", **tags}).info.run_id
        if status == "RUNNING":
            return str(run)
        client.set_terminated(run, status, end_time=int(1000 * (NOW - age * DAY)))
        return str(run)

    yield make
    client.delete_experiment(experiment)


def test_mlflow_runs_of_what_is_kept_stay(shop: Shop, ended: Callable[..., str]) -> None:
    parents = {name: ended(90) for name in ("registered", "kept", "compared", "old")}
    children = {name: ended(90, **{"mlflow.parentRunId": run}) for name, run in parents.items()}
    ended(1)
    ended(90, "RUNNING")
    somebodys = MlflowClient().create_run(MlflowClient().get_run(parents["old"]).info.experiment_id).info.run_id
    MlflowClient().set_terminated(somebodys, end_time=int(1000 * (NOW - 90 * DAY)))
    MlflowClient().create_model_version(shop.model, "file:///nowhere/5", parents["registered"])
    for name, path in (("kept", "runs/kept/summary.json"), ("compared", "comparisons/c/comparison.json")):
        shop.file(path, 1, json.dumps({"mlflow": {"run_id": parents[name]}}))
    assert set(shop.plan().mlflow) == {parents["old"], children["old"]}


@flow(name="ends")
def ends(*, after: Callable[[], object]) -> str:
    after()
    return str(flow_run.id)


@pytest.mark.usefixtures("prefect_server")
def test_prefect_runs_that_ended_go_but_for_those_of_kept_runs(shop: Shop) -> None:
    planned: list[set[str]] = []
    later = datetime.now(UTC) + timedelta(days=1)
    old, kept = ends(after=lambda: None), ends(after=lambda: None)
    going_on = ends(after=lambda: planned.append(set(prefect_runs(later, {kept}))))
    (found,) = planned
    assert old in found
    assert not {kept, going_on} & found
    assert old not in prefect_runs(datetime.now(UTC) - timedelta(days=1), set())


# -- the command ----------------------------------------------------------------------------------------------------


@pytest.fixture
def clean(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """`freqd clean` in this process, with the stores of these tests; nothing of MLflow's and Prefect's is theirs to take."""
    monkeypatch.setattr("tasks.runtime.environment.embed", lambda *_, **__: None)
    monkeypatch.setattr(cleaning, "_mlflow_runs", lambda *_: iter(()))
    monkeypatch.setattr("time.time", lambda: NOW)

    class Nobody:
        def __enter__(self) -> None:
            """No client is needed where nothing is to be deleted."""

        def __exit__(self, *_: object) -> None:
            """Nothing to close."""

    monkeypatch.setattr("prefect.client.orchestration.get_client", lambda **_: Nobody())
    return lambda **words: command.clean(workdir=shop.root, **words)


def tree(root: Path) -> dict[str, str]:
    return {str(p.relative_to(root)): p.read_text() for p in root.rglob("*") if p.is_file() and p.name != ".in-use"}


def test_nothing_goes_before_it_is_asked_for(
    shop: Shop, clean: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    shop.run("old", 90, "own")
    shop.run("new", 1)
    artifact, entry = shop.result("own", 90)
    shop.file(f"store/artifacts/split/{digest('own')}/data", 90, "x" * 1_000_000)
    shop.aged(artifact, 90)
    before = tree(shop.root)
    assert clean(keep=1) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert tree(shop.root) == before
    gone = {name for name in before if name.startswith(("runs/old", "store/"))}
    size = sum(len(before[name]) for name in gone)
    assert f"{size / 1e6:,.1f} MB" in shown
    assert size > 1_000_000
    assert "runs 1 results of stages 1 artifacts 1 checkpoints 0" in shown
    assert "nothing was deleted; `freqd clean --delete` does that" in shown
    assert clean(keep=1, delete=True) == 0
    assert "MB, and what MLflow and Prefect keep of them: deleted" in capsys.readouterr().out
    assert tree(shop.root) == {name: text for name, text in before.items() if name not in gone}
    assert not entry.exists()
    assert not list(shop.root.rglob("*.old")), "and no half of it is left"
    clean(keep=1)
    assert "0.0 MB" in capsys.readouterr().out


def test_a_folder_that_is_none_of_freqds_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no working directory"):
        command.clean(workdir=tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("age", ["30", "soon", "-3d", "d", ""])
def test_an_age_is_days_or_weeks(shop: Shop, clean: Callable[..., int], age: str) -> None:
    run = shop.run("old", 90)
    with pytest.raises(InputError, match="--older-than"):
        clean(keep=0, older_than=age, delete=True)
    assert run.is_dir()
