"""Jobs beside each other, in processes of this machine."""

from __future__ import annotations

import os
import time
from functools import partial
from pathlib import Path

import pytest
from prefect import flow, task

from freqd import plugins
from freqd.config import EngineConfig
from freqd.distill.objectives import REGISTRY
from freqd.engine import HERE
from freqd.errors import InputError
from tasks.run_context import RunContext
from tasks.runtime.engine import at_a_time, blocks_on, call, engine, side_by_side
from tasks.runtime.workspace import Workspace


@task
def work(run: RunContext, number: int) -> tuple[int, int, int]:
    """Its number, process and threads; the third is refused."""
    if number == 3:
        raise InputError("three is refused", "take another number")
    time.sleep(0.05 * (5 - number))  # the first ends last
    return number, os.getpid(), run.threads


@flow
def several(root: Path, count: int, config: EngineConfig) -> list[tuple[int, int, int]]:
    """Some jobs."""
    run = RunContext(
        workdir=str(root), run_name="r", mlflow_run_id="", mlflow_experiment_id="", seed=0, device="cpu", threads=4
    )
    with engine(config, Workspace(root)):
        assert at_a_time() == (config.workers or 1)
        alone = call(work, run, 0)
        assert alone == (0, os.getpid(), 4), "what is no job of several stays here"
        return side_by_side([partial(call, work, run, number) for number in range(count)])  # type: ignore[arg-type]


def test_jobs_share_the_threads_and_keep_their_order(tmp_path: Path, prefect_server: None) -> None:
    found = several(tmp_path, 3, EngineConfig(workers=2))
    assert [number for number, _, _ in found] == [0, 1, 2]
    assert os.getpid() not in {process for _, process, _ in found}
    assert {threads for _, _, threads in found} == {2}


def test_the_first_error_is_the_error(tmp_path: Path, prefect_server: None) -> None:
    with pytest.raises(InputError, match="three is refused") as error:
        several(tmp_path, 5, EngineConfig(workers=2))
    assert error.value.remedy == "take another number"


PLUGIN = """
from freqd.distill.objectives import Objective, objective

@objective("strange")
class Strange(Objective):
    def loss(self, view, batch):
        return view.users(batch.users).sum() * 0.0
"""


@task
def knows(run: RunContext, name: str) -> tuple[bool, int]:
    """Whether there is an objective of that name, and in which process that was asked."""
    return name in REGISTRY, os.getpid()


@flow
def asked(root: Path, names: list[str]) -> list[tuple[bool, int]]:
    """Two workers."""
    run = RunContext(
        workdir=str(root), run_name="r", mlflow_run_id="", mlflow_experiment_id="", seed=0, device="cpu", threads=1
    )
    with engine(EngineConfig(workers=2), Workspace(root)):
        return side_by_side([partial(call, knows, run, name) for name in names])  # type: ignore[arg-type]


def test_plugins_are_known_in_other_processes(
    tmp_path: Path, prefect_server: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(REGISTRY, "entries", dict(REGISTRY.entries))
    monkeypatch.setattr(plugins, "_FILES", {})
    (tmp_path / "mine.py").write_text(PLUGIN)
    plugins.load_files([tmp_path / "mine.py"])
    found = asked(tmp_path, ["strange", "stranger"])
    assert [known for known, _ in found] == [True, False]
    assert os.getpid() not in {process for _, process in found}


def test_one_worker_is_this_process(tmp_path: Path, prefect_server: None) -> None:
    found = several(tmp_path, 3, EngineConfig())
    assert found == [(number, os.getpid(), 4) for number in range(3)]
    assert blocks_on(EngineConfig()) is HERE


def test_ray_has_to_be_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.runtime.engine.importlib.util.find_spec", lambda name: None)
    with (
        pytest.raises(InputError, match="not installed") as error,
        engine(EngineConfig(kind="ray"), Workspace(tmp_path)),
    ):
        pass
    assert "freqd[ray]" in error.value.remedy
