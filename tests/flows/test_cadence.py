"""How models age on planted data: who sees what, what is computed once, what the files say, what is refused."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from mlflow import MlflowClient

from flows.cadence import cadence
from flows.cli.main import app
from flows.pipeline import pipeline
from freqd.config import RunConfig
from freqd.config.load import build, parse_assignment
from freqd.errors import InputError
from freqd.report.cadence import markdown, plain
from freqd.report.cadence_result import CadenceResult

SMALL = (
    "data.min_user_interactions=1", "data.min_item_interactions=1", "teacher.kind=als", "teacher.factors=[8]", "teacher.regularization=[1.0]",
    "teacher.alpha=[10.0]", "teacher.iterations=4", "distill.dim=4", "distill.epochs=2", "baselines.models=none",
    "spectral.bands=2", "evaluate.bootstrap_samples=200", "start.tolerance=0.9", "cadence.windows=3", "registry.enabled=false",
)  # fmt: skip
DAY = 86_400
MOVED = 1_606_100_000
"""From then on, five sevenths into the time, every user has the tastes of another group."""


def config(source: Path, *changes: str) -> RunConfig:
    return build([{"data": {"source": [str(source)]}}, *map(parse_assignment, (*SMALL, *changes))])


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory, planted: Callable[..., pl.DataFrame]) -> Path:
    """Purchases; two users and two items come in the last window only."""
    frame = planted(users=260, per_user=30)
    late = pl.col("user").is_in(["u0001", "u0002"]) | pl.col("item").is_in(["i0001", "i0002"])
    frame = frame.with_columns(time=pl.when(late).then(1_609_000_000 + pl.col("time") % 900_000).otherwise("time"))
    path = tmp_path_factory.mktemp("data") / "shop.csv"
    frame.write_csv(path)
    return path


@pytest.fixture(scope="module")
def first(source: Path, workdir: Path, prefect_server: None) -> dict[str, Any]:
    return cadence(config(source), workdir=str(workdir), name="first")


def test_a_model_a_window_in_both_ways_and_each_on_all_later_windows(first: dict[str, Any]) -> None:
    starts = [window["first"] for window in first["windows"]]
    assert len(starts) == 3
    days = [date.fromisoformat(start) - timedelta(days=1) for start in starts]
    made = [(model["as_of"], model["kind"]) for model in first["models"]]
    assert made == [(str(days[0]), "full"), (str(days[1]), "full"), (str(days[1]), "re-distilled"),
                    (str(days[2]), "full"), (str(days[2]), "re-distilled")]  # fmt: skip
    judged = sorted((row["kind"], row["age"], row["first"]) for row in first["judged"])
    assert judged == sorted(
        [("full", w - m, starts[w]) for w in range(3) for m in range(w + 1)]
        + [("re-distilled", 0, starts[w]) for w in (1, 2)]
    )
    assert [row["age"] for row in first["ages"]] == [0, 1, 2]
    assert [row["windows"] for row in first["ages"]] == [3, 2, 1]


def test_no_model_sees_what_it_is_judged_on(first: dict[str, Any], workdir: Path) -> None:
    digests = {entry["as_of"]: entry["digest"] for entry in first["stages"] if entry["stage"] == "ingest"}
    assert len(digests) == 3
    seen = {}
    for path in (workdir / "store" / "artifacts" / "split").iterdir():
        last = pl.read_parquet(path / "interactions.parquet")["time"].max()
        seen[str(date(1970, 1, 1) + timedelta(seconds=int(last)))] = path  # type: ignore[call-overload]
    for as_of in digests:
        assert as_of in seen, "data up to the day before the window, and not further"


def test_unknown_users_and_items_are_counted(first: dict[str, Any]) -> None:
    last = first["windows"][-1]["first"]
    on_last = [row for row in first["judged"] if row["first"] == last and row["kind"] == "full"]
    assert all(row["unknown_items"] >= 2 for row in on_last)
    assert all(row["unknown_users"] >= 2 for row in on_last)
    assert all(row["unknown_user_pairs"] >= row["unknown_users"] for row in on_last)
    shares = [row["unknown_item_pairs"] for row in first["ages"]]
    assert all(0.0 <= share <= 1.0 for share in shares)


def test_losses_follow_from_the_windows(first: dict[str, Any]) -> None:
    """Age 2 is one window, so its means are those of the two models there."""
    last = first["windows"][-1]["first"]
    of_age = {row["age"]: row for row in first["judged"] if row["first"] == last and row["kind"] == "full"}
    row = first["ages"][2]
    assert row["users"] == of_age[0]["judged_users"] == of_age[2]["judged_users"]
    assert row["fresh"] == pytest.approx(of_age[0]["ndcg_at_10"], abs=1e-6)
    assert row["aged"] == pytest.approx(of_age[2]["ndcg_at_10"], abs=1e-6)
    assert row["loss"]["mean"] == pytest.approx(row["fresh"] - row["aged"], abs=1e-9)
    assert row["mean_loss"] == pytest.approx(np.mean([0.0, *(r["loss"]["mean"] for r in first["ages"][1:])]))


def test_costs_are_those_of_the_stages(first: dict[str, Any]) -> None:
    for model in first["models"]:
        mine = [
            entry for entry in first["stages"]
            if (entry["as_of"], entry["kind"]) == (model["as_of"], model["kind"]) and entry["stage"] != "window"
        ]  # fmt: skip
        assert [entry["stage"] for entry in mine] == ["ingest", "graph", "teacher", "spectrum", "distill"]
        assert model["seconds"]["all"] == pytest.approx(sum(entry["seconds"] for entry in mine))
    later = [model["seconds"]["all"] for model in first["models"] if model["kind"] == "full"][1:]
    assert first["seconds"]["full"] == pytest.approx(np.mean(later))
    yearly = first["ages"][0]["seconds_a_year"]["full"]
    assert yearly == pytest.approx(first["seconds"]["full"] * 365.25 / first["period_days"])


def test_redistillations_follow_one_another(first: dict[str, Any]) -> None:
    again = [model for model in first["models"] if model["kind"] == "re-distilled"]
    assert {model["teacher_start"] for model in again} == {"continued"}
    assert all(model["student_start"] in ("previous", "svd") for model in again)
    assert all(model["why"] == "" for model in again)
    assert all(model["teacher_start"] is None for model in first["models"] if model["kind"] == "full")


def test_files_say_what_the_result_says(first: dict[str, Any], workdir: Path) -> None:
    folder = workdir / "cadences" / "first"
    assert {p.name for p in folder.iterdir()} == {
        "cadence.json", "cadence.csv", "cadence.md", "cadence.html", "cadence.png",
    }  # fmt: skip
    kept = json.loads((folder / "cadence.json").read_text())
    assert kept == first
    assert (folder / "cadence.md").read_text() == markdown(CadenceResult.model_validate(kept))
    lines = list(csv.DictReader((folder / "cadence.csv").open()))
    assert [float(line["ndcg_at_10"]) for line in lines] == [row["ndcg_at_10"] for row in kept["judged"]]
    page = (folder / "cadence.html").read_text()
    for row in first["ages"][1:]:
        assert f"{row['aged']:.4f}" in page
        assert f"{row['aged']:.4f}" in plain(CadenceResult.model_validate(kept))


def test_mlflow_and_prefect_have_it(first: dict[str, Any]) -> None:
    client = MlflowClient()
    parent = client.get_run(first["mlflow"]["run_id"])
    assert parent.info.status == "FINISHED"
    assert parent.data.tags["freqd.kind"] == "cadence"
    assert parent.data.metrics["full_seconds"] == first["seconds"]["full"]
    days = first["ages"][1]["days"]
    assert parent.data.metrics[f"loss_after_{days}_days"] == first["ages"][1]["loss"]["mean"]
    assert {a.path for a in client.list_artifacts(parent.info.run_id)} >= {"cadence.json", "cadence.html", "figures"}
    as_of = first["models"][2]["as_of"]
    found = client.search_runs(
        [parent.info.experiment_id],
        f"tags.mlflow.parentRunId = '{parent.info.run_id}' and tags.kind = 're-distilled' and tags.as_of = '{as_of}'",
    )
    assert {run.info.run_name for run in found} >= {f"teacher re-distilled as of {as_of}", f"distill re-distilled as of {as_of}"}  # fmt: skip

    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId

    mine = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[first["prefect"]["flow_run_id"]]))
    with get_client(sync_client=True) as api:
        assert {"cadence", "cadence-figure"} <= {page.key for page in api.read_artifacts(artifact_filter=mine)}


def test_again_is_all_cached_and_equal(first: dict[str, Any], source: Path, workdir: Path) -> None:
    again = cadence(config(source), workdir=str(workdir), name="again")
    assert all(entry["cached"] for entry in again["stages"])
    for part in ("windows", "models", "judged", "ages", "redistilled", "seconds", "advice"):
        assert again[part] == first[part]


def test_a_run_as_of_that_day_finds_the_model(first: dict[str, Any], source: Path, workdir: Path) -> None:
    as_of = first["models"][1]["as_of"]
    run = pipeline(config(source, f"data.as_of={as_of}"), workdir=str(workdir), run_name="run")
    assert set(run["cached_stages"]) == {"ingest", "graph", "teacher", "spectrum", "distill"}


def test_refits_are_held_against_judged_students_and_a_plain_als(
    first: dict[str, Any], source: Path, workdir: Path
) -> None:
    found = cadence(config(source, "cadence.refit=true"), workdir=str(workdir), name="refit")
    assert first["refit"] is None
    for part in ("models", "judged", "ages", "redistilled", "advice"):
        assert found[part] == first[part], "the replay changes nothing else"
    replay = found["refit"]
    assert replay["refused"] == 0
    made = [entry for entry in found["stages"] if entry["stage"] == "refit"]
    assert replay["seconds"] == pytest.approx(np.mean([entry["seconds"] for entry in made]))
    for other in ("judged", "als"):
        row = replay[other]
        assert row["windows"] == 3
        assert row["loss"]["mean"] == pytest.approx(row["fresh"] - row["other"], abs=1e-6)
        assert row["loss"]["low"] <= row["loss"]["mean"] <= row["loss"]["high"]
    assert replay["judged"]["fresh"] == pytest.approx(replay["als"]["fresh"])
    models = [path for path in (workdir / "store" / "artifacts" / "model").iterdir() if path.name[0] != "."]
    refits = {path.name for path in models if json.loads((path / "training.json").read_text())["info"].get("refit")}
    assert refits
    for path in models:
        made_of = json.loads((path / "manifest.json").read_text())["inputs"]
        assert not refits & set(made_of.values()), "nothing goes on from a refit"


@pytest.fixture(scope="module")
def moving(tmp_path_factory: pytest.TempPathFactory, planted: Callable[..., pl.DataFrame]) -> Path:
    """As above, but from some day on every user buys what another one would."""
    frame = planted(users=260, per_user=30)
    other = pl.col("user").str.slice(1).cast(pl.Int64)
    swapped = pl.format("u{}", ((other + 97) % 260).cast(pl.String).str.zfill(4))
    frame = frame.with_columns(user=pl.when(pl.col("time") >= MOVED).then(swapped).otherwise("user"))
    path = tmp_path_factory.mktemp("moving") / "moving.csv"
    frame.unique(["user", "item"], keep="first", maintain_order=True).write_csv(path)
    return path


def test_moved_tastes_show_as_decay(first: dict[str, Any], moving: Path, tmp_path: Path, prefect_server: None) -> None:
    """Models made before the move lose against those made long after it; where nothing moves they lose less."""
    found = cadence(config(moving, "cadence.windows=4"), workdir=str(tmp_path), name="moving")
    oldest = found["ages"][-1]
    assert oldest["loss"]["low"] > 0.0
    assert found["advice"]["decayed_at"] is not None
    assert found["advice"]["every_days"] == found["advice"]["decayed_at"] * found["period_days"]
    assert plain(CadenceResult.model_validate(found)).count("which is significant") == 1


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--data", "grocry"], "grocery"),
        (["--data", "grocery", "--set", "data.split=random"], "split=random"),
        (["--data", "grocery", "--windows", "1"], "windows"),
        (["--data", "citeulike"], "citeulike has no time column"),
        (["--data", "grocery", "--set", "data.columns.time=none"], "grocery has no time column"),
        (["--data", "grocery", "--name", "../mine"], "name"),
    ],
)
def test_wrong_input_starts_nothing(words: list[str], named: str, tmp_path: Path) -> None:
    command = ["cadence", *words, "--workdir", str(tmp_path / "work")]
    with pytest.raises(InputError, match=named):
        app(command, exit_on_error=False, print_error=False, result_action="return_value")
    assert list(tmp_path.iterdir()) == []


def test_data_without_time_are_refused_with_what_helps(
    planted: Callable[..., pl.DataFrame], tmp_path: Path, prefect_server: None
) -> None:
    planted().drop("time").write_csv(tmp_path / "list.csv")
    with pytest.raises(InputError, match="list has no time column") as caught:
        cadence(config(tmp_path / "list.csv"), workdir=str(tmp_path / "work"))
    assert "data.columns.time" in caught.value.remedy
