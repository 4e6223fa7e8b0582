"""A run's models served side by side, for comparison."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import httpx
import numpy as np
import polars as pl
import pytest

from flows.cli.model_options import WhichModel
from flows.cli.serve import Listening, Served, serve
from freqd.config import DataConfig
from freqd.data import Places, ingest
from freqd.data.interactions import Split
from freqd.embeddings import Embeddings, TrainedModel
from freqd.errors import InputError
from freqd.report.run_result import RunResult
from freqd.scorer import ListScorer
from tasks.mlops.model_source import OfRun
from tasks.runtime.workspace import Workspace
from tests.run_results import full_summary

DIMS = {"teacher": 8, "student": 2}


ANY = Listening(port=0)


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory, planted: Callable[..., pl.DataFrame]) -> Path:
    """A working directory with a run whose models have random features."""
    workdir = tmp_path_factory.mktemp("work")
    source = tmp_path_factory.mktemp("data") / "purchases.csv"
    planted().write_csv(source)
    workspace = Workspace(workdir)
    split = ingest(DataConfig(source=(str(source),), split="random"), places=Places(None, workspace.downloads), seed=0)
    refs = {"ingest.split": workspace.store.save(split)}
    for model, dim in DIMS.items():
        rng = np.random.default_rng(dim)
        tables = (rng.standard_normal((n, dim)).astype(np.float32) for n in (split.n_users, split.n_items))
        label = "teacher.teacher" if model == "teacher" else "distill.student"
        refs[label] = workspace.store.save(TrainedModel(Embeddings(*tables)))
    artifacts = {label: ref.model_dump(mode="json") for label, ref in refs.items()}
    summary = {**full_summary(), "run": "monday", "artifacts": artifacts}
    (workspace.runs / "monday").mkdir(parents=True)
    (workspace.runs / "monday" / "summary.json").write_text(json.dumps(summary))
    return workdir


@pytest.fixture
def of_run(work: Path) -> Callable[[str], OfRun]:
    result = RunResult.load(work / "runs" / "monday" / "summary.json")
    return lambda model: OfRun(Workspace(work), result, model)


@pytest.mark.parametrize("model", DIMS)
def test_each_model_answers_with_its_own_features(of_run: Callable[[str], OfRun], model: str) -> None:
    found = of_run(model)
    version, recommender = found.open()
    assert (found.name, version, recommender.features.dim) == ("monday", model, DIMS[model])
    row = 7
    seen = recommender.seen[[row], :].indices
    scores = recommender.features.items @ recommender.features.users[row]
    scores[seen] = -np.inf
    best = [str(recommender.item_ids[int(item)]) for item in np.argsort(-scores)[:5]]
    assert recommender.ask(str(recommender.user_ids[row]), k=5).items == best


def test_a_teacher_that_is_no_table_answers_by_its_own_scores(of_run: Callable[[str], OfRun]) -> None:
    found = of_run("teacher")
    split = found.workspace.store.open(found.result.artifacts["ingest.split"], Split)
    features = found.open()[1].features
    lists = np.tile(np.array([3, 1, 2], np.int32), (split.n_users, 1))
    full = ListScorer(lists, np.tile(np.array([0.5, 0.2, 0.4], np.float32), (split.n_users, 1)), split.n_items)
    ref = found.workspace.store.save(TrainedModel(features, full=full))
    changed = found.result.model_copy(update={"artifacts": {**found.result.artifacts, "teacher.teacher": ref}})
    _, recommender = OfRun(found.workspace, changed, "teacher").open()
    answer = recommender.ask(str(split.user_ids[7]), k=5, exclude_seen=False)
    assert answer.items == [str(split.item_ids[item]) for item in (3, 2, 1)]
    with pytest.raises(ValueError, match="more than its features"):
        recommender.write(found.workspace.root)


def test_what_a_run_does_not_have_is_named(of_run: Callable[[str], OfRun], work: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"run monday has no whole artifact 'svd.svd'"):
        of_run("svd").open()
    shutil.copytree(work, tmp_path / "work")
    copy, result = Workspace(tmp_path / "work"), of_run("teacher").result
    kept = result.artifacts["teacher.teacher"]
    ref = copy.store.ref(kept.kind, kept.digest)
    (Path(ref.uri) / "features.safetensors").write_bytes(b"half")
    artifacts = {**result.artifacts, "teacher.teacher": ref}
    damaged = OfRun(copy, result.model_copy(update={"artifacts": artifacts}), "teacher")
    with pytest.raises(InputError, match=r"no whole artifact 'teacher.teacher'"):
        damaged.open()


def test_the_command_serves_the_teacher(work: Path) -> None:
    words = ["serve", "--from", "last", "--model", "teacher", "--index", "faiss", "--index-recall", "1", "--port", "0"]
    command = [Path(sys.executable).parent / "freqd", *words, "--workdir", str(work)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            first, second = server.stdout.readline(), server.stdout.readline()
            address = re.fullmatch(r"teacher of run monday: (http://127\.0\.0\.1:\d+)\n", first)
            assert address, first
            assert re.match(r"\d+ items, dimension 8: faiss, \d+ of \d+ cells a question, recall at 20 ", second)
            health = httpx.get(f"{address[1]}/health").json()
            assert (health["model"], health["version"], health["alias"]) == ("monday", "teacher", None)
            assert (health["dim"], health["index"]) == (8, "faiss")
            answer = httpx.get(f"{address[1]}/recommend/u0003", params={"k": 4}).json()
            assert (answer["source"], len(answer["items"])) == ("model", 4)
        finally:
            server.send_signal(signal.SIGINT)
        assert server.wait(20) == 0


def test_a_run_and_a_registered_model_are_not_both_served(work: Path) -> None:
    with pytest.raises(InputError, match="--from names a run, --name and --alias a registered model"):
        serve(of_run=Served(from_="monday"), which=WhichModel(name="shop", workdir=work), listening=ANY)
    with pytest.raises(InputError, match="there is no run 'tuesday'"):
        serve(of_run=Served(from_="tuesday"), which=WhichModel(workdir=work), listening=ANY)
    with pytest.raises(InputError, match="--model teacher is a model of a run, and no run is named"):
        serve(of_run=Served(model="teacher"), which=WhichModel(workdir=work), listening=ANY)
