"""What is deployed has seen everything, and nothing that is chosen or judged ever sees what is deployed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from mlflow import MlflowClient

from flows.backfill import settings_of
from flows.pipeline import pipeline
from freqd.config import RunConfig
from freqd.config.load import build, parse_assignment
from freqd.data import everything
from freqd.data.interactions import Split
from freqd.embeddings import TrainedModel
from freqd.errors import LeakError
from freqd.refit import checks
from freqd.report.run import text
from freqd.report.run_result import RunResult
from freqd.teachers.previous_model import incompatibility
from tasks.mlops import registry
from tasks.runtime.cleaning import plan
from tasks.runtime.workspace import Workspace

pytestmark = pytest.mark.usefixtures("prefect_server")

SMALL = (
    "data.min_user_interactions=1", "data.min_item_interactions=1", "teacher.kind=als", "teacher.factors=[8]", "teacher.regularization=[1.0]",
    "teacher.alpha=[10.0]", "teacher.iterations=6", "distill.dim=6", "distill.epochs=12", "distill.eval_every=2",
    "distill.learning_rate=0.01", "distill.batch_size=256", "baselines.models=none", "spectral.bands=2",
    "evaluate.bootstrap_samples=200", "start.tolerance=0.9", "registry.margin=-1.0", "registry.min_coverage_ratio=0",
    "registry.max_popularity_ratio=none", "registry.min_group_ratio=none",
)  # fmt: skip
MODEL = "freqd-shop"


def config(source: Path, *changes: str) -> RunConfig:
    return build([{"data": {"source": [str(source)]}}, *map(parse_assignment, (*SMALL, *changes))])


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory, planted: Callable[..., pl.DataFrame]) -> Path:
    """Purchases; twenty users and two items come only in the last seventh of the time."""
    frame = planted(users=260, items=120, per_user=30)
    late = pl.col("user").is_in([f"u{n:04d}" for n in range(240, 260)]) | pl.col("item").is_in(["i0001", "i0002"])
    frame = frame.with_columns(time=pl.when(late).then(1_608_500_000 + pl.col("time") % 1_400_000).otherwise("time"))
    path = tmp_path_factory.mktemp("data") / "shop.csv"
    frame.write_csv(path)
    return path


@pytest.fixture(scope="module")
def as_of(source: Path) -> str:
    """The day by which 90 % of the interactions have happened: what comes last is new to the train split."""
    moment = pl.read_csv(source)["time"].quantile(0.9)
    assert moment is not None
    return f"data.as_of={datetime.fromtimestamp(moment, UTC).date()}"


@pytest.fixture(scope="module")
def runs(source: Path, as_of: str, workdir: Path, prefect_server: None) -> dict[str, dict[str, Any]]:
    """A first champion, and a run on newer data from its models."""

    def run(name: str, *changes: str) -> dict[str, Any]:
        return pipeline(config(source, *changes), workdir=str(workdir), run_name=name)

    return {"first": run("first", as_of), "second": run("second", "start.run=champion")}


def tags(run: dict[str, Any]) -> dict[str, str]:
    found: dict[str, str] = MlflowClient().get_model_version(run["model"]["name"], run["model"]["version"]).tags
    return found


def digest(run: dict[str, Any], label: str) -> str:
    found: str = run["artifacts"][label]["digest"]
    return found


def opened(workdir: Path, run: dict[str, Any], label: str, kind: Any) -> Any:
    store = Workspace(workdir).store
    return store.open(store.ref(kind.kind, digest(run, label)), kind)


def test_what_is_registered_knows_the_newest_and_carries_the_judged_ones_numbers(
    runs: dict[str, dict[str, Any]], workdir: Path
) -> None:
    run = runs["first"]
    served = registry.load(MODEL, run["model"]["version"])
    judged, whole = (opened(workdir, run, label, Split) for label in ("ingest.split", "refit.split"))
    refit = opened(workdir, run, "refit.student", TrainedModel)
    assert served.user_ids.to_list() == whole.user_ids.to_list()
    assert len(whole.user_ids) > judged.n_users, "the cut dropped users that came last"
    assert served.seen.nnz == len(whole.train) > len(judged.train)
    np.testing.assert_array_equal(served.features.users, refit.features.users)
    found = tags(run)
    assert found["freqd.student_digest"] == digest(run, "distill.student")
    assert found[registry.REFIT] == digest(run, "refit.student")
    assert found["freqd.refit"] == "all"
    assert "overlap of the top 10 with the judged twin" in found["freqd.refit_checks"]
    assert float(found["freqd.ndcg_at_10"]) == pytest.approx(run["metrics"]["student"]["ndcg_at_10"], abs=1e-6)


def test_the_report_says_so(runs: dict[str, dict[str, Any]], workdir: Path) -> None:
    result = RunResult.model_validate(runs["first"])
    assert result.refit is not None
    assert result.refit.accepted
    told = " ".join(text.result_table(result).split())
    assert f"all {result.refit.interactions:,} interactions" in told
    assert "of what teacher and distillation had taken" in told
    page = (workdir / "runs" / "first" / "report.html").read_text()
    assert "The refit against the judged student" in page
    assert [stage.name for stage in result.stages][-2:] == ["refit", "register"]


def test_it_is_cached(runs: dict[str, dict[str, Any]], source: Path, as_of: str, workdir: Path) -> None:
    again = pipeline(config(source, as_of), workdir=str(workdir), run_name="again")
    assert again["cached_stages"] == [stage["name"] for stage in again["stages"]]
    assert digest(again, "refit.student") == digest(runs["first"], "refit.student")


def test_the_next_run_starts_from_the_judged_models(runs: dict[str, dict[str, Any]], workdir: Path) -> None:
    first, second = runs["first"], runs["second"]
    assert second["start"]["run"] == "first"
    started = tags(second)
    assert started["freqd.start_student_digest"] == digest(first, "distill.student")
    assert started["freqd.start_data_digest"] == first["data"]["digest"]
    never = {digest(first, "refit.student"), digest(first, "refit.split")}
    store = workdir / "store" / "artifacts"
    for label in ("teacher.teacher", "distill.student", "evaluate.facts", "refit.student"):
        kind = "facts" if label.endswith("facts") else "model"
        made = json.loads((store / kind / digest(second, label) / "manifest.json").read_text())
        assert not never & set(made["inputs"].values()), f"{label} was made of the refit"


def test_a_leak_that_is_planted_is_found(
    runs: dict[str, dict[str, Any]], source: Path, workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tags of the champion are made to name its refit, first the model alone, then its data too."""
    first = runs["first"]
    client, version = MlflowClient(), first["model"]["version"]
    before = tags(first)
    champion = client.get_model_version_by_alias(MODEL, "champion").version
    client.set_registered_model_alias(MODEL, "champion", version)
    try:
        client.set_model_version_tag(MODEL, version, "freqd.student_digest", before[registry.REFIT])
        with pytest.raises(LeakError, match="run first: a refitted model"):
            pipeline(config(source, "start.run=champion", "seed=1"), workdir=str(workdir), run_name="leak")
        monkeypatch.setattr("tasks.warm_start.check_models", lambda *_: None)
        with pytest.raises(LeakError, match="start from its judged twin"):
            pipeline(config(source, "start.run=champion", "seed=1"), workdir=str(workdir), run_name="leak-2")
        client.set_model_version_tag(MODEL, version, "freqd.data_digest", before["freqd.refit_data_digest"])
        third = pipeline(
            config(source, "start.run=champion", "seed=2", "registry.enabled=false"),
            workdir=str(workdir),
            run_name="leak-3",
        )
        seen = incompatibility(
            everything(opened(workdir, first, "ingest.split", Split)), opened(workdir, third, "ingest.split", Split)
        )
        assert bool(seen) == (third["start"]["run"] is None)
    finally:
        for label in ("freqd.student_digest", "freqd.data_digest"):
            client.set_model_version_tag(MODEL, version, label, before[label])
        client.set_registered_model_alias(MODEL, "champion", champion)


def test_a_refit_is_not_evaluated(
    runs: dict[str, dict[str, Any]], source: Path, as_of: str, workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Planted: the student that is evaluated is the refit of an earlier run."""
    from flows import pipeline as job

    student = Workspace(workdir).store.ref("model", digest(runs["first"], "refit.student"))
    real = job.evaluate
    monkeypatch.setattr(
        job,
        "evaluate",
        lambda run, inputs, models, *settings: real(run, inputs, {**models, "student": student}, *settings),
    )
    with pytest.raises(LeakError, match="student: a refitted model has seen the test split"):
        pipeline(config(source, as_of, "seed=3"), workdir=str(workdir), run_name="evaluated")


def test_the_gate_compares_judged_twins(
    runs: dict[str, dict[str, Any]], source: Path, workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    real = registry.load_champion
    monkeypatch.setattr(registry, "load_champion", lambda *names: asked.append(names[1]) or real(*names))
    third = pipeline(config(source, "seed=4"), workdir=str(workdir), run_name="third")
    assert third["gate"]["difference"] is not None
    assert asked == [], "what the champion serves has seen the test part"


def test_without_its_twin_the_champion_stays(runs: dict[str, dict[str, Any]], source: Path, workdir: Path) -> None:
    champion = MlflowClient().get_model_version_by_alias(MODEL, "champion")
    place = workdir / "store" / "artifacts" / "model" / champion.tags["freqd.student_digest"]
    shutil.move(place, place.with_name("aside"))
    try:
        found = pipeline(config(source, "seed=5"), workdir=str(workdir), run_name="without")
    finally:
        shutil.move(place.with_name("aside"), place)
    assert not found["gate"]["promoted"]
    assert "gone from the store" in found["gate"]["reasons"][0]
    assert found["gate"]["champion"] == str(champion.version)
    assert MlflowClient().get_model_version_by_alias(MODEL, "champion").version == champion.version


def test_cleaning_takes_neither_the_refit_nor_its_twin(runs: dict[str, dict[str, Any]], workdir: Path) -> None:
    found = plan(Workspace(workdir), keep=0, older_than_days=-1.0)
    gone = {path.name for path in found.files["artifacts"]}
    for run in runs.values():
        for label in ("ingest.split", "teacher.teacher", "distill.student", "refit.student", "refit.split"):
            assert digest(run, label) not in gone, label


def test_one_that_is_out_of_bounds_is_refused_and_the_judged_one_registered(
    runs: dict[str, dict[str, Any]], source: Path, as_of: str, workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks, "MIN_OVERLAP", 2.0)
    run = pipeline(config(source, as_of, "seed=6"), workdir=str(workdir), run_name="refused")
    assert "refit.student" not in run["artifacts"]
    assert not run["refit"]["accepted"]
    served = registry.load(MODEL, run["model"]["version"])
    judged = opened(workdir, run, "distill.student", TrainedModel)
    np.testing.assert_array_equal(served.features.users, judged.features.users)
    found = tags(run)
    assert found["freqd.refit"] == "refused"
    assert "overlap" in found["freqd.refit_reasons"]
    assert registry.REFIT not in found
    told = " ".join(text.result_table(RunResult.model_validate(run)).split())
    assert "its refit on all interactions was refused (overlap of the top 10 with the judged twin" in told
    assert any("registry.refit=none" in line for line in run["advice"])


def test_none_is_made_where_none_is_asked_for(
    runs: dict[str, dict[str, Any]], source: Path, as_of: str, workdir: Path
) -> None:
    run = pipeline(config(source, as_of, "registry.refit=none"), workdir=str(workdir), run_name="none")
    assert "refit" not in [stage["name"] for stage in run["stages"]]
    assert "refit" not in run
    assert tags(run)["freqd.refit"] == "none"
    judged = opened(workdir, run, "distill.student", TrainedModel)
    np.testing.assert_array_equal(registry.load(MODEL, run["model"]["version"]).features.items, judged.features.items)


def test_published_comparisons_and_past_dates_have_none(source: Path) -> None:
    assert config(source).refits
    assert not config(source, "evaluate.protocol=kd-paper").refits
    assert not config(source, "registry.enabled=false").refits
    assert not settings_of(config(source), datetime(2020, 11, 1).date(), None, registered=True).refits
