"""Every benchmark runs on tiny generated data and yields finite figures."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import sparse

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks import (  # noqa: E402
    billion,
    bpr,
    freqd_epoch,
    gpu,
    graphs,
    lightgcn,
    lightgcn_quality,
    rank_epoch,
    ranking,
    reading,
    recbole,
    scale,
    scale_run,
    shards,
    spectral,
    startup,
    time_to_quality,
    whole,
)
from benchmarks.__main__ import NAMES  # noqa: E402
from benchmarks.harness import Epochs, Options, as_json, markdown, measure, measure_limits  # noqa: E402
from benchmarks.processes import run_process  # noqa: E402
from benchmarks.scaled import Scale, counted_pairs, scaled  # noqa: E402
from benchmarks.time_to_quality import Curve  # noqa: E402
from benchmarks.training import BATCH, some_steps  # noqa: E402
from freqd.data import Interactions  # noqa: E402

TINY = Options(threads=1, runs=2, tiny=True)
MODULES = (reading, ranking, graphs, freqd_epoch, rank_epoch, bpr, spectral, lightgcn, time_to_quality, startup, shards)
SLOW = (whole, scale, scale_run, billion)


AGREEMENT = {ranking: "implicit's: 1.0000", graphs: "agree: True"}
"""What a remark has to say where a peer computes the same."""


@pytest.fixture(scope="module")
def limits():
    return measure_limits(TINY)


def name_of(module) -> str:
    return module.__name__.split(".")[-1]


@pytest.mark.parametrize(
    "module", [*MODULES, *(pytest.param(module, marks=pytest.mark.slow) for module in SLOW)], ids=name_of
)
def test_a_benchmark_yields_finite_ratios(module, limits) -> None:
    report = module.run(TINY, limits)
    assert report.figures
    assert all(math.isfinite(figure.value) and figure.value > 0 for figure in report.figures)
    assert all(row.seconds > 0 for row in report.rows)
    assert "generated, tiny" in report.data or module in (startup, scale, scale_run, billion)
    table = markdown(report, limits, TINY)
    assert all(figure.text in table for figure in report.figures)
    assert all(AGREEMENT.get(module, "") in remark for remark in report.remarks)
    assert json.loads(json.dumps(as_json(report, limits, TINY)))["threads"] == 1


def test_the_suite_is_complete() -> None:
    modules = {name_of(module) for module in (*MODULES, *SLOW, recbole)}
    assert modules == {*NAMES, "scale", "scale_run", "billion", "shards"}
    make = (ROOT / "Makefile").read_text()
    assert "-m benchmarks.scale " in make
    assert "-m benchmarks.billion " in make
    assert "-m benchmarks.gpu " in make


def test_recbole_without_its_environment_says_how_to_get_it(monkeypatch, tmp_path: Path, limits) -> None:
    monkeypatch.setattr(recbole, "ENVIRONMENT", tmp_path / "nowhere")
    report = recbole.run(TINY, limits)
    theirs = [row for row in report.rows if row.name.startswith("RecBole")]
    assert len(theirs) == 4
    assert all("not measured" in row.note and "make peers" in row.note for row in theirs)
    assert [figure.text for figure in report.figures] == ["freqd, LightGCN epoch in seconds"]
    assert markdown(report, limits, TINY).count("not measured") == 4
    assert "seconds" not in as_json(report, limits, TINY)["rows"][-1]


def test_lightgcn_to_its_end_without_recbole_shows_ours(monkeypatch, tmp_path: Path, limits) -> None:
    monkeypatch.setattr(recbole, "ENVIRONMENT", tmp_path / "nowhere")
    report = lightgcn_quality.run(TINY, limits)
    (figure,) = report.figures
    assert figure.text == "freqd, NDCG@20 on test"
    assert 0.0 < figure.value < 1.0
    assert "make peers" in report.rows[1].note


@pytest.mark.slow
@pytest.mark.skipif(not recbole.ENVIRONMENT.is_dir(), reason="make peers was not run")
def test_lightgcn_to_its_end_beside_recbole(limits) -> None:
    report = lightgcn_quality.run(TINY, limits)
    ours, theirs, share, _ = report.figures
    assert share.value == pytest.approx(ours.value / theirs.value)
    # The same model, trained alike, on data that it can learn: numbers of users or items mixed up would leave next to nothing.
    assert 0.5 < share.value < 2.0


@pytest.mark.slow
@pytest.mark.skipif(not recbole.ENVIRONMENT.is_dir(), reason="make peers was not run")
def test_recbole_runs_in_its_environment(limits) -> None:
    report = recbole.run(TINY, limits)
    assert len([figure for figure in report.figures if figure.text.startswith("RecBole / freqd")]) == 4
    assert all(row.seconds > 0 and len(row.wall) == TINY.runs for row in report.rows)


@pytest.mark.slow
def test_the_gpu_benchmark_runs_on_the_cpu(tmp_path: Path) -> None:
    file = tmp_path / "found.json"
    command = [sys.executable, "-m", "benchmarks.gpu", "--device", "cpu", "--tiny", "--runs", "1", "--json", str(file)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr
    rows = {row["name"] for row in json.loads(file.read_text())["rows"]}
    for work in ("FreqD epoch, linear projector, D = 32", "LightGCN epoch, d = 4", "full ranking", "end to end"):
        assert any(work in row for row in rows)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_the_gpu_benchmark_says_so_where_there_is_no_gpu() -> None:
    with pytest.raises(SystemExit, match=r"nothing measured: device 'cuda'.*CUDA"):
        gpu.main([])


def test_the_command_pins_its_threads_and_writes_json(tmp_path: Path) -> None:
    file = tmp_path / "found.json"
    environment = {k: v for k, v in os.environ.items() if k != "OMP_NUM_THREADS"}
    command = [sys.executable, "-m", "benchmarks", "--only", "graphs", "--tiny", "--runs", "1", "--json", str(file)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "no result" in done.stdout
    found = json.loads(file.read_text())["graphs"]
    assert found["threads"] == 1
    assert found["limits"]["gemm_flops"] > 0


def test_works_take_turns_and_the_first_round_does_not_count() -> None:
    calls: list[str] = []
    works = {name: lambda name=name: calls.append(name) for name in "ab"}
    found = measure(works, Options(runs=2), few={"b": 1})
    assert calls == ["a", "b", "b", "a", "a"]
    assert [len(found[name].wall) for name in "ab"] == [2, 1]


def test_an_error_inside_a_training_is_raised() -> None:
    def training(lap) -> None:
        lap()
        raise ValueError("diverged")

    epochs = Epochs(training)
    epochs()
    with pytest.raises(ValueError, match="diverged"):
        epochs()


def test_a_process_is_measured_and_a_failure_shows_its_reason() -> None:
    done = run_process([sys.executable, "-c", "x = bytearray(60_000_000); import time; time.sleep(.5); print('done')"])
    assert done.output == "done\n"
    assert done.wall >= 0.5
    assert done.cpu < done.wall
    assert 60e6 < done.peak_bytes < 200e6
    with pytest.raises(RuntimeError, match="no such luck"):
        run_process([sys.executable, "-c", "raise SystemExit('no such luck')"])


def test_judging_stops_the_clock_of_a_curve() -> None:
    values = iter([0.1, 0.5, 0.499])
    curve = Curve(lambda features: time.sleep(0.2) or next(values))
    for _ in range(3):
        time.sleep(0.01)
        curve(None)
    assert 0.03 <= curve.points[-1][0] < 0.2
    assert curve.best == 0.5
    assert curve.until(0.99 * 0.5) == curve.points[1][:2]


def test_some_steps_are_a_known_share_of_an_epoch() -> None:
    train = sparse.csr_array(np.ones((100, 80), np.float32))
    part, factor = some_steps(train, 2)
    assert part.nnz == 2 * BATCH
    assert factor == 4 / 2
    whole_epoch, factor = some_steps(train, 100)
    assert (whole_epoch != train).nnz == 0
    assert factor == 1.0


@pytest.fixture(scope="module")
def small() -> Interactions:
    rng = np.random.default_rng(0)
    keys = rng.choice(60 * 40, 500, replace=False)
    return Interactions((keys // 40).astype(np.int32), (keys % 40).astype(np.int32), 60, 40)


def degrees(side: np.ndarray, n: int) -> np.ndarray:
    return np.sort(np.bincount(side, minlength=n))


def test_copies_keep_the_users_degrees_and_are_one_connected_graph(small: Interactions) -> None:
    found = scaled(small, Scale(5, 5, 10**9), seed=0)
    assert len(found) == 5 * len(small)
    assert len(set(zip(found.user.tolist(), found.item.tolist(), strict=True))) == len(found)
    np.testing.assert_array_equal(degrees(found.user, 300), np.sort(np.tile(np.bincount(small.user, minlength=60), 5)))
    graph = sparse.block_array([[None, found.matrix()], [found.matrix().T, None]])
    nodes = sparse.csgraph.connected_components(graph)[1]
    assert np.bincount(nodes).max() > 0.95 * np.count_nonzero(graph.sum(axis=0))


def test_items_shared_by_several_copies_of_users_get_as_many_times_their_users(small: Interactions) -> None:
    found = scaled(small, Scale(6, 2, 10**9), seed=0)
    assert (found.n_users, found.n_items) == (360, 80)
    expected = np.sort(np.tile(np.bincount(small.item, minlength=40), 2)) * 3
    assert abs(np.bincount(found.item, minlength=80).mean() - expected.mean()) < 1e-9
    np.testing.assert_allclose(degrees(found.item, 80), expected, atol=0.25 * expected.max())


def test_pairs_are_left_out_where_fewer_are_asked_for(small: Interactions) -> None:
    found = scaled(small, Scale(4, 2, 900), seed=0)
    assert len(found) == 900
    assert counted_pairs(found) == sum((np.bincount(side) ** 2).sum() for side in (found.user, found.item))
    again = scaled(small, Scale(4, 2, 900), seed=0)
    np.testing.assert_array_equal(found.user, again.user)
