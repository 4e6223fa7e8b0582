"""A comparison on planted data: what it computes, what it does again, what it refuses."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mlflow import MlflowClient

from flows.cli.compare import sizes
from flows.cli.main import app
from flows.cli.methods import BASELINES, resolve, tuned, words_of
from flows.compare import comparison
from flows.pipeline import pipeline
from freqd.config import ComparisonPlan, EvaluateConfig, MethodConfig, RunConfig
from freqd.config.load import build, comparison_names, parse_assignment
from freqd.config.load import comparison as comparison_preset
from freqd.errors import InputError
from freqd.report.comparison import markdown, plain
from freqd.report.comparison_result import ComparisonResult, SeedStatistics
from tasks.experiments.results import replace_folder
from tasks.experiments.statistics import compare_methods, over_seeds

SMALL = (
    "data.split=random", "teacher.kind=als", "teacher.factors=[16]", "teacher.regularization=[1.0]", "teacher.alpha=[10.0]", "teacher.iterations=4",
    "distill.epochs=2", 'baselines.models=["popular", "ease", "bpr"]', "baselines.epochs=4", "baselines.weight_decay=[1e-5]", "spectral.bands=2",
    "evaluate.bootstrap_samples=200",
)  # fmt: skip
METHODS = ("scratch", "rce", "fitnet+freqd")


def config(source: Path, *changes: str) -> RunConfig:
    return build([{"data": {"source": [str(source)]}}, *map(parse_assignment, (*SMALL, *changes))])


def compare(source: Path, workdir: Path, **options: Any) -> dict[str, Any]:
    settings = config(source)
    methods = {name: MethodConfig(objectives=terms) for name, terms in resolve(settings, METHODS).items()}
    name = options.pop("name", "first")
    plan = ComparisonPlan(**{"methods": methods, "dims": (2, 4), "seeds": 2, **options})
    return comparison(plan, config=settings, workdir=str(workdir), name=name)


@pytest.fixture(scope="module")
def first(source: Path, workdir: Path, prefect_server: None) -> dict[str, Any]:
    return compare(source, workdir)


def rows_of(result: dict[str, Any]) -> list[dict[str, Any]]:
    return [row for entry in result["data"] for table in entry["tables"] for row in table["rows"]]


def test_every_method_size_and_seed_is_there(first: dict[str, Any]) -> None:
    (entry,) = first["data"]
    assert [table["dim"] for table in entry["tables"]] == [2, 4]
    for table in entry["tables"]:
        assert [row["method"] for row in table["rows"]] == ["scratch", "svd", "filtered_svd", "rce", "fitnet+freqd"]
        for row in table["rows"]:
            assert row["parameters"] == table["dim"] * (entry["users"] + entry["items"])
            assert row["seeds"] == ([] if row["method"] in ("svd", "filtered_svd") else [0, 1])
    stages = [stage["stage"] for stage in first["stages"]]
    assert [stages.count(name) for name in ("ingest", "graph", "teacher", "spectrum", "svd", "mastery")] == [
        1,
        1,
        1,
        1,
        2,
        1,
    ]
    assert [stages.count(name) for name in ("baselines", "distill", "judge")] == [4, 8, 17]


def test_references_of_any_size_stand_below_the_teacher(first: dict[str, Any]) -> None:
    (entry,) = first["data"]
    assert [row["name"] for row in entry["references"]] == ["popular", "ease"]
    for table in [plain(ComparisonResult.model_validate(first))]:
        for row in entry["references"]:
            shown = next(line for line in table.splitlines() if line.startswith(row["name"]))
            assert f"{row['metrics']['ndcg_at_10']:.4f}" in shown


def test_means_and_intervals_are_those_of_the_seeds(first: dict[str, Any]) -> None:
    for row in rows_of(first):
        measured = row["metrics"]["ndcg_at_10"]
        assert measured["mean"] == pytest.approx(np.mean(measured["values"]))
        if row["method"] in ("svd", "filtered_svd"):
            assert (measured["low"], measured["high"]) == (None, None)
        else:
            half = 12.7062047 * np.std(measured["values"], ddof=1) / np.sqrt(2)  # t of 1 degree of freedom, 97.5 %
            assert measured["high"] - measured["mean"] == pytest.approx(half, rel=1e-6, abs=1e-12)
            assert measured["mean"] - measured["low"] == pytest.approx(half, rel=1e-6, abs=1e-12)


def test_gap_and_test_follow_from_the_means(first: dict[str, Any]) -> None:
    (entry,) = first["data"]
    teacher = entry["teacher"]["metrics"]["ndcg_at_10"]["mean"]
    for table in entry["tables"]:
        alone = table["rows"][0]["metrics"]["ndcg_at_10"]["mean"]
        assert table["rows"][0]["gap_closed"] is None
        for row in table["rows"][1:]:
            mean = row["metrics"]["ndcg_at_10"]["mean"]
            assert row["minus_against"]["mean"] == pytest.approx(mean - alone, abs=1e-6)
            assert row["minus_against"]["p_holm"] >= row["minus_against"]["p_value"]
            assert row["gap_closed"]["value"] == pytest.approx((mean - alone) / (teacher - alone), abs=1e-4)


def test_files_say_what_the_result_says(first: dict[str, Any], workdir: Path) -> None:
    folder = workdir / "comparisons" / "first"
    assert {p.name for p in folder.iterdir()} == {
        "comparison.json", "comparison.csv", "comparison.md", "mastery-purchases.png", "methods-purchases.png", "size-purchases.png",
    }  # fmt: skip
    kept = json.loads((folder / "comparison.json").read_text())
    assert kept == first
    assert (folder / "comparison.md").read_text() == markdown(ComparisonResult.model_validate(kept))
    lines = list(csv.DictReader((folder / "comparison.csv").open()))
    assert [line["method"] for line in lines] == ["teacher", *(row["method"] for row in rows_of(kept))]
    for line, row in zip(lines[1:], rows_of(kept), strict=True):
        assert float(line["ndcg_at_10"]) == row["metrics"]["ndcg_at_10"]["mean"]
        low = row["metrics"]["recall_at_10"]["low"]
        assert line["recall_at_10_low"] == ("" if low is None else str(low))
    shown = plain(ComparisonResult.model_validate(kept))
    for row in rows_of(kept):
        assert f"{row['metrics']['ndcg_at_10']['mean']:.4f}" in shown


def test_mlflow_has_a_parent_and_a_child_a_student(first: dict[str, Any]) -> None:
    client = MlflowClient()
    parent = client.get_run(first["mlflow"]["run_id"])
    assert parent.info.status == "FINISHED"
    assert parent.data.params["dims"] == "2, 4"
    assert parent.inputs.dataset_inputs[0].dataset.name == "purchases"
    found = client.search_runs(
        [parent.info.experiment_id],
        f"tags.mlflow.parentRunId = '{parent.info.run_id}' and tags.method = 'rce' and tags.dim = '4'",
    )
    assert {run.data.tags["seed"] for run in found} == {"0", "1"}
    row = next(row for row in rows_of(first) if row["method"] == "rce" and row["dim"] == 4)
    for run in found:
        seed = run.data.tags["seed"]
        assert run.info.status == "FINISHED"
        assert run.info.run_name == f"purchases rce 4 seed {seed}"
        assert run.data.tags["data"] == "purchases"
        assert run.data.metrics["test_ndcg_at_10"] == row["metrics"]["ndcg_at_10"]["values"][int(seed)]
        assert run.data.params["seed"] == seed
        assert "stage_seconds" in run.data.metrics


def test_again_is_all_cached_and_equal(first: dict[str, Any], source: Path, workdir: Path) -> None:
    again = compare(source, workdir, name="again")
    assert all(stage["cached"] for stage in again["stages"])
    assert not any(
        stage["cached"] for stage in first["stages"] if stage["stage"] != "judge"
    )  # equal students share one
    assert again["data"] == first["data"]


def test_a_run_finds_the_students_and_agrees(first: dict[str, Any], source: Path, workdir: Path) -> None:
    settings = config(source, "distill.dim=4", 'distill.objectives=[{name="rce"}]', "registry.enabled=false")
    run = pipeline(settings, workdir=str(workdir), run_name="run")
    assert set(run["cached_stages"]) >= {"ingest", "graph", "teacher", "baselines", "svd", "spectrum", "distill"}
    rows = {row["method"]: row for row in first["data"][0]["tables"][1]["rows"]}
    for model, method in (("scratch", "scratch"), ("svd", "svd"), ("student", "rce")):
        assert run["metrics"][model]["ndcg_at_10"] == rows[method]["metrics"]["ndcg_at_10"]["values"][0]


def test_one_seed_has_no_interval(source: Path, workdir: Path, first: dict[str, Any]) -> None:
    one = compare(source, workdir, seeds=1, dims=(2,), name="one")
    assert all(stage["cached"] for stage in one["stages"] if stage["stage"] != "mastery")
    for row in rows_of(one):
        assert row["metrics"]["ndcg_at_10"]["low"] is None
    assert "not known" in plain(ComparisonResult.model_validate(one))


# -- its parts ------------------------------------------------------------------------------------------------------


def test_the_t_interval_by_hand() -> None:
    found = over_seeds([1.0, 2.0, 3.0], 0.95)
    assert found.mean == 2.0
    assert found.high == pytest.approx(2.0 + 4.30265273 / np.sqrt(3))
    assert found.low == pytest.approx(2.0 - 4.30265273 / np.sqrt(3))
    assert over_seeds([0.5], 0.95) == SeedStatistics(mean=0.5, low=None, high=None, values=(0.5,))


def test_holm_counts_the_methods_and_not_scratch() -> None:
    rng = np.random.default_rng(0)
    alone = rng.random(300)
    values = {"scratch": alone, "equal": alone + rng.normal(0, 0.05, 300), "better": alone + rng.normal(0.1, 0.05, 300)}
    found = compare_methods(values, alone + 0.1, EvaluateConfig(bootstrap_samples=500), seed=0)
    assert list(found) == ["scratch", "equal", "better"]
    assert found["scratch"] == (None, None)
    (closed, better), (_, equal) = found["better"], found["equal"]
    assert better.p_holm == pytest.approx(2 * better.p_value)
    assert better.p_holm < 0.05
    assert closed.value == pytest.approx(1.0, abs=0.1)
    assert equal.p_holm > 0.05


def test_methods_can_be_tested_against_any_of_them() -> None:
    rng = np.random.default_rng(0)
    alone = rng.random(400)
    values = {"scratch": alone, "better": alone + rng.normal(0.05, 0.1, 400)}
    values["equal"] = values["better"] + rng.normal(0.0, 0.1, 400)
    found = compare_methods(values, alone + 0.1, EvaluateConfig(bootstrap_samples=500), seed=0, against="better")
    (better, untested), (closed, scratch), (_, equal) = (found[name] for name in ("better", "scratch", "equal"))
    assert untested is None
    assert better.value == pytest.approx(np.mean(values["better"] - alone) / 0.1)
    assert closed is None
    assert scratch.mean == pytest.approx(np.mean(alone - values["better"]))
    assert scratch.p_holm < 0.01 < equal.p_holm


def test_methods_keep_the_settings_weights_and_order() -> None:
    settings = build([])
    found = resolve(settings, ["rce+freqd", "freqd+rce", "fitnet", "svd", "scratch"])
    assert list(found) == ["rce+freqd", "fitnet"]
    assert found["rce+freqd"][:1] == settings.distill.objectives
    assert found["fitnet"][0].weight == 0.5
    assert list(resolve(settings, None)) == ["rce"]


def test_the_student_alone_is_a_method_without_objectives() -> None:
    assert resolve(build([]), ["alone", "rce"])["alone"] == ()
    with pytest.raises(InputError, match="alone"):
        resolve(build([]), ["alone+rce"])


def test_a_grid_is_all_pairs_of_step_size_and_l2_and_the_methods_own_where_there_is_none() -> None:
    method = MethodConfig(objectives=(), learning_rate=0.5)

    def pairs(**grid: Any) -> list[tuple[float | None, float | None]]:
        plan = ComparisonPlan(methods={"alone": method}, **grid)
        return [(each.learning_rate, each.weight_decay) for each in plan.variants(method)]

    assert pairs() == [(0.5, None)]
    assert pairs(weight_decays=(0.0, 1e-2)) == [(0.5, 0.0), (0.5, 1e-2)]
    assert pairs(learning_rates=(0.1, 0.2), weight_decays=(0.0, 1e-2)) == [
        (0.1, 0.0),
        (0.1, 1e-2),
        (0.2, 0.0),
        (0.2, 1e-2),
    ]


@pytest.mark.parametrize("name", comparison_names())
def test_every_preset_of_comparisons_is_valid(name: str) -> None:
    preset = comparison_preset(name)
    for case in preset.cases.values():
        settings = build([preset.settings, case.settings])
        found = resolve(settings, preset.methods)
        assert {preset.against} <= {*BASELINES, *found}
        grid = {"learning_rates": preset.learning_rates, "weight_decays": preset.weight_decays}
        plan = ComparisonPlan(methods={m: MethodConfig(objectives=terms) for m, terms in found.items()}, **grid)
        assert all(len(plan.variants(method)) <= 4 for method in plan.methods.values())


def test_a_preset_runs_its_cases_and_what_the_line_says_wins(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    started: list[tuple[RunConfig, ComparisonPlan, str]] = []

    def start(settings: RunConfig, workdir: object, flow: str, *, plan: ComparisonPlan, name: str) -> dict[str, Any]:
        started.append((settings, plan, name))
        return {}

    monkeypatch.setattr("flows.cli.compare.start", start)
    monkeypatch.setattr("flows.cli.compare._show", lambda *_: None)
    monkeypatch.setattr(ComparisonResult, "model_validate", lambda _: None)
    words = ["compare", "--preset", "freqd", "--case", "gowalla,citeulike-given", "--set", "distill.dim=7"]
    assert app(words, exit_on_error=False, print_error=False, result_action="return_value") == 0
    (gowalla, plan, name), (citeulike, other, _) = started
    assert (name, gowalla.data.source, citeulike.data.source) == ("freqd-gowalla", ("gowalla",), ("citeulike",))
    assert (plan.seeds, other.seeds, plan.dims, plan.against) == (3, 5, (7,), "fitnet")
    assert (gowalla.distill.epochs, citeulike.distill.epochs, gowalla.teacher.kind) == (40, 120, "bpr")
    assert plan.methods["alone"].objectives == ()
    assert len(plan.variants(plan.methods["freqd"])) == 4
    words += ["--methods", "freqd,alone", "--against", "alone", "--seeds", "1", "--learning-rates", "1e-3"]
    assert app(words, exit_on_error=False, print_error=False, result_action="return_value") == 0
    _, plan, _ = started[2]
    assert (list(plan.methods), plan.against, plan.seeds) == (["freqd", "alone"], "alone", 1)
    assert (plan.learning_rates, len(plan.weight_decays)) == ((1e-3,), 2)


def test_every_method_gets_the_best_of_the_grid_on_validation(
    source: Path, workdir: Path, first: dict[str, Any]
) -> None:
    methods = {"alone": MethodConfig(objectives=())}
    found = compare(
        source, workdir, name="grid", methods=methods, dims=(2,), learning_rates=(1e-6, 2e-2), weight_decays=(0.0,)
    )
    row = rows_of(found)[-1]
    assert (row["method"], row["learning_rate"], row["seeds"]) == ("alone", 2e-2, [0, 1])
    trained = [stage for stage in found["stages"] if stage["stage"] == "distill"]
    assert [stage["cached"] for stage in trained] == [False, False, True, False]


def test_brackets_change_weight_and_options_of_a_method_and_name_it() -> None:
    words = words_of(["rce,rce[filtered=false]+freqd[weight=0.5,distance='cosine']", "rce"])
    assert words == ["rce", "rce[filtered=false]+freqd[weight=0.5,distance='cosine']"]
    found = resolve(build([]), words)
    assert list(found) == words
    rce, freqd = found[words[1]]
    assert (freqd.weight, freqd.options, rce.options) == (0.5, {"distance": "cosine"}, {"filtered": False})
    assert rce.weight == found["rce"][0].weight
    assert found["rce"][0].options == {}


@pytest.mark.parametrize(
    ("method", "named"), [("rce[filtered", "read"), ("rce[filtred=false]", "filtred"), ("rce[weight=-1]", "weight")]
)
def test_brackets_that_mean_nothing_are_refused(method: str, named: str) -> None:
    with pytest.raises(InputError, match=named):
        resolve(build([]), [method])


def test_tuned_methods_keep_their_own_step_size(tmp_path: Path) -> None:
    one = tmp_path / "one.toml"
    one.write_text("[distill]\nlearning_rate = 0.02\nweight_decay = 0.001\n[[distill.objectives]]\nname = 'cd'\n")
    method = tuned([one])["cd (tuned)"]
    assert (method.learning_rate, method.weight_decay) == (0.02, 0.001)
    assert [term.name for term in method.objectives] == ["cd"]
    with pytest.raises(InputError, match="second file of 'cd"):
        tuned([one, one])


@pytest.mark.parametrize(
    ("method", "named"), [("magic", "magic"), ("rce+magic", "magic"), ("svd+rce", "svd"), ("rce+rce", "twice")]
)
def test_unknown_methods_are_refused_with_what_exists(method: str, named: str) -> None:
    with pytest.raises(InputError, match=named) as caught:
        resolve(build([]), [method])
    if named != "twice":
        assert "scratch, svd" in caught.value.remedy
        assert "rce" in caught.value.remedy


@pytest.mark.parametrize("dims", [["0"], ["many"], ["8", "5000"], []])
def test_wrong_sizes_are_refused(dims: list[str]) -> None:
    with pytest.raises(InputError, match="student-dims"):
        sizes(build([]), dims)


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--data", "grocry", "--methods", "rce"], "grocery"),
        (["--data", "grocery", "--methods", "rce,magic"], "magic"),
        (["--data", "grocery", "--seeds", "0"], "seeds"),
        (["--data", "grocery", "--learning-rates", "fast"], "learning-rates"),
        (["--preset", "freqd", "--case", "nothing"], "nothing"),
        (["--preset", "quick", "--case", "citeulike-given"], "case"),
        (["--data", "grocery", "--methods", "rce", "--against", "cd"], "against"),
        (["--data", "grocery", "--name", "../mine"], "name"),
    ],
)
def test_wrong_input_starts_nothing(words: list[str], named: str, tmp_path: Path) -> None:
    command = ["compare", *words, "--workdir", str(tmp_path / "work")]
    with pytest.raises(InputError, match=named):
        app(command, exit_on_error=False, print_error=False, result_action="return_value")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_replaced_whole(tmp_path: Path) -> None:
    folder = tmp_path / "comparisons" / "mine"
    replace_folder(folder, {"old.md": "old"})
    replace_folder(folder, {"new.md": "new", "image.png": b"\x89"})
    assert {p.name for p in folder.iterdir()} == {"new.md", "image.png"}
    assert list(folder.parent.iterdir()) == [folder]


def test_students_in_processes_beside_each_other_are_the_same(
    first: dict[str, Any], source: Path, tmp_path: Path, prefect_server: None
) -> None:
    settings = config(source, "engine.workers=2", "threads=2")
    plan = ComparisonPlan(methods={"rce": MethodConfig(objectives=settings.distill.objectives)}, dims=(2,), seeds=2)
    again = comparison(plan, config=settings, workdir=str(tmp_path), name="first")
    assert not any(stage["cached"] for stage in again["stages"])
    before = {
        (stage["stage"], stage["method"], stage["dim"], stage["seed"]): stage["digest"] for stage in first["stages"]
    }
    for stage in again["stages"]:
        if stage["stage"] != "mastery":  # of all students together
            assert stage["digest"] == before[stage["stage"], stage["method"], stage["dim"], stage["seed"]]
