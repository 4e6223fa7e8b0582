"""A search on planted data: what it tries, what it does not do again, when it stops, what it leaves and refuses."""

from __future__ import annotations

import csv
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import polars as pl
import pytest
from mlflow import MlflowClient

from flows.cli.compare import resolve
from flows.cli.main import app
from flows.cli.tune import parse_budget
from flows.pipeline import pipeline
from flows.tune import tuning
from freqd.config import RunConfig, SearchPlan
from freqd.config.load import build, parse_assignment, read_toml
from freqd.distill import check_objectives
from freqd.errors import DivergedError, InputError
from freqd.report.tuning import markdown, plain
from freqd.report.tuning_result import TuningResult
from tasks.experiments import tune
from tasks.experiments.search import Search, ask, before, finished, goes_on, hold, new_search, open_study, spent
from tasks.experiments.tune import OutOfTimeError, Watcher

SMALL = (
    "data.split=random", "teacher.kind=als", "teacher.factors=[16]", "teacher.regularization=[1.0]", "teacher.alpha=[10.0]", "teacher.iterations=4",
    "distill.dim=4", "distill.epochs=4", "distill.eval_every=1", "spectral.bands=2", "baselines.epochs=2",
    "baselines.weight_decay=[1e-5]", "registry.enabled=false",
)  # fmt: skip


def config(source: Path, *changes: str) -> RunConfig:
    return build([{"data": {"source": [str(source)]}}, *map(parse_assignment, (*SMALL, *changes))])


def search(settings: RunConfig, workdir: Path, **options: Any) -> dict[str, Any]:
    ((method, objectives),) = resolve(settings, ["freqd+rce"]).items()
    name = options.pop("name", "mine")
    plan = SearchPlan(**{"trials": 3, "budget_seconds": 600.0, **options, "method": method, "objectives": objectives})
    result: dict[str, Any] = tuning(plan, config=settings, workdir=str(workdir), name=name)
    return result


@pytest.fixture(scope="module")
def first(source: Path, workdir: Path, prefect_server: None) -> dict[str, Any]:
    return search(config(source), workdir)


def tried(result: dict[str, Any]) -> list[tuple[Any, ...]]:
    return [(trial["end"], trial["value"], trial["settings"]) for trial in result["trials"]]


def children(result: dict[str, Any]) -> list[Any]:
    run_id, experiment = result["mlflow"]["run_id"], result["mlflow"]["experiment_id"]
    found = MlflowClient().search_runs([experiment], f"tags.mlflow.parentRunId = '{run_id}' and tags.trial != ''")
    return sorted(found, key=lambda run: int(run.data.tags["trial"]))


def test_the_first_trial_has_the_settings_as_they_are(first: dict[str, Any], source: Path) -> None:
    given = config(source).distill
    settings = first["trials"][0]["settings"]
    assert settings["distill.learning_rate"] == given.learning_rate
    assert settings["distill.weight_decay"] == given.weight_decay == 0.0
    assert settings["freqd.weight"] == 0.5
    assert settings["rce.top"] == 50
    assert settings == {dimension["name"]: dimension["own"] for dimension in first["space"]}


def test_the_best_is_the_best_completed_and_the_file_holds_it(
    first: dict[str, Any], source: Path, workdir: Path
) -> None:
    best = first["trials"][first["best"] - 1]
    assert best["value"] == max(trial["value"] for trial in first["trials"] if trial["end"] == "done")
    tuned = build([read_toml(workdir / "tuned" / "mine" / "tuned.toml")])
    assert tuned.model_dump(mode="json") == first["config"]
    found = {term.name: term for term in tuned.distill.objectives}
    for name, value in best["settings"].items():
        owner, option = name.split(".")
        if owner == "distill":
            assert getattr(tuned.distill, option) == value
        elif option == "weight":
            assert found[owner].weight == value
        elif value != first["trials"][0]["settings"][name]:
            assert found[owner].options[option] == value
    fixed = {"distill": {"objectives", "learning_rate", "weight_decay"}}
    given = config(source)
    assert tuned.model_dump(exclude={"distill"}) == given.model_dump(exclude={"distill"})
    assert tuned.distill.model_dump(exclude=fixed["distill"]) == given.distill.model_dump(exclude=fixed["distill"])


def test_a_run_with_the_file_has_its_student_already(first: dict[str, Any], workdir: Path) -> None:
    settings = build([read_toml(workdir / "tuned" / "mine" / "tuned.toml")])
    run = pipeline(settings, workdir=str(workdir), run_name="run")
    assert set(run["cached_stages"]) >= {"ingest", "graph", "teacher", "spectrum", "distill"}


def test_files_and_tables_say_what_the_result_says(first: dict[str, Any], workdir: Path) -> None:
    folder = workdir / "tuned" / "mine"
    lines = list(csv.DictReader((folder / "trials.csv").open()))
    assert [float(line["value"]) for line in lines] == [trial["value"] for trial in first["trials"]]
    assert [float(line["rce.weight"]) for line in lines] == [t["settings"]["rce.weight"] for t in first["trials"]]
    assert (folder / "best-so-far.png").read_bytes().startswith(b"\x89PNG")
    best = first["trials"][first["best"] - 1]
    result = TuningResult.model_validate(first)
    for text in (plain(result), markdown(result)):
        assert f"{best['value']:.4f}" in text
        assert "3 of 3 trials" in text


def test_mlflow_has_a_parent_and_a_child_a_trial_with_its_curve(first: dict[str, Any]) -> None:
    client = MlflowClient()
    parent = client.get_run(first["mlflow"]["run_id"])
    assert parent.info.status == "FINISHED"
    assert parent.data.metrics["best_valid_ndcg_at_10"] == first["trials"][first["best"] - 1]["value"]
    assert {file.path for file in client.list_artifacts(parent.info.run_id)} == {"tuned.toml", "trials.csv", "figures"}
    found = children(first)
    assert [run.info.run_name for run in found] == ["trial 1", "trial 2", "trial 3"]
    for run, trial in zip(found, first["trials"], strict=True):
        assert run.info.status == "FINISHED"
        assert run.data.tags["freqd.trial_end"] == trial["end"] == "done"
        assert run.data.metrics["best_valid_ndcg_at_10"] == trial["value"]
        assert float(run.data.params["rce.temperature"]) == trial["settings"]["rce.temperature"]
        curve = client.get_metric_history(run.info.run_id, "valid_ndcg_at_10")
        assert {point.step for point in curve} == set(range(5))


def test_the_same_command_does_nothing_again_and_more_trials_go_on(
    first: dict[str, Any], source: Path, workdir: Path, tmp_path: Path
) -> None:
    again = search(config(source), workdir)
    assert again["trials"] == first["trials"]
    assert len(children(again)) == 3  # they hang below the latest run
    assert children(first) == []
    more = search(config(source), workdir, trials=5)
    assert more["trials"][:3] == first["trials"]
    whole = search(config(source), tmp_path, trials=5)
    assert tried(more) == tried(whole)


def test_killed_in_the_middle_of_a_trial_it_ends_as_if_it_had_not_been(
    source: Path, tmp_path: Path, prefect_server: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = search(config(source), tmp_path / "whole", trials=3)
    watch = Watcher.__call__

    def dying(self: Any, epoch: int, score: float) -> None:
        watch(self, epoch, score)
        if len(self.others.curves) == 1 and epoch == 2:
            raise SystemError("killed")

    monkeypatch.setattr(Watcher, "__call__", dying)
    with pytest.raises(SystemError, match="killed"):
        search(config(source), tmp_path / "part", trials=3)
    monkeypatch.undo()
    resumed = search(config(source), tmp_path / "part", trials=3)
    assert tried(resumed) == tried(whole)


AT_WORK = """
import sys, time
from tasks.experiments.search import Search, ask, hold, open_study
mine = Search.model_validate_json(sys.argv[1])
with hold(mine):
    ask(open_study(mine), mine)
    print("at work", flush=True)
    time.sleep(600)
"""


def test_the_trial_of_another_process_is_taken_up_only_when_that_is_dead(
    source: Path, tmp_path: Path, prefect_server: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Search] = []
    monkeypatch.setattr("flows.tune.new_search", lambda *given: made.append(new_search(*given)) or made[-1])
    before = search(config(source), tmp_path, trials=1)
    study, running = open_study(made[0]), (optuna.trial.TrialState.RUNNING,)
    command = [sys.executable, "-c", AT_WORK, made[0].model_copy(update={"trials": 2}).model_dump_json()]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        try:
            assert other.stdout.readline() == "at work\n"
            (trial,) = study.get_trials(states=running)
            with pytest.raises(InputError, match="another search is at work"):
                search(config(source), tmp_path, trials=2)
            assert study.get_trials(states=running) == [trial], "it is neither failed nor drawn again"
        finally:
            other.kill()
    resumed = search(config(source), tmp_path, trials=2)
    assert resumed["trials"][:1] == before["trials"]
    assert [entry["end"] for entry in resumed["trials"]] == ["done", "done"]
    assert finished(study)[1].params == trial.params, "what the dead process had begun"
    assert study.get_trials(states=running) == []


def test_other_settings_are_another_search(first: dict[str, Any], source: Path, workdir: Path) -> None:
    other = search(config(source, "distill.epochs=3"), workdir, trials=1)
    assert [trial["number"] for trial in other["trials"]] == [1]
    assert other["trials"][0]["epochs"] == 3


def test_the_budget_stops_it_after_the_first_trial_at_the_earliest(
    first: dict[str, Any], source: Path, tmp_path: Path
) -> None:
    found = search(config(source), tmp_path, budget_seconds=1e-3, trials=5)
    assert [trial["end"] for trial in found["trials"]] == ["done"]
    assert found["seconds"] >= found["budget_seconds"]
    assert "1 of 5 trials" in plain(TuningResult.model_validate(found))


def test_the_test_part_does_not_matter(
    planted: Callable[..., pl.DataFrame], tmp_path: Path, prefect_server: None
) -> None:
    rows = planted().sample(fraction=1.0, shuffle=True, seed=1)
    parts = {"train": rows[:3600], "valid": rows[3600:4200], "test": rows[4200:], "other": rows[4200:4300]}
    for name, part in parts.items():
        part.write_csv(tmp_path / f"{name}.csv")
    found = []
    for test in ("test", "other"):
        files = {"train": "train", "valid": "valid", "test": test}
        layers = [{"data": {part: str(tmp_path / f"{file}.csv") for part, file in files.items()}}]
        settings = build([*layers, *map(parse_assignment, (*SMALL, "data.split=given"))])
        found.append(search(settings, tmp_path / "work", name=test))
    assert found[0]["folder"] != found[1]["folder"]
    assert tried(found[0]) == tried(found[1])


def test_trials_that_diverge_or_are_not_allowed_are_trials_too(
    source: Path, tmp_path: Path, prefect_server: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, teach = config(source).distill.learning_rate, tune.teach

    def diverging(at: Any, inputs: Any, settings: Any, *rest: Any, **watched: Any) -> Any:
        if settings.learning_rate != own:
            raise DivergedError("training diverged", "lower it")
        return teach(at, inputs, settings, *rest, **watched)

    def refusing(objectives: Any) -> Any:
        asked.append(objectives)
        if len(asked) == 3:
            raise InputError("these do not go together")
        return check_objectives(objectives)

    asked: list[Any] = []
    monkeypatch.setattr(tune, "teach", diverging)
    monkeypatch.setattr(tune, "check_objectives", refusing)
    found = search(config(source), tmp_path)
    assert [trial["end"] for trial in found["trials"]] == ["done", "diverged", "not allowed"]
    assert found["best"] == 1
    assert {run.info.status for run in children(found)} == {"FINISHED"}
    assert "1 diverged, 1 not allowed" in plain(TuningResult.model_validate(found))


# -- its parts ------------------------------------------------------------------------------------------------------


def small_search(folder: Path, *, budget: float = 100.0) -> Search:
    distill = config(Path("none.csv"), "distill.eval_every=2").distill
    return Search(folder=folder, study="s", method="rce", config=distill, seed=0, trials=20, budget=budget)


def ended(search: Search, curve: list[float], seconds: float = 1.0) -> str:
    """Bring a learning curve to the study, as a training would, and say how the trial ended."""
    study = open_study(search)
    (drawn,) = ask(study, search)
    watcher = Watcher(search, before(study))
    end = "done"
    try:
        for step, score in enumerate(curve):
            drawn.report(score, step * search.config.eval_every)
            watcher(step * search.config.eval_every, score)
    except (optuna.TrialPruned, OutOfTimeError) as error:
        end = {"TrialPruned": f"pruned at {step}", "OutOfTimeError": f"cut at {step}"}[type(error).__name__]
    drawn.set_user_attr("seconds", seconds)
    state = optuna.trial.TrialState.COMPLETE if end == "done" else optuna.trial.TrialState.PRUNED
    study.tell(drawn, max(curve) if end == "done" else None, state=state)
    return end


def test_what_falls_behind_is_pruned_but_not_at_once(tmp_path: Path) -> None:
    mine = small_search(tmp_path)
    good, bad = [0.1, 0.2, 0.3, 0.4, 0.5], [0.1, 0.1, 0.1, 0.1, 0.1]
    assert [ended(mine, curve) for curve in (bad, good, good, good, good)] == ["done"] * 5
    assert ended(mine, bad) == "pruned at 3"
    assert ended(mine, good) == "done"


def test_a_trial_is_cut_when_the_time_is_over_but_not_the_only_one(tmp_path: Path) -> None:
    mine = small_search(tmp_path, budget=5.0)
    assert ended(mine, [0.1, 0.2], seconds=10.0) == "done"
    assert ended(mine, [0.1, 0.2]) == "cut at 0"
    assert spent(open_study(mine)) == 11.0
    assert not goes_on(mine)
    assert goes_on(mine.model_copy(update={"budget": 12.0}))


def test_a_killed_trial_is_taken_up_with_its_settings_and_its_seconds(tmp_path: Path) -> None:
    mine = small_search(tmp_path)
    ended(mine, [0.1])
    (killed,) = ask(open_study(mine), mine)
    begun = Watcher(mine, before(open_study(mine)))
    begun.begin(tmp_path)
    begun._earlier = 7.0
    begun(0, 0.1)
    (taken,) = ask(open_study(mine), mine)
    assert taken.params == killed.params
    again = Watcher(mine, before(open_study(mine)))
    again.begin(tmp_path)
    assert again.seconds >= 7.0
    assert len(finished(open_study(mine))) == 1


def test_trials_of_a_round_are_drawn_together(tmp_path: Path) -> None:
    one, other = small_search(tmp_path / "one"), small_search(tmp_path / "other")
    for mine in (one, other):
        mine.folder.mkdir()
    assert len(ask(open_study(one), one, 3)) == 3
    killed = [trial.params for trial in ask(open_study(one), one, 3)]
    drawn = [trial.params for trial in ask(open_study(other), other, 3)]
    assert killed == drawn, "those that were killed come first, in their order"
    assert drawn[0] == {dimension.name: dimension.own for dimension in one.space}
    assert len({tuple(params.values()) for params in drawn}) == 3
    few = one.model_copy(update={"trials": 2})
    assert len(ask(open_study(few), few, 3)) == 2, "no more than are left"


def test_rounds_in_processes_beside_each_other(source: Path, tmp_path: Path, prefect_server: None) -> None:
    found = search(config(source, "engine.workers=2"), tmp_path / "two", trials=3)
    again = search(config(source, "engine.workers=2"), tmp_path / "again", trials=3)
    assert [trial["end"] for trial in found["trials"]] == ["done"] * 3
    assert tried(found) == tried(again), "whichever was done first"


def test_only_one_process_is_at_work_on_a_search(tmp_path: Path) -> None:
    mine = small_search(tmp_path / "tuned")
    with hold(mine), pytest.raises(InputError, match="another search"), hold(mine):
        pass
    with pytest.raises(OSError, match="of the body"), hold(mine):
        raise OSError("of the body")
    with hold(mine):
        pass


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90.0), ("20m", 1200.0), ("2h", 7200.0), ("1.5m", 90.0)])
def test_budgets(text: str, seconds: float) -> None:
    assert parse_budget(text) == seconds


@pytest.mark.parametrize("text", ["", "20", "m", "-5m", "0s", "5 minutes", "1d"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="--budget"):
        parse_budget(text)


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--data", "grocry", "--method", "rce"], "grocery"),
        (["--data", "grocery", "--method", "magic"], "magic"),
        (["--data", "grocery", "--method", "scratch"], "no objective"),
        (["--data", "grocery", "--method", "hetcomp"], "trajectory_points"),
        (["--data", "grocery", "--method", "rce", "--trials", "0"], "trials"),
        (["--data", "grocery", "--method", "rce", "--budget", "soon"], "soon"),
        (["--data", "grocery", "--method", "rce", "--name", "../mine"], "name"),
    ],
)
def test_wrong_input_starts_nothing(words: list[str], named: str, tmp_path: Path) -> None:
    command = ["tune", *words, "--workdir", str(tmp_path / "work")]
    with pytest.raises(InputError, match=named):
        app(command, exit_on_error=False, print_error=False, result_action="return_value")
    assert list(tmp_path.iterdir()) == []
