"""Results as the runs write them: a full one, and others that differ in what matters."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from freqd.report.run.figures import all_figures
from freqd.report.run_result import RunResult
from tests.run_results import full_summary, metrics


@pytest.fixture
def full() -> dict[str, Any]:
    return full_summary()


@pytest.fixture(scope="session")
def figures() -> dict[str, bytes]:
    """The figures of the full summary, drawn once."""
    return all_figures(RunResult.model_validate(full_summary()))


@pytest.fixture
def no_gain() -> dict[str, Any]:
    """The teacher is below the no-distillation baseline."""
    summary = full_summary()
    summary["metrics"]["teacher"] = metrics(0.0421, 0.0507, 0.2)
    summary["gap_closed"] = {
        "value": None,
        "low": None,
        "high": None,
        "confidence": 0.95,
        "reason": "teacher 0.0421, scratch 0.0436",
    }
    summary["intervals"]["student_minus_teacher"] = {"mean": 0.008, "low": 0.006, "high": 0.01, "p_value": 0.0}
    summary["gate"] = {
        "promoted": False, "verdict": "not promoted", "champion": "2", "checks": [], "difference": None,
        "reasons": ["the champion, version 2, is not beaten: the interval contains zero"],
    }  # fmt: skip
    summary["model"]["aliases"] = ["challenger"]
    summary["advice"] = []
    return summary


@pytest.fixture
def above_teacher() -> dict[str, Any]:
    """The student is significantly above its teacher."""
    summary = full_summary()
    summary["metrics"]["student"] = metrics(0.0545, 0.0655, 0.25)
    summary["gap_closed"] = {"value": 1.397, "low": 1.12, "high": 1.71, "confidence": 0.95, "reason": ""}
    summary["intervals"]["student_minus_teacher"] = {"mean": 0.0031, "low": 0.0011, "high": 0.0052, "p_value": 0.002}
    return summary


HOSTILE = '<script>alert("x")</script>$\\frac{1}$<img src=http://evil.example/x.png onerror=alert(1)>'
CHOICES = {"form", "method", "protocol", "side", "split"}
"""Fields that hold one of a few words; anything else is refused when the summary is read."""


@pytest.fixture
def hostile() -> dict[str, Any]:
    """Every text of the summary is an attack, keys and choices aside."""

    def poison(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: entry if key in CHOICES else poison(entry) for key, entry in value.items()}
        if isinstance(value, list):
            return [poison(entry) for entry in value]
        return HOSTILE if isinstance(value, str) else value

    summary: dict[str, Any] = poison(full_summary())
    return summary


@pytest.fixture
def long_names() -> dict[str, Any]:
    """Names that no layout expects."""
    summary = full_summary()
    summary["run"] = "a-very-long-run-name-" * 12
    summary["data"]["name"] = "purchases_of_all_branches_in_northern_europe_" * 5
    summary["model"]["name"] = "freqd-" + "x" * 200
    for stage in summary["stages"]:
        stage["name"] *= 9
    for groups in summary["groups"].values():
        for row in groups["activity"]:
            row["group"] *= 6
    return summary


def changed(**parts: Any) -> dict[str, Any]:
    return {**full_summary(), **parts}


def only(part: str, *models: str) -> dict[str, Any]:
    return {name: entry for name, entry in full_summary()[part].items() if name in models}


def one_band() -> dict[str, Any]:
    """A spectrum that says nothing."""
    spectrum = full_summary()["spectrum"]
    side = {
        "energy": [1.0], "density": [1.0], "importance_only": [0.0], "importance_without": [0.0],
        "mastery": {"student": [0.0]},
    }  # fmt: skip
    return {**spectrum, "edges": [0.0, 2.0], "base_ndcg": 0.0, "user": side, "item": side, "trials": [], "reason": ""}


ROLES = ("teacher", "scratch", "svd", "student")
FACTS = {"parameters": 100, "bytes": 400, "dim": 1, "valid_ndcg_at_10": None, "median_ms": 0.1, "p95_ms": 0.1}
UNTRAINED = {"history": [], "info": {}}
DEGENERATE: dict[str, Any] = {
    "not registered": changed(model=None, gate=None, advice=[]),
    "nobody evaluated": changed(group_intervals={}, groups={key: {"activity": [], "popularity": []} for key in ROLES}, evaluated={"users": 0, "skipped": 9}),
    "all zero": changed(
        metrics={key: {"ndcg_at_10": 0.0, "recall_at_10": 0.0} for key in ROLES},
        models=dict.fromkeys(ROLES, FACTS),
        gap_closed={"value": None, "low": None, "high": None, "confidence": 0.95, "reason": "nobody hits anything"},
        stages=[{"name": "ingest", "seconds": 0.0, "peak_bytes": 0, "cached": True, "digest": "0" * 64}],
    ),
    "no baselines": changed(
        **{part: only(part, "teacher", "student") for part in ("metrics", "models", "groups", "training")},
        gap_closed={"value": None, "low": None, "high": None, "confidence": 0.95, "reason": "there is no baseline without distillation"},
        intervals=only("intervals", "student_minus_teacher"),
        gate=None,
    ),
    "one band": changed(spectrum=one_band(), training=dict.fromkeys(ROLES, UNTRAINED)),
    "one epoch": changed(
        training={**dict.fromkeys(ROLES, UNTRAINED), "student": {"history": [{"epoch": 2, "seconds": 1.0, "valid_ndcg_at_10": 0.02}], "info": {}}},
    ),
}  # fmt: skip


@pytest.fixture(params=list(DEGENERATE))
def degenerate(request: pytest.FixtureRequest) -> RunResult:
    return RunResult.model_validate(copy.deepcopy(DEGENERATE[request.param]))
