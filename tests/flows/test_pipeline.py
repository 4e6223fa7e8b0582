"""The whole flow on planted data: what it leaves behind, what it does again, what it does not."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import jsonschema
import numpy as np
import polars as pl
import pytest
from mlflow import MlflowClient
from prefect.client.orchestration import get_client
from prefect.exceptions import ObjectNotFound

from flows.ops import deployments
from flows.pipeline import pipeline
from freqd import Distiller, provenance
from freqd.config import RunConfig
from freqd.config.load import build, parse_assignment
from freqd.embeddings import TrainedModel
from freqd.errors import InputError
from freqd.report.run.sentences import gate_sentence
from freqd.report.run.text import result_table
from freqd.report.run_result import RunResult
from tasks.mlops.audit import AuditTrail
from tasks.runtime.workspace import Workspace
from tasks.stages.approval import DEPLOYMENT, Answer, settle

pytestmark = pytest.mark.usefixtures("prefect_server")

STAGES = [
    "ingest",
    "graph",
    "teacher",
    "spectrum",
    "references",
    "baselines",
    "svd",
    "filtered_svd",
    "distill",
    "evaluate",
    "refit",
    "register",
]
SMALL = (
    "data.split=random", "teacher.kind=als", "teacher.factors=[16]", "teacher.regularization=[1.0]", "teacher.alpha=[10.0]", "teacher.iterations=4",
    "distill.dim=4", "distill.epochs=4", 'baselines.models=["popular", "item-knn", "ease", "bpr"]', "baselines.epochs=6", "baselines.weight_decay=[1e-5]", "spectral.bands=4",
    "evaluate.bootstrap_samples=200",
)  # fmt: skip


def config(source: Path, *changes: str) -> RunConfig:
    return build([{"data": {"source": [str(source)]}}, *map(parse_assignment, (*SMALL, *changes))])


@pytest.fixture(scope="module")
def first(source: Path, workdir: Path, prefect_server: None) -> dict[str, Any]:
    return pipeline(config(source), workdir=str(workdir), run_name="first")


def rerun(source: Path, workdir: Path, *changes: str, **options: Any) -> dict[str, Any]:
    return pipeline(
        config(source, *changes), workdir=str(workdir), run_name=options.pop("run_name", "again"), **options
    )


def test_every_stage_runs_and_the_summary_is_complete(first: dict[str, Any], workdir: Path) -> None:
    assert [stage["name"] for stage in first["stages"]] == STAGES
    assert first["cached_stages"] == []
    assert set(first["metrics"]) == {"teacher", "scratch", "svd", "student"}
    for metrics in first["metrics"].values():
        assert {"ndcg_at_10", "recall_at_10", "ndcg_at_20", "coverage_at_10"} <= set(metrics)
    assert first["data"]["users"] == 200
    assert first["models"]["student"]["parameters"] == 4 * (first["data"]["users"] + first["data"]["items"])
    assert all(stage["seconds"] > 0 and stage["peak_bytes"] > 2**20 for stage in first["stages"])
    assert json.loads((workdir / "runs" / "first" / "summary.json").read_text()) == first


def test_references_of_any_size_are_judged_beside_the_models(first: dict[str, Any]) -> None:
    beside = first["references"]["models"]
    found = {model["name"]: model for model in beside}
    assert {"popular", "item-knn", "ease"} <= set(found)
    for name, model in found.items():
        lead = first["metrics"]["student"]["ndcg_at_10"] - model["metrics"]["ndcg_at_10"]
        assert model["student_minus"] == first["intervals"][f"student_minus_{name}"]
        assert model["student_minus"]["mean"] == pytest.approx(lead, abs=1e-6)
        assert f"teacher_minus_{name}" in first["intervals"]
    assert found["ease"]["metrics"]["ndcg_at_10"] > found["popular"]["metrics"]["ndcg_at_10"]


def test_without_baselines_those_of_the_last_run_are_shown_with_their_date(
    first: dict[str, Any], source: Path, workdir: Path
) -> None:
    again = rerun(source, workdir, "baselines.models=none", "registry.enabled=false", run_name="bare")
    assert {"references", "baselines", "svd", "filtered_svd"}.isdisjoint(stage["name"] for stage in again["stages"])
    assert again["gap_closed"]["value"] is None
    shown = again["references"]
    assert shown["created"] >= first["created"]
    kept = {model["name"]: model["metrics"] for model in shown["models"]}
    assert kept["scratch"] == first["metrics"]["scratch"]
    assert kept["ease"] == next(m["metrics"] for m in first["references"]["models"] if m["name"] == "ease")
    assert f"as run {shown['run']} judged them on {shown['created'][:10]}" in result_table(
        RunResult.model_validate(again)
    )
    third = rerun(source, workdir, "baselines.models=none", "registry.enabled=false", run_name="bare too")
    assert third["references"]["run"] == shown["run"], "not the run that shows another's"


def test_the_summary_follows_its_published_schema(first: dict[str, Any]) -> None:
    page = Path(__file__).resolve().parents[2] / "docs" / "schema" / f"run-summary-{first['schema_version']}.json"
    jsonschema.validate(first, json.loads(page.read_text()))
    assert RunResult.model_validate(first).as_json() == first


def test_the_teacher_learns_the_planted_structure_and_the_student_follows(first: dict[str, Any]) -> None:
    metrics = first["metrics"]
    assert metrics["teacher"]["recall_at_10"] > 2 * 10 / first["data"]["items"]
    assert metrics["student"]["ndcg_at_10"] > 0.7 * metrics["teacher"]["ndcg_at_10"]


def test_a_notebook_gets_the_very_student_of_a_run(first: dict[str, Any], source: Path, workdir: Path) -> None:
    settings = config(source)
    model = Distiller(4, settings=settings.model_dump(mode="json")).fit(pl.read_csv(source))
    kept = Workspace(workdir).store
    student = kept.open(kept.ref("model", first["artifacts"]["distill.student"]["digest"]), TrainedModel)
    assert np.array_equal(model.fitted.student.features.users, student.features.users)
    assert np.array_equal(model.fitted.student.features.items, student.features.items)


def test_mlflow_has_a_parent_with_a_child_a_stage(first: dict[str, Any]) -> None:
    client = MlflowClient()
    parent = client.get_run(first["mlflow"]["run_id"])
    assert parent.info.status == "FINISHED"
    assert parent.data.params["distill.dim"] == "4"
    assert parent.data.metrics["student_ndcg_at_10"] == first["metrics"]["student"]["ndcg_at_10"]
    assert parent.data.tags["prefect.flow_run_id"] == first["prefect"]["flow_run_id"]
    assert parent.inputs.dataset_inputs[0].dataset.name == first["data"]["name"]
    assert {a.path for a in client.list_artifacts(parent.info.run_id)} >= {"summary.json", "report.html", "figures"}
    children = client.search_runs([parent.info.experiment_id], f"tags.mlflow.parentRunId = '{parent.info.run_id}'")
    assert {child.info.run_name for child in children} == set(STAGES)
    assert {child.info.status for child in children} == {"FINISHED"}


def test_the_registered_student_answers_like_the_summary_says(
    first: dict[str, Any], source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow

    monkeypatch.setattr(
        sys, "path", list(sys.path)
    )  # MLflow puts the model's own code in front, for processes begun later too
    name, version = first["model"]["name"], first["model"]["version"]
    assert first["model"]["aliases"] == ["challenger", "champion"]
    tags = MlflowClient().get_model_version(name, version).tags
    assert tags["freqd.data_digest"] == first["data"]["digest"]
    assert tags["freqd.seed"] == "0"
    model = mlflow.pyfunc.load_model(f"models:/{name}@champion")
    answer = model.predict(pl.DataFrame({"user": ["u0003", "nobody"]}).to_pandas(), params={"k": 5})
    assert list(answer["rank"]) == [1, 2, 3, 4, 5] * 2
    assert list(answer["source"]) == ["model"] * 5 + ["popularity"] * 5
    bought = set(pl.read_csv(source).filter(pl.col("user") == "u0003")["item"])
    assert not bought & set(answer["item"][:5])


def test_no_pickle_is_in_the_registered_model(first: dict[str, Any]) -> None:
    import mlflow

    folder = Path(mlflow.artifacts.download_artifacts(f"models:/{first['model']['name']}/{first['model']['version']}"))
    assert [p for p in folder.rglob("*") if p.suffix in {".pkl", ".pickle", ".joblib", ".pt", ".pth"}] == []


def test_prefect_shows_every_stage_and_the_verdict(first: dict[str, Any]) -> None:
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId, LogFilter, LogFilterFlowRunId

    flow_run = first["prefect"]["flow_run_id"]
    with get_client(sync_client=True) as client:
        runs = client.read_task_runs(flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[flow_run])))
        itself = client.read_flow_run(flow_run)
        logs = [log.message for log in client.read_logs(LogFilter(flow_run_id=LogFilterFlowRunId(any_=[flow_run])))]
    assert {run.name.rsplit("-", 1)[0] for run in runs} >= {*STAGES, "report"}
    assert set(itself.tags) == {"data: purchases", "model: freqd-purchases", "verdict: promoted"}
    assert itself.state.message.endswith(gate_sentence(RunResult.model_validate(first)))
    for run in runs:
        headline = (run.state.message or "").rpartition(" (")[0]
        assert not headline or sum(headline in line for line in logs) <= 1, "each line once"


def test_one_artifact_of_the_flow_run_itself_holds_the_result(first: dict[str, Any]) -> None:
    found = {key: artifact for key, artifact in shown(first).items() if artifact.task_run_id is None}
    assert set(found) == {"result"}
    text = found["result"].data
    for expected in ("# ", "| Teacher |", "## Gate", "report.html"):
        assert expected in text
    assert {artifact.type for artifact in shown(first).values()} == {"table", "markdown"}


def test_mlflow_shows_verdict_and_numbers_where_somebody_looks(first: dict[str, Any]) -> None:
    client = MlflowClient()
    run = client.get_run(first["mlflow"]["run_id"])
    model, version = first["model"]["name"], first["model"]["version"]
    own = first["evaluated"]["ndcg_at_10"]
    assert own["low"] < own["value"] < own["high"]
    assert run.data.tags["freqd.ndcg_at_10"] == f"{own['value']:.4f} ({own['low']:.4f} to {own['high']:.4f})"
    assert run.data.tags["decision"] == "promoted"
    assert run.data.tags["freqd.model"] == f"{model} {version}"
    view = client.get_experiment(run.info.experiment_id).tags["mlflow.sharedViewState.freqd"]
    names = [c.split("`")[1] for c in json.loads(view)["selectedColumns"] if c.startswith("tags.")]
    assert set(names) - {"freqd.gap_closed"} <= set(run.data.tags), "a column that no run fills"
    entry = client.get_model_version(model, version)
    assert entry.description.startswith(f"Promoted. NDCG@10 {own['value']:.4f}")
    assert sorted(entry.tags)[:2] == ["decision", "decision.reason"]


def shown(summary: dict[str, Any]) -> dict[str, Any]:
    """What the page of the run's flow run shows, by key, the progress of stages aside."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId

    mine = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[summary["prefect"]["flow_run_id"]]))
    with get_client(sync_client=True) as client:
        return {a.key: a for a in client.read_artifacts(artifact_filter=mine) if a.type != "progress"}


def test_a_cached_run_shows_on_its_page_what_the_first_one_showed(
    first: dict[str, Any], source: Path, workdir: Path
) -> None:
    before, again = shown(first), shown(rerun(source, workdir, run_name="page"))
    assert set(again) == set(before) >= {"data-quality", "teacher-search", "spectrum", "evaluation", "gate", "result"}
    for key in ("data-quality", "teacher-search", "spectrum", "evaluation", "gate"):
        assert again[key].data == before[key].data
        assert again[key].description == f"{before[key].description} (from the cache, made by run first)"


def test_an_identical_run_is_all_cached_and_registers_nothing_new(
    first: dict[str, Any], source: Path, workdir: Path
) -> None:
    again = rerun(source, workdir)
    assert again["cached_stages"] == STAGES
    assert again["metrics"] == first["metrics"]
    assert again["model"] == first["model"]


def test_the_same_file_by_another_path_is_not_read_again(
    first: dict[str, Any], source: Path, workdir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(source.parent)
    (tmp_path / "linked.csv").symlink_to(source)
    for path in (Path(source.name), tmp_path / "linked.csv"):
        (found,) = rerun(path, workdir, until="ingest")["stages"]
        assert found["cached"], path
        assert found["refs"]["split"]["digest"] == first["artifacts"]["ingest.split"]["digest"]


def test_one_setting_reruns_only_what_depends_on_it(first: dict[str, Any], source: Path, workdir: Path) -> None:
    again = rerun(source, workdir, "distill.warm_start=random")
    assert again["cached_stages"] == STAGES[:8]
    again = rerun(source, workdir, "evaluate.ks=[5]")
    assert "distill" in again["cached_stages"]
    assert "evaluate" not in again["cached_stages"]
    assert "ndcg_at_5" in again["metrics"]["student"]


def test_a_challenger_that_is_not_better_ends_well_but_is_not_promoted(
    first: dict[str, Any], source: Path, workdir: Path
) -> None:
    again = rerun(source, workdir, "distill.dim=2", "distill.epochs=1")
    assert again["gate"]["promoted"] is False
    assert again["gate"]["champion"] == first["model"]["version"]
    assert again["gate"]["reasons"]
    assert again["model"]["aliases"] == ["challenger"]
    assert {check["name"]: check["detail"] for check in first["gate"]["checks"]}["mean item popularity@10"] == (
        "not applicable: there is no champion to compare with"
    )
    details = {check["name"]: check["detail"] for check in again["gate"]["checks"]}
    assert "the champion's" in details["mean item popularity@10"]
    assert "(141 test users), without the groups of fewer than 100" in details["NDCG@10 of the worst user group"]
    logged = MlflowClient().get_run(again["mlflow"]["run_id"]).data.metrics
    assert {"student_mean_popularity_at_10", "student_coverage_at_10", "student_ndcg_at_10_activity_1"} <= set(logged)
    tags = MlflowClient().get_model_version(again["model"]["name"], again["model"]["version"]).tags
    assert tags["freqd.verdict"] == "not promoted"


def test_a_damaged_artifact_is_made_again(first: dict[str, Any], source: Path, workdir: Path) -> None:
    victim = next((workdir / "store" / "artifacts" / "graphs").glob("*/*.npz"))
    content = bytearray(victim.read_bytes())
    content[len(content) // 2] ^= 0xFF
    victim.write_bytes(bytes(content))
    again = rerun(source, workdir)
    assert again["cached_stages"] == [name for name in STAGES if name != "graph"]
    assert again["metrics"] == first["metrics"]


def test_changed_code_reruns_what_uses_it(
    first: dict[str, Any], source: Path, workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = provenance._module
    monkeypatch.setattr(
        provenance, "_module", lambda name: ("changed", ()) if name == "freqd.distill.warm_start" else original(name)
    )
    again = rerun(source, workdir)
    assert again["cached_stages"] == [name for name in STAGES if name not in ("distill", "refit")]


def test_changed_data_is_noticed_and_ids_stay(
    first: dict[str, Any], source: Path, workdir: Path, planted: Callable[..., pl.DataFrame], tmp_path: Path
) -> None:
    grown = tmp_path / "grown" / source.name
    grown.parent.mkdir()
    newcomer = planted().filter(pl.col("user") == "u0000").with_columns(user=pl.lit("a-newcomer"))
    pl.concat([newcomer, planted()]).write_csv(grown)
    again = rerun(grown, workdir, until="ingest")
    old = pl.read_parquet(
        next((workdir / "store" / "artifacts" / "split" / first["data"]["digest"]).glob("users.parquet"))
    )
    new = pl.read_parquet(Path(again["stages"][0]["refs"]["split"]["uri"]) / "users.parquet")
    assert new["id"].to_list() == [*old["id"].to_list(), "a-newcomer"]


def test_the_baseline_can_be_registered_in_the_students_place(
    first: dict[str, Any], source: Path, workdir: Path
) -> None:
    again = rerun(source, workdir, "registry.candidate=baseline", "registry.model_name=plain")
    assert set(STAGES) - set(again["cached_stages"]) == {"refit", "register"}, "a baseline is not refitted"
    version = MlflowClient().get_model_version("plain", again["model"]["version"])
    assert version.tags["freqd.student_digest"] == first["artifacts"]["baselines.scratch"]["digest"]
    assert float(version.tags["freqd.ndcg_at_10"]) == pytest.approx(first["metrics"]["scratch"]["ndcg_at_10"], abs=1e-6)
    assert version.tags["freqd.candidate"] == "baseline"
    assert again["gate"]["promoted"]
    assert "the no-distillation baseline is the candidate" in gate_sentence(RunResult.model_validate(again))


def test_a_stage_that_is_forced_gives_the_same_result(first: dict[str, Any], source: Path, workdir: Path) -> None:
    again = rerun(source, workdir, force=("distill",))
    assert "distill" not in again["cached_stages"]
    assert again["metrics"] == first["metrics"]


def test_a_budget_stops_trainings_keeps_the_best_and_says_so(
    first: dict[str, Any], source: Path, workdir: Path
) -> None:
    endless = (
        "distill.epochs=100000",
        "baselines.epochs=100000",
        "distill.patience=100000",
        "evaluate.bootstrap_samples=100",
    )
    short = rerun(source, workdir, *endless, "budget_minutes=0.05")
    assert short["budget"]["minutes"] == 0.05
    assert set(short["budget"]["cut"]) >= {"scratch", "student"}
    assert any("budget_minutes" in line for line in short["advice"])
    assert short["config"]["distill"]["max_seconds"] == first["config"]["distill"]["max_seconds"], "as it was asked"
    assert rerun(source, workdir, *endless, "budget_minutes=0.05")["cached_stages"] == STAGES
    longer = rerun(source, workdir, *endless, "budget_minutes=0.06")
    assert not {"baselines", "distill"} & set(longer["cached_stages"]), "what a smaller budget has cut off is not taken"
    assert longer["training"]["student"]["info"]["seconds"] > short["training"]["student"]["info"]["seconds"]


def test_a_person_may_have_the_last_word(
    source: Path, tmp_path: Path, prefect_server: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[Any, Any]] = []

    def run_deployment(name: str, *, parameters: dict[str, Any], idempotency_key: str, **_: Any) -> Any:
        asked.append((idempotency_key, parameters))
        return SimpleNamespace(id=UUID(int=len(asked)))

    monkeypatch.setattr("tasks.stages.approval.run_deployment", run_deployment)
    changes = ("registry.approval=ask", "registry.model_name=asked")
    with (
        get_client(sync_client=True) as client,
        suppress(ObjectNotFound),
    ):  # another test of this session may have made it
        client.delete_deployment(client.read_deployment_by_name(DEPLOYMENT).id)
    with pytest.raises(InputError, match=DEPLOYMENT):
        rerun(source, tmp_path, *changes)
    deployments.deploy(Workspace(tmp_path))
    found = rerun(source, tmp_path, *changes)
    assert found["gate"]["verdict"] == "waiting for approval"
    assert found["model"]["aliases"] == ["challenger"]
    assert [stage["name"] for stage in found["stages"]] == STAGES
    assert [(given["model"], given["version"]) for _, given in asked] == [("asked", "1")] * 2
    assert asked[1][1]["question"] == str(UUID(int=1))
    settle(Workspace(tmp_path), "asked", "1", Answer(said="no", who="Ann", why="not before Christmas"))
    (entry,) = AuditTrail.of(tmp_path).entries()
    assert (entry.what, entry.who, entry.why) == ("refuse", "Ann", "not before Christmas")
    assert entry.evidence["policy"]["approval"] == "ask"
    again = rerun(source, tmp_path, *changes)
    assert again["cached_stages"] == STAGES
    assert len(asked) == 2, "who has answered is not asked again"


def test_a_working_directory_that_was_moved_has_everything_still(
    first: dict[str, Any], source: Path, workdir: Path, tmp_path: Path
) -> None:
    moved = tmp_path / "moved"
    shutil.copytree(workdir, moved)
    shutil.move(workdir, tmp_path / "elsewhere")
    try:
        again = rerun(source, moved, "registry.enabled=false")
    finally:
        shutil.move(tmp_path / "elsewhere", workdir)
    assert set(again["cached_stages"]) == set(STAGES) - {"refit", "register"}
    assert again["metrics"] == first["metrics"]


def test_what_does_not_need_each_other_is_done_side_by_side_with_the_same_result(
    first: dict[str, Any], source: Path, tmp_path: Path
) -> None:
    again = rerun(source, tmp_path, "engine.workers=2", "threads=2", run_name="two")
    assert again["cached_stages"] == []
    assert [stage["name"] for stage in again["stages"]] == STAGES
    assert [stage["digest"] for stage in again["stages"]][:-2] == [stage["digest"] for stage in first["stages"]][:-2]
    assert again["metrics"] == first["metrics"]
