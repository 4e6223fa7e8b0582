"""Summaries as the runs write them: a full one, and ways to be incomplete."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest

from freqd.config import RunConfig
from freqd.report.run.figures import all_figures

BANDS = 8
EDGES = [i * 2 / BANDS for i in range(BANDS + 1)]


def _metrics(ndcg: float, recall: float, coverage: float) -> dict[str, float]:
    return {
        "ndcg_at_10": ndcg,
        "recall_at_10": recall,
        "ndcg_at_20": ndcg * 1.24,
        "recall_at_20": recall * 1.61,
        "precision_at_10": recall * 0.31,
        "hit_rate_at_10": min(recall * 3.2, 1.0),
        "map_at_10": ndcg * 0.52,
        "mrr_at_10": ndcg * 1.71,
        "coverage_at_10": coverage,
        "gini_at_10": 0.83 - coverage / 4,
        "mean_popularity_at_10": 214.7 - 80 * coverage,
        "novelty_at_10": 9.31 + coverage,
    }


def _model(dim: int, ms: float, valid: float) -> dict[str, Any]:
    rows = 2_458 + 10_912
    return {
        "parameters": dim * rows, "bytes": 4 * dim * rows, "dim": dim, "median_ms": ms, "p95_ms": ms * 1.4,
        "valid_ndcg_at_10": valid,
    }  # fmt: skip


def _history(
    epochs: int, every: int, start: float, end: float, pace: float, seconds: float, mastery: bool
) -> list[dict[str, Any]]:
    out: list[dict[str, Any]] = []
    for epoch in range(every, epochs + 1, every):
        done = 1 - math.exp(-epoch / pace)
        entry: dict[str, Any] = {
            "epoch": epoch,
            "seconds": seconds * epoch,
            "valid_ndcg_at_10": start + (end - start) * done - 2e-6 * epoch + 2e-4 * math.sin(epoch),
        }
        if mastery:
            entry["mastery_user"] = [max(0.03, (0.94 - 0.1 * b) * (0.6 + 0.4 * done)) for b in range(BANDS)]
            entry["mastery_item"] = [max(0.02, (0.97 - 0.13 * b) * (0.55 + 0.45 * done)) for b in range(BANDS)]
        out.append(entry)
    return out


def _groups(scale: float, tail: float) -> dict[str, Any]:
    return {
        "activity": [
            {"group": g, "users": n, "ndcg_at_10": scale * a, "recall_at_10": scale * a * 1.2}
            for g, n, a in (
                ("5–12 train interactions", 498, 0.71),
                ("13–25 train interactions", 512, 0.93),
                ("26–61 train interactions", 503, 1.12),
                ("62–388 train interactions", 487, 1.27),
            )
        ],
        "popularity": [
            {"group": g, "targets": n, "recall_at_10": scale * r, "share_of_recommendations": s}
            for g, n, r, s in (
                ("head", 4_120, 1.9, 0.71 - tail),
                ("mid", 3_377, 0.8, 0.22),
                ("tail", 2_206, 0.22, 0.07 + tail),
            )
        ],
    }


def full_summary() -> dict[str, Any]:
    """A run on purchases with a 64-number ALS teacher whose student keeps most of the gain."""
    config = RunConfig.model_validate(
        {
            "data": {"source": ["grocery"], "min_user_interactions": 10},
            "teacher": {"factors": [32, 64, 128], "search_seconds": 60},
            "distill": {"dim": 16, "epochs": 60},
            "seed": 7,
        }
    ).model_dump(mode="json")
    decay = [0.31, 0.2, 0.14, 0.11, 0.09, 0.07, 0.05, 0.03]
    density = [0.04, 0.08, 0.13, 0.2, 0.24, 0.17, 0.1, 0.04]
    mastery = {
        "student": [0.95, 0.88, 0.74, 0.58, 0.43, 0.32, 0.22, 0.12],
        "scratch": [0.81, 0.58, 0.39, 0.24, 0.16, 0.11, 0.08, 0.05],
        "svd": [0.97, 0.86, 0.66, 0.47, 0.33, 0.25, 0.17, 0.1],
    }
    spectrum = {
        "edges": EDGES,
        "method": {"user": "chebyshev", "item": "exact"},
        "user": {
            "energy": decay, "density": density,
            "importance_only": [0.0231, 0.0254, 0.0203, 0.0154, 0.0121, 0.0095, 0.0061, 0.0034],
            "importance_without": [0.0402, 0.0421, 0.0468, 0.0489, 0.0495, 0.0503, 0.0508, 0.0509],
            "mastery": mastery,
        },
        "item": {
            "energy": [0.38, 0.22, 0.13, 0.09, 0.07, 0.05, 0.04, 0.02], "density": density,
            "importance_only": [0.0284, 0.0212, 0.0151, 0.0093, 0.0066, 0.0042, 0.0021, 0.0008],
            "importance_without": [0.0331, 0.0443, 0.0492, 0.0502, 0.0507, 0.0511, 0.0519, 0.0516],
            "mastery": {k: [max(0.01, v * 0.97 - 0.02 * i) for i, v in enumerate(vs)] for k, vs in mastery.items()},
        },
        "base_ndcg": 0.0506,
        "filters": {
            "feature": {
                "user": {"form": "identity", "alpha": 0.0, "coefficients": [], "label": "identity, h(λ) = 1"},
                "item": {"form": "quadratic", "alpha": 0.3, "coefficients": [], "label": "quadratic, h(λ) = (1 − 0.3λ)²"},
            },
            "ranking": {"user": "identity, h(λ) = 1", "item": "linear, h(λ) = 1 − 0.5λ"},
        },
        "trials": [
            {"side": "item", "form": "linear", "alpha": a, "ndcg": 0.0506 + 0.004 * a} for a in (0.1, 0.2, 0.3, 0.4, 0.5)
        ],
        "reason": "A linear low-pass filter on the items lifts the teacher's validation NDCG@10 from 0.0506 to 0.0526 (+4.0 %); "
        "no filter on the users gained at least 0.5 %.",
    }  # fmt: skip
    stages = [
        ("ingest", 3.2, 512e6, False), ("graph", 0.9, 640e6, False), ("teacher", 58.4, 1.31e9, False),
        ("spectral", 12.7, 820e6, False), ("distill", 41.3, 890e6, False), ("scratch", 38.9, 861e6, True),
        ("evaluate", 4.1, 702e6, False), ("register", 2.8, 655e6, False),
    ]  # fmt: skip
    return {
        "freqd": "0.1.0",
        "run": "grocery-2026-11-24-1",
        "created": "2026-11-24T08:15:03+00:00",
        "workdir": "freqd-work",
        "data": {
            "name": "grocery", "users": 2_458, "items": 10_912, "interactions": 612_407,
            "digest": "9f2c41d07a5be8836c1d0e4f9b7a2c5538e6d1f0a4b3c2d1e0f9a8b7c6d5e4f3", "split": "time",
            "parts": {"train": 489_925, "valid": 61_241, "test": 61_241},
            "dropped": [
                {"reason": "repeated purchase of the same product by the same household", "rows": 781_224, "remedy": "none needed; "
                 "the first purchase counts"},
                {"reason": "fewer than 10 distinct items or 5 distinct users (k-core)", "rows": 75_702,
                 "remedy": "lower data.min_user_interactions or data.min_item_interactions"},
                {"reason": "no product id", "rows": 0, "remedy": ""},
            ],
            "warnings": ["4.2 % of the test interactions fall on items that train does not have; no model can rank them."],
            "columns": {"user": "household_id", "item": "product_id", "time": "transaction_timestamp", "weight": None},
            "cuts": {"valid_from": "2017-10-29T00:00:00+00:00", "test_from": "2017-11-28T00:00:00+00:00"},
        },
        "protocol": "standard",
        "metrics": {
            "teacher": _metrics(0.0514, 0.0612, 0.241), "scratch": _metrics(0.0436, 0.0521, 0.162),
            "svd": _metrics(0.0468, 0.0563, 0.198), "student": _metrics(0.0501, 0.0598, 0.223),
        },
        "intervals": {
            "student_minus_teacher": {"mean": -0.0013, "low": -0.0027, "high": 0.0001, "p_value": 0.068},
            "student_minus_scratch": {"mean": 0.0065, "low": 0.0046, "high": 0.0083, "p_value": 0.0},
            "student_minus_svd": {"mean": 0.0033, "low": 0.0019, "high": 0.0048, "p_value": 0.0005},
        },
        "gap_closed": {"value": 0.833, "low": 0.641, "high": 1.012, "confidence": 0.95, "reason": ""},
        "models": {
            "teacher": _model(128, 3.12, 0.0506), "scratch": _model(16, 0.41, 0.0441), "svd": _model(16, 0.41, 0.0472),
            "student": _model(16, 0.41, 0.0503),
        },
        "groups": {"teacher": _groups(0.0514, 0.02), "student": _groups(0.0501, 0.015), "scratch": _groups(0.0436, -0.02)},
        "spectrum": spectrum,
        "training": {
            "teacher": {
                "history": [],
                "info": {
                    "method": "als", "factors": 128, "seconds": 57.9,
                    "trials": [
                        {"factors": f, "regularization": r, "alpha": 10.0, "valid_ndcg_at_10": v, "seconds": s}
                        for f, r, v, s in ((32, 1.0, 0.0471, 4.1), (64, 10.0, 0.0498, 7.7), (128, 10.0, 0.0506, 14.9))
                    ],
                },
            },
            "scratch": {"history": _history(60, 2, 0.01, 0.0441, 14.0, 0.62, False), "info": {"best_epoch": 54}},
            "student": {"history": _history(40, 2, 0.0452, 0.0503, 9.0, 1.02, True), "info": {"best_epoch": 36}},
        },
        "stages": [
            {"name": n, "seconds": s, "peak_bytes": p, "cached": c, "digest": f"{i:x}" * 64}
            for i, (n, s, p, c) in enumerate(stages, start=1)
        ],
        "cached_stages": ["scratch"],
        "mlflow": {"run_id": "5be2f1c09d3a4e0f8a7c6b5d4e3f2a10", "experiment": "freqd", "tracking_uri": "sqlite:///freqd-work/mlflow.db"},
        "prefect": {"flow_run_id": "0b7a5f0e-6d8f-4f0a-9a3c-2f1e0d9c8b7a"},
        "model": {"name": "freqd-grocery", "version": 3, "aliases": ["challenger", "champion"]},
        "gate": {
            "promoted": True, "verdict": "promoted", "champion": 2,
            "reasons": ["NDCG@10 is 0.0041 above the champion's (95 % interval 0.0022 to 0.0060) on the same 2,000 test users",
                        "size, latency and coverage are within their guardrails"],
            "difference": {"mean": 0.0041, "low": 0.0022, "high": 0.006, "p_value": 0.0005},
        },
        "advice": ["A larger student (`distill.dim` 32) would cost twice the memory; the spectrum says that most of what is missing lies "
                   "above λ = 1."],
        "config": config,
        "environment": {"python": "3.11.9", "torch": "2.13.0+cpu", "numpy": "2.4.6", "cpu": "x86_64", "cores": 2,
                        "memory_bytes": 8_589_934_592},
    }  # fmt: skip


@pytest.fixture
def full() -> dict[str, Any]:
    return full_summary()


@pytest.fixture(scope="session")
def figures() -> dict[str, bytes]:
    """The figures of the full summary, drawn once."""
    return all_figures(full_summary())


@pytest.fixture
def no_gain() -> dict[str, Any]:
    """The teacher is below the student trained alone."""
    summary = full_summary()
    summary["metrics"]["teacher"] = _metrics(0.0421, 0.0507, 0.2)
    summary["gap_closed"] = {
        "value": None,
        "low": None,
        "high": None,
        "confidence": 0.95,
        "reason": "teacher 0.0421, scratch 0.0436",
    }
    summary["intervals"]["student_minus_teacher"] = {"mean": 0.008, "low": 0.006, "high": 0.01, "p_value": 0.0}
    summary["gate"] = {
        "promoted": False, "verdict": "not promoted", "champion": 2, "difference": None,
        "reasons": ["the champion, version 2, is not beaten: the interval contains zero"],
    }  # fmt: skip
    summary["model"]["aliases"] = ["challenger"]
    summary["advice"] = []
    return summary


@pytest.fixture
def above_teacher() -> dict[str, Any]:
    """The student is above its teacher, beyond chance."""
    summary = full_summary()
    summary["metrics"]["student"] = _metrics(0.0545, 0.0655, 0.25)
    summary["gap_closed"] = {"value": 1.397, "low": 1.12, "high": 1.71, "confidence": 0.95, "reason": ""}
    summary["intervals"]["student_minus_teacher"] = {"mean": 0.0031, "low": 0.0011, "high": 0.0052, "p_value": 0.002}
    return summary


HOSTILE = '<script>alert("x")</script>$\\frac{1}$<img src=http://evil.example/x.png onerror=alert(1)>'


@pytest.fixture
def hostile() -> dict[str, Any]:
    """Every text of the summary is an attack, keys of the contract aside."""

    def poison(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: poison(entry) for key, entry in value.items()}
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


DEGENERATE: dict[str, Any] = {
    "empty": {},
    "nulls": dict.fromkeys(full_summary()),
    "only student": {"metrics": {"student": {"ndcg_at_10": 0.01}}},
    "not a number": {
        "metrics": {"student": {"ndcg_at_10": math.nan}, "teacher": {"ndcg_at_10": math.inf}},
        "models": {"student": {"parameters": 0, "bytes": 0, "median_ms": 0.0}, "teacher": {"parameters": 0, "bytes": 0, "median_ms": 0}},
        "gap_closed": {"value": math.nan},
    },
    "all zero": {
        "metrics": {role: {"ndcg_at_10": 0.0, "recall_at_10": 0.0} for role in ("teacher", "scratch", "svd", "student")},
        "models": {role: {"parameters": 100, "bytes": 400, "median_ms": 0.1} for role in ("teacher", "scratch", "svd", "student")},
        "gap_closed": {"value": None, "reason": "nobody hits anything"},
        "stages": [{"name": "ingest", "seconds": 0.0, "peak_bytes": 0, "cached": True}],
    },
    "wrong types": {
        "metrics": [], "models": "none", "spectrum": {"edges": "x", "user": []}, "training": {"student": {"history": {}}},
        "groups": [1], "stages": {"a": 1}, "gate": "promoted", "advice": 3, "config": {"data": []}, "data": {"dropped": [None, 3]},
    },
    "no baselines": {
        **full_summary(),
        "metrics": {k: v for k, v in full_summary()["metrics"].items() if k in ("teacher", "student")},
        "models": {k: v for k, v in full_summary()["models"].items() if k in ("teacher", "student")},
        "gap_closed": {"value": None, "reason": "no student was trained alone"},
        "intervals": {},
        "gate": None,
    },
    "one band": {
        "spectrum": {"edges": [0.0, 2.0], "user": {"energy": [1.0], "density": [1.0], "mastery": {"student": [None]}}, "base_ndcg": None},
    },
    "one epoch": {"training": {"student": {"history": [{"epoch": 2, "seconds": 1.0, "valid_ndcg_at_10": 0.02, "mastery_user": [0.5, None]}]}}},
}  # fmt: skip


@pytest.fixture(params=list(DEGENERATE))
def degenerate(request: pytest.FixtureRequest) -> dict[str, Any]:
    return copy.deepcopy(DEGENERATE[request.param])  # type: ignore[no-any-return]
