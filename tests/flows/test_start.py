"""A run that starts from an earlier one: as good as a run from scratch, cheaper, and cached when it is repeated."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from mlflow import MlflowClient

from flows.pipeline import pipeline
from freqd.config import RunConfig
from freqd.config.load import build, parse_assignment
from freqd.errors import InputError
from tasks.runtime.preflight import preflight
from tasks.runtime.workspace import Workspace

pytestmark = pytest.mark.usefixtures("prefect_server")

SMALL = (
    "data.min_user_interactions=1", "data.min_item_interactions=1", "teacher.kind=als", "teacher.factors=[8,16]", "teacher.regularization=[1.0,5.0]",
    "teacher.alpha=[1.0,10.0]", "teacher.iterations=8", "distill.dim=6", "distill.epochs=24", "distill.eval_every=2",
    "distill.learning_rate=0.01", "distill.batch_size=256", "baselines.models=none", "spectral.bands=2",
    "evaluate.bootstrap_samples=200", "start.tolerance=0.5", "registry.margin=-1.0", "registry.min_coverage_ratio=0",
)  # fmt: skip


def config(source: Path, *changes: str) -> RunConfig:
    return build([{"data": {"source": [str(source)]}}, *map(parse_assignment, (*SMALL, *changes))])


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory, planted: Callable[..., pl.DataFrame]) -> Path:
    """Purchases; some users and items come only in the last seventh of the time."""
    frame = planted(users=260, items=120, per_user=30)
    late = pl.col("user").is_in([f"u{n:04d}" for n in range(240, 260)]) | pl.col("item").is_in(["i0001", "i0002"])
    frame = frame.with_columns(time=pl.when(late).then(1_608_500_000 + pl.col("time") % 1_400_000).otherwise("time"))
    path = tmp_path_factory.mktemp("data") / "shop.csv"
    frame.write_csv(path)
    return path


@pytest.fixture(scope="module")
def as_of(source: Path) -> str:
    """The day by which 85 % of the interactions have happened."""
    moment = pl.read_csv(source)["time"].quantile(0.85)
    assert moment is not None
    return f"data.as_of={datetime.fromtimestamp(moment, UTC).date()}"


@pytest.fixture(scope="module")
def runs(source: Path, as_of: str, workdir: Path, prefect_server: None) -> dict[str, dict[str, Any]]:
    """The first run, which finds no champion; then all of the data from its models; then from scratch."""

    def run(name: str, *changes: str) -> dict[str, Any]:
        return pipeline(config(source, *changes), workdir=str(workdir), run_name=name)

    return {
        "first": run("first", as_of, "start.run=champion"),
        "warm": run("warm", "start.run=champion"),
        "cold": run("cold", "registry.enabled=false"),
    }


def epochs(summary: dict[str, Any]) -> int:
    return int(summary["training"]["student"]["info"]["epochs"])


def sweeps(summary: dict[str, Any]) -> int:
    return sum(int(trial["sweeps"]) for trial in summary["training"]["teacher"]["info"]["trials"])


def test_a_first_run_starts_from_nothing_and_says_so(runs: dict[str, dict[str, Any]]) -> None:
    start = runs["first"]["start"]
    assert start["run"] is None
    assert "no champion yet" in start["why"]
    assert start["teacher"] is None
    assert runs["cold"]["start"] is None


def test_the_next_run_goes_on_from_the_champions_models(runs: dict[str, dict[str, Any]]) -> None:
    start = runs["warm"]["start"]
    assert (start["run"], start["version"]) == ("first", runs["first"]["model"]["version"])
    assert start["teacher"]["way"] == "continued"
    assert start["student"]["way"] in ("previous", "svd")
    for side in ("users", "items"):
        rows = start["teacher"]["rows"][side]
        assert rows["new"] > 0
        assert rows["kept"] + rows["new"] == runs["warm"]["data"][side]
        assert rows["kept"] + rows["gone"] == runs["first"]["data"][side]
        assert start["student"]["rows"][side] == rows
    warm, first = (runs[name]["training"]["teacher"]["info"] for name in ("warm", "first"))
    for setting in ("factors", "regularization", "alpha"):
        assert warm[setting] == first[setting]


def test_it_costs_less_and_is_as_good_as_a_run_from_nothing(runs: dict[str, dict[str, Any]]) -> None:
    assert sweeps(runs["warm"]) < sweeps(runs["cold"]) / 3
    assert epochs(runs["warm"]) < epochs(runs["cold"])
    warm, cold = (runs[name]["metrics"]["student"]["ndcg_at_10"] for name in ("warm", "cold"))
    interval = runs["cold"]["intervals"]["student_minus_teacher"]
    assert warm > cold - (interval["high"] - interval["low"])


def test_the_summary_says_what_it_saved(runs: dict[str, dict[str, Any]], workdir: Path) -> None:
    seconds = runs["warm"]["start"]["seconds"]
    stages = {name: {s["name"]: s["seconds"] for s in runs[name]["stages"]} for name in runs}
    for stage in ("teacher", "distill"):
        assert seconds["now"][stage] == stages["warm"][stage]
        assert seconds["before"][stage] == seconds["full"][stage] == stages["first"][stage]
    assert "Started from run first, version" in (workdir / "runs" / "warm" / "report.html").read_text()
    metrics = MlflowClient().get_run(runs["warm"]["mlflow"]["run_id"]).data.metrics
    assert metrics["start_teacher_seconds_full"] == seconds["full"]["teacher"]


def test_the_same_command_again_is_all_cached_though_the_champion_has_changed(
    runs: dict[str, dict[str, Any]], source: Path, workdir: Path
) -> None:
    assert "champion" in runs["warm"]["model"]["aliases"]
    again = pipeline(config(source, "start.run=champion"), workdir=str(workdir), run_name="again")
    assert again["cached_stages"] == [stage["name"] for stage in again["stages"]]
    assert again["metrics"] == runs["warm"]["metrics"]
    assert again["start"]["run"] == "first"


def test_a_chain_of_runs_is_followed_to_the_last_one_from_nothing(
    runs: dict[str, dict[str, Any]], source: Path, workdir: Path
) -> None:
    third = pipeline(config(source, "start.run=warm"), workdir=str(workdir), run_name="third")
    seconds = third["start"]["seconds"]
    assert seconds["before"] == runs["warm"]["start"]["seconds"]["now"]
    assert seconds["full"] == runs["first"]["start"]["seconds"]["now"]


def test_a_champion_that_knows_the_answers_is_not_started_from(
    runs: dict[str, dict[str, Any]], source: Path, workdir: Path
) -> None:
    other = pipeline(
        config(source, "start.run=champion", "data.split=random", "registry.enabled=false"),
        workdir=str(workdir), run_name="random",
    )  # fmt: skip
    assert other["start"]["run"] is None
    assert "has seen" in other["start"]["why"]
    with pytest.raises(InputError, match="has seen"):
        pipeline(config(source, "start.run=warm", "data.split=random"), workdir=str(workdir), run_name="refused")
    waived = pipeline(
        config(source, "start.run=warm", "start.required=false", "data.split=random", "registry.enabled=false"),
        workdir=str(workdir), run_name="waived",
    )  # fmt: skip
    assert waived["start"]["run"] is None
    assert "run warm cannot be started from: it has seen" in waived["start"]["why"]


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        (["start.run=nowhere"], "no finished run 'nowhere'"),
        (["start.run=first", "distill.dim=7"], "student of dimension 6, and distill.dim is 7"),
        (["start.run=first", "teacher.factors=[32]"], "and teacher.factors is 32"),
        (["start.run=own"], "cannot start from itself"),
    ],
)
def test_what_cannot_be_started_from_is_refused_at_once(
    runs: dict[str, dict[str, Any]], source: Path, workdir: Path, changes: list[str], problem: str
) -> None:
    with pytest.raises(InputError, match=problem):
        preflight(config(source, *changes), Workspace(workdir), "own")
