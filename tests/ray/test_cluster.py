"""What a cluster finds is what one machine finds, also when one of its nodes dies in the middle."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from prefect import flow, task

from flows.cli.methods import resolve
from flows.compare import comparison
from flows.tune import tuning
from freqd.config import ComparisonPlan, EngineConfig, MethodConfig, RunConfig, SearchPlan
from freqd.config.load import build, parse_assignment
from freqd.errors import InputError
from tasks.run_context import RunContext
from tasks.runtime.engine import blocks_of_run, call, engine, side_by_side
from tasks.runtime.workspace import Workspace
from tests.flows.test_compare import SMALL

pytestmark = [pytest.mark.ray, pytest.mark.timeout(280)]

METHODS = ("rce", "fitnet+freqd")
OnCluster = tuple[str, str]


def config(source: Path, *changes: str) -> RunConfig:
    return build([{"data": {"source": [str(source)]}}, *map(parse_assignment, (*SMALL, *changes))])


def compare(source: Path, workdir: Path, *changes: str) -> list[tuple[str, str]]:
    """Stages and digests of a comparison."""
    settings = config(source, *changes)
    methods = {name: MethodConfig(objectives=terms) for name, terms in resolve(settings, METHODS).items()}
    plan = ComparisonPlan(methods=methods, dims=(2,), seeds=2)
    found = comparison(plan, config=settings, workdir=str(workdir), name="first")
    return [(stage["stage"], stage["digest"]) for stage in found["stages"]]


@pytest.fixture(scope="module")
def here(source: Path, workdir: Path, prefect_server: None) -> list[tuple[str, str]]:
    return compare(source, workdir)


def test_a_comparison(here: list[tuple[str, str]], source: Path, tmp_path: Path, on_cluster: OnCluster) -> None:
    assert compare(source, tmp_path, *on_cluster) == here


def test_a_comparison_that_loses_a_node(
    here: list[tuple[str, str]], source: Path, tmp_path: Path, cluster: Any, on_cluster: OnCluster
) -> None:
    over = threading.Event()
    removed: list[Any] = []

    def remove() -> None:
        """Once a student is done and others are under way."""
        while not over.wait(0.05):
            if list((tmp_path / "store" / "index" / "distill").glob("*.json")):
                removed.append(cluster.list_all_nodes()[-1])
                cluster.remove_node(removed[0], allow_graceful=False)
                return

    watcher = threading.Thread(target=remove)
    watcher.start()
    try:
        found = compare(source, tmp_path, *on_cluster)
    finally:
        over.set()
        watcher.join()
    assert removed
    assert found == here
    every = [each.experiment_id for each in MlflowClient().search_experiments()]
    assert MlflowClient().search_runs(every, "attributes.status = 'RUNNING'") == [], "what was lost is closed"


def test_a_search_with_two_workers(source: Path, tmp_path: Path, prefect_server: None, on_cluster: OnCluster) -> None:
    def search(workdir: Path, *changes: str) -> list[tuple[Any, ...]]:
        settings = config(source, "distill.epochs=2", "distill.eval_every=1", "distill.dim=2", *changes)
        ((method, objectives),) = resolve(settings, ["rce"]).items()
        plan = SearchPlan(method=method, objectives=objectives, trials=4, budget_seconds=600.0)
        found = tuning(plan, config=settings, workdir=str(workdir), name="mine")
        return [(trial["end"], trial["value"], trial["settings"]) for trial in found["trials"]]

    assert search(tmp_path / "ray", *on_cluster) == search(tmp_path / "here", "engine.workers=2")


# -- who is fit for it ------------------------------------------------------------------------------------------------


def refusal(address: str, workdir: Path) -> str:
    workspace = Workspace(workdir)
    workspace.prepare()
    with pytest.raises(InputError) as error, engine(EngineConfig(kind="ray", address=address), workspace):
        pass
    return f"{error.value.problem}. {error.value.remedy}"


def test_a_cluster_that_is_not_there(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    said = refusal("127.0.0.1:1", tmp_path)
    assert "no cluster of Ray at 127.0.0.1:1" in said
    assert "ray start" in said


def test_a_node_with_other_code(cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.runtime.ray_engine.code", lambda: "0" * 64)
    said = refusal(cluster.address, tmp_path)
    assert "other code than this machine" in said
    assert "000000000000" in said


def test_a_node_that_does_not_see_the_working_directory(
    cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: Callable[..., Any] = Path.write_text

    def elsewhere(path: Path, text: str, **options: Any) -> int:
        return int(looked(path, text[::-1] if path.name.startswith(".cluster-") else text, **options))

    monkeypatch.setattr(Path, "write_text", elsewhere)
    said = refusal(cluster.address, tmp_path)
    assert f"does not see the working directory {tmp_path}" in said
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("prefect", "mlflow"), [("", ""), ("http://127.0.0.1:4200/api", ""), ("http://head:4200/api", "sqlite:///x.db")]
)
def test_servers_that_other_machines_do_not_reach(prefect: str, mlflow: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray")
    from tasks.runtime.ray_engine import check_servers

    monkeypatch.setenv("PREFECT_API_URL", prefect)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow)
    check_servers([os.uname().nodename])
    with pytest.raises(InputError, match="node other of the cluster cannot reach"):
        check_servers([os.uname().nodename, "other"])
    monkeypatch.setenv("PREFECT_API_URL", "http://head:4200/api")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://head:5000")
    check_servers(["other"])


def test_a_cluster_without_a_cpu(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    try:
        assert "no node of the cluster has a CPU" in refusal(made.address, tmp_path)
    finally:
        made.shutdown()


def test_the_doctor_looks_at_the_nodes(cluster: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from flows.cli.settings import doctor

    doctor(workdir=tmp_path / "work", ray=cluster.address)
    said = " ".join(capsys.readouterr().out.split())
    assert said.count(f"ok node {os.uname().nodename}: 1 CPUs for work, ") == 2
    assert "ok processors of one kind" in said
    doctor(workdir=tmp_path / "work", ray="127.0.0.1:1")
    assert "WRONG cluster no cluster of Ray at 127.0.0.1:1" in " ".join(capsys.readouterr().out.split())


@task
def threads_of(run: RunContext) -> tuple[int, bool]:
    """And whether its blocks would go to other machines."""
    return run.threads, not blocks_of_run(run, lambda done, count: None).here


@flow
def alone_and_beside(root: Path, config: EngineConfig) -> tuple[Any, list[Any]]:
    run = RunContext(
        workdir=str(root),
        run_name="r",
        mlflow_run_id="",
        mlflow_experiment_id="",
        seed=0,
        device="cpu",
        threads=7,
        engine=config,
    )
    with engine(config, Workspace(root)):
        jobs = [partial(call, threads_of, run)] * 4
        return call(threads_of, run), [side_by_side(jobs[:2]), side_by_side(jobs)]


def test_a_stage_alone_has_a_whole_node(cluster: Any, tmp_path: Path, prefect_server: None) -> None:
    large = cluster.add_node(num_cpus=2)
    cluster.wait_for_nodes()
    try:
        alone, beside = alone_and_beside(tmp_path, EngineConfig(kind="ray", address=cluster.address, workers=4))
    finally:
        cluster.remove_node(large)
    assert alone == (2, True)
    assert beside == [[(1, True)] * 2, [(1, False)] * 4], "four jobs keep four CPUs busy"
