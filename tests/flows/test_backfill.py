"""A range of dates on planted data: nothing from the future, each from the one before, nothing twice."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from mlflow import MlflowClient

from flows import backfill as module
from flows.backfill import backfill, dates, settings_of
from flows.cli import backfill as command
from flows.cli.backfill import parse_days
from flows.cli.main import app
from flows.naming import as_folder
from freqd.config import BackfillPlan, RunConfig
from freqd.config.load import build, parse_assignment
from freqd.errors import InputError
from freqd.report.backfill import BackfillResult, plain

SMALL = (
    "data.min_user_interactions=1", "data.min_item_interactions=1", "teacher.kind=als", "teacher.factors=[8]", "teacher.regularization=[1.0]",
    "teacher.alpha=[10.0]", "teacher.iterations=4", "distill.dim=4", "distill.epochs=2", "baselines.models=none",
    "spectral.bands=2", "evaluate.bootstrap_samples=200", "start.tolerance=0.9",
)  # fmt: skip
FIRST, LAST = date(2020, 11, 20), date(2021, 1, 2)
DAYS = ["2020-11-20", "2020-12-10", "2020-12-30"]


def config(source: Path, *changes: str) -> RunConfig:
    return build([{"data": {"source": [str(source)]}}, *map(parse_assignment, (*SMALL, *changes))])


def fill(source: Path, workdir: Path, *changes: str, **options: Any) -> dict[str, Any]:
    settings = config(source, "start.run=champion", *changes)
    name = options.pop("name", None)
    plan = BackfillPlan(first=FIRST, last=LAST, every_days=20, **options)
    return backfill(plan, config=settings, workdir=str(workdir), name=name)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory, planted: Callable[..., pl.DataFrame]) -> Path:
    """Purchases from September 2020 to January 2021; some users, who sort first, come in December only."""
    frame = planted(users=160)
    late = pl.col("user").is_in([f"u{n:04d}" for n in range(20)])
    frame = frame.with_columns(time=pl.when(late).then(1_607_800_000 + pl.col("time") % 1_500_000).otherwise("time"))
    path = tmp_path_factory.mktemp("data") / "shop.csv"
    frame.write_csv(path)
    return path


@pytest.fixture(scope="module")
def first(source: Path, workdir: Path, prefect_server: None) -> dict[str, Any]:
    return fill(source, workdir)


def split_of(workdir: Path, summary_of: str) -> Path:
    summary = json.loads((workdir / "runs" / summary_of / "summary.json").read_text())
    return Path(summary["artifacts"]["ingest.split"]["uri"])


def test_a_run_a_date_in_the_order_of_time(first: dict[str, Any], workdir: Path) -> None:
    assert [run["as_of"] for run in first["runs"]] == DAYS
    assert [run["run"] for run in first["runs"]] == [f"shop-{day}" for day in DAYS]
    assert sorted(p.name for p in (workdir / "runs").glob("shop-*")) == [f"shop-{day}" for day in DAYS]
    counts = [run["interactions"] for run in first["runs"]]
    assert counts == sorted(set(counts))


def test_no_run_sees_what_is_later_than_its_date(first: dict[str, Any], source: Path, workdir: Path) -> None:
    everything = pl.read_csv(source)["time"]
    for day in DAYS:
        end = datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp() + 86_400
        seen = pl.read_parquet(split_of(workdir, f"shop-{day}") / "interactions.parquet")["time"]
        assert seen.max() < end  # type: ignore[operator]
        assert seen.max() == everything.filter(everything < end).max()


def test_ids_stay_where_they_are_and_new_ones_come_after(first: dict[str, Any], workdir: Path) -> None:
    known: list[str] = []
    for day in DAYS:
        ids = pl.read_parquet(split_of(workdir, f"shop-{day}") / "users.parquet")["id"].to_list()
        assert ids[: len(known)] == known
        known = ids
    assert known[0] != "u0000"
    assert set(known[-20:]) == {f"u{n:04d}" for n in range(20)}


def test_each_date_starts_from_the_one_before(first: dict[str, Any]) -> None:
    assert [run["started_from"] for run in first["runs"]] == [None, "shop-2020-11-20", "shop-2020-12-10"]
    assert "no champion yet" in first["runs"][0]["why"]
    assert "started from scratch: shop-2020" not in plain(BackfillResult.model_validate(first))
    assert "As of 2020-11-20 it started from scratch: freqd-shop has no champion yet" in plain(
        BackfillResult.model_validate(first)
    )


def test_nothing_is_registered_unless_it_is_asked_for(first: dict[str, Any], source: Path, workdir: Path) -> None:
    assert all(run["model"] is None for run in first["runs"])
    found = fill(source, workdir, "registry.model_name=filled", name="registered", registered=True)
    assert [run["model"] for run in found["runs"]] == [f"filled version {n}" for n in (1, 2, 3)]
    assert found["runs"][0]["gate"] == "promoted"
    assert len(MlflowClient().search_model_versions("name = 'filled'")) == 3


def test_what_has_finished_is_passed_over(
    first: dict[str, Any], source: Path, workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    called: list[str] = []

    def watched(settings: RunConfig, workdir: str, run_name: str) -> dict[str, Any]:
        called.append(run_name)
        return run(settings, workdir=workdir, run_name=run_name)

    run = module.pipeline
    monkeypatch.setattr(module, "pipeline", watched)
    again = fill(source, workdir)
    assert called == []
    assert all(one["passed_over"] for one in again["runs"])
    assert [{**one, "passed_over": False} for one in again["runs"]] == first["runs"]

    shutil.rmtree(workdir / "runs" / "shop-2020-12-10")  # as if it had been stopped there
    again = fill(source, workdir)
    assert called == ["shop-2020-12-10"]
    assert [one["passed_over"] for one in again["runs"]] == [True, False, True]
    assert [one["ndcg_at_10"] for one in again["runs"]] == [one["ndcg_at_10"] for one in first["runs"]]

    called.clear()
    fill(source, workdir, "evaluate.bootstrap_samples=300")
    assert called == [f"shop-{day}" for day in DAYS], "other settings"


def test_dates_that_need_nothing_of_each_other_are_done_beside_each_other(
    source: Path, tmp_path: Path, prefect_server: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In processes; each is the run that it is alone."""
    found = {}
    for workers in (1, 2):
        settings = config(source, f"engine.workers={workers}")
        plan = BackfillPlan(first=FIRST, last=LAST, every_days=20)
        found[workers] = backfill(plan, config=settings, workdir=str(tmp_path / str(workers)))
    assert [run["run"] for run in found[2]["runs"]] == [f"shop-{day}" for day in DAYS]
    one, other = (
        [(run["run"], run["ndcg_at_10"], run["interactions"], run["why"]) for run in found[workers]["runs"]]
        for workers in (1, 2)
    )
    assert one == other
    every = [each.experiment_id for each in MlflowClient().search_experiments()]
    assert MlflowClient().search_runs(every, "attributes.status = 'RUNNING'") == []


def test_the_page_shows_all_dates(first: dict[str, Any], source: Path, workdir: Path) -> None:
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey

    with get_client(sync_client=True) as client:
        found = client.read_artifacts(artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=["backfill"])))
    assert any(all(f"shop-{day}" in str(page.data) for day in DAYS) for page in found)


def test_a_date_without_data_is_named(source: Path, tmp_path: Path, prefect_server: None) -> None:
    with pytest.raises(InputError, match=r"as of 2020-01-01: no interaction is left"):
        backfill(
            BackfillPlan(first=date(2020, 1, 1), last=LAST, every_days=20), config=config(source), workdir=str(tmp_path)
        )


# -- its parts ------------------------------------------------------------------------------------------------------


def test_dates_by_hand() -> None:
    assert dates(BackfillPlan(first=date(2024, 2, 27), last=date(2024, 3, 2), every_days=2)) == (
        date(2024, 2, 27),
        date(2024, 2, 29),
        date(2024, 3, 2),
    )
    assert dates(BackfillPlan(first=date(2024, 1, 1), last=date(2024, 1, 1), every_days=7)) == (date(2024, 1, 1),)
    assert dates(BackfillPlan(first=date(2024, 1, 1), last=date(2024, 1, 7), every_days=7)) == (date(2024, 1, 1),)


def test_a_long_name_keeps_its_date(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    named: list[str] = []

    def stopped(settings: RunConfig, workdir: str, run_name: str) -> None:
        named.append(run_name)
        raise InputError("stopped here", "nothing")

    monkeypatch.setattr(module, "pipeline", stopped)
    with pytest.raises(InputError, match="stopped here"):
        module.backfill.fn(BackfillPlan(first=FIRST, last=LAST), name="ü" * 200, workdir=str(tmp_path / "work"))
    assert named == ["ü" * 40 + "-2020-11-20"]
    assert as_folder(named[0]) == named[0], "a run's name is not cut off any further"


def test_only_who_asks_for_it_starts_from_the_date_before() -> None:
    plain_start, other = build([]), build([{"start": {"run": "champion"}}])
    day = date(2024, 1, 1)
    assert settings_of(plain_start, day, "x-2023-12-25", registered=False).start == plain_start.start
    assert settings_of(other, day, None, registered=False).start == other.start
    later = settings_of(other, day, "x-2023-12-25", registered=True)
    assert (later.start.run, later.start.required) == ("x-2023-12-25", False)
    assert (later.data.as_of, later.registry.enabled) == (day, True)


@pytest.mark.parametrize(("text", "days"), [("7d", 7), ("1w", 7), (" 30d ", 30)])
def test_numbers_of_days(text: str, days: int) -> None:
    assert parse_days("--every", text) == days


@pytest.mark.parametrize("text", ["", "7", "0d", "-1d", "1m", "d", "1.5w"])
def test_what_is_no_number_of_days_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="--every"):
        parse_days("--every", text)


def test_a_scheduled_jobs_settings_register_nothing_unless_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """So an approval that they ask for needs no page."""
    enabled: list[bool] = []

    def start(settings: RunConfig, *_: Any, **options: Any) -> dict[str, Any]:
        assert settings.registry.enabled == options["plan"].registered
        enabled.append(settings.registry.enabled)
        return {"name": "x", "workdir": "work", "runs": []}

    monkeypatch.setattr(command, "start", start)
    words = ["backfill", "2020-11-20", "2020-12-20", "--data", "grocery", "--set", "registry.approval=ask"]
    for more in ([], ["--register"]):
        app([*words, *more], exit_on_error=False, print_error=False, result_action="return_value")
    assert enabled == [False, True]


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["2020-02-01", "2020-01-01"], "is before"),
        (["2020-02-01", "2999-01-01"], "has not come yet"),
        (["2020-01-01", "2020-02-01", "--every", "soon"], "soon"),
        (["2020-01-01", "2020-02-01", "--set", "data.as_of=2020-01-05"], "as_of"),
        (["2020-01-01", "2020-02-01", "--name", "../mine"], "name"),
        (["2020-01-01", "2020-02-01", "--data", "grocry"], "grocery"),
        (["2020-01-01", "2020-02-01", "--data", "citeulike"], "citeulike has no time column"),
        (["2020-01-01", "2020-02-01", "--set", "data.columns.time=none"], "grocery has no time column"),
    ],
)
def test_wrong_input_starts_nothing(words: list[str], named: str, tmp_path: Path) -> None:
    line = ["backfill", *words, "--workdir", str(tmp_path / "work")]
    with pytest.raises(InputError, match=named):
        app(line, exit_on_error=False, print_error=False, result_action="return_value")
    assert list(tmp_path.iterdir()) == []


def test_what_was_there_by_the_first_date_is_looked_at_before_anything_starts(source: Path, tmp_path: Path) -> None:
    pl.read_csv(source).drop("time").write_csv(tmp_path / "list.csv")
    for file, first, named in (
        (tmp_path / "list.csv", "2020-11-20", r"list\.csv has no time column[^`]*`freqd run`"),
        (source, "2020-01-01", r"after 2020-01-01[^:]*: set .* a later first date"),
    ):
        line = ["backfill", first, "2020-12-20", "--data", str(file), "--workdir", str(tmp_path / "work")]
        with pytest.raises(InputError, match=named):
            app(line, exit_on_error=False, print_error=False, result_action="return_value")
    assert [path.name for path in tmp_path.iterdir()] == ["list.csv"]
