"""Every benchmark runs on tiny generated data and yields finite figures."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks import bpr, freqd_epoch, graphs, rank_epoch, ranking, spectral  # noqa: E402
from benchmarks.__main__ import NAMES  # noqa: E402
from benchmarks.harness import Epochs, Options, as_json, markdown, measure, measure_limits  # noqa: E402

TINY = Options(threads=1, runs=2, tiny=True)
MODULES = (ranking, graphs, freqd_epoch, rank_epoch, bpr, spectral)


AGREEMENT = {ranking: "implicit's: 1.0000", graphs: "agree: True"}
"""What a remark has to say where a peer computes the same."""


@pytest.fixture(scope="module")
def limits():
    return measure_limits(TINY)


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__.split(".")[-1])
def test_a_benchmark_yields_finite_ratios(module, limits) -> None:
    report = module.run(TINY, limits)
    assert report.figures
    assert all(math.isfinite(figure.value) and figure.value > 0 for figure in report.figures)
    assert all(row.seconds > 0 for row in report.rows)
    assert "generated, tiny" in report.data
    table = markdown(report, limits, TINY)
    assert all(figure.text in table for figure in report.figures)
    assert all(AGREEMENT.get(module, "") in remark for remark in report.remarks)
    assert json.loads(json.dumps(as_json(report, limits, TINY)))["threads"] == 1


def test_the_suite_is_complete() -> None:
    assert {module.__name__ for module in MODULES} == {f"benchmarks.{name}" for name in NAMES}


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
