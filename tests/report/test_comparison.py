"""The comparison's tables and figures: numbers as given, nothing invented where one is missing."""

from __future__ import annotations

import copy
import csv
import io
from typing import Any

import pytest

from freqd.report import comparison
from freqd.report.comparison_result import ComparisonResult
from tests.run_results import full_summary


def measured(mean: float, half: float | None) -> dict[str, Any]:
    low, high = (None, None) if half is None else (mean - half, mean + half)
    return {"mean": mean, "low": low, "high": high, "values": [mean]}


def row(method: str, dim: int, ndcg: float, half: float | None, *, gap: float | None = None) -> dict[str, Any]:
    tested = method not in ("teacher", "scratch")
    return {
        "method": method, "runs": 1 if half is None else 3, "seeds": [] if half is None else [0, 1, 2], "dim": dim,
        "metrics": {"ndcg_at_10": measured(ndcg, half), "recall_at_10": measured(1.5 * ndcg, half)},
        "gap_closed": {"value": gap, "low": None, "high": None, "confidence": 0.95, "reason": ""} if tested else None,
        "minus_against": {"mean": 0.01, "low": -0.005, "high": 0.025, "p_value": 0.0004, "p_holm": 0.0008} if tested else None,
        "seconds": 12.25, "parameters": dim * 300, "bytes": dim * 1200, "median_ms": 0.01 * dim, "models": [],
        "mastery": {"user": [0.9, 0.5 - 1 / dim, -0.1], "item": [0.8, 0.4, 0.2]},
    }  # fmt: skip


@pytest.fixture
def result() -> dict[str, Any]:
    tables = [
        {
            "dim": dim,
            "rows": [
                row("scratch", dim, 0.08 + dim / 1000, 0.002),
                row("svd", dim, 0.09 + dim / 1000, None, gap=0.25),
                row("freqd+rce", dim, 0.11 + dim / 1000, 0.003, gap=0.914),
            ],
        }
        for dim in (8, 20)
    ]
    edges = [0.0, 0.5, 0.9, 2.0]
    entry = {
        "edges": edges,
        "digest": "9f" * 32,
        "evaluated_users": 190,
        "skipped_users": 10,
        "ranking_filter": {"user": "identity", "item": "linear α=0.5"},
        "name": "shop_a",
        "split": "time",
        "users": 200,
        "items": 100,
        "interactions": 3000,
        "tables": tables,
    }
    books = {name: full_summary()[name] for name in ("freqd", "created", "mlflow", "prefect", "config", "environment")}
    return {
        **books, "name": "mine", "folder": "comparisons/mine", "protocol": "standard", "confidence": 0.95, "bootstrap_samples": 2000,
        "seeds": [0, 1, 2], "against": "scratch", "stages": [], "data": [{**entry, "teacher": row("teacher", 256, 0.13, None)}],
    }  # fmt: skip


def of(result: dict[str, Any]) -> ComparisonResult:
    return ComparisonResult.model_validate(result)


def test_a_table_a_size_with_the_teacher_first(result: dict[str, Any]) -> None:
    found = comparison.tables(of(result))
    assert [table.caption for _, table in found] == [
        "shop_a, students of dimension 8",
        "shop_a, students of dimension 20",
    ]
    _, table = found[0]
    assert [cells[0] for cells in table.rows] == ["teacher (256)", "scratch", "svd", "freqd+rce"]
    assert all(len(cells) == len(table.header) for cells in table.rows)
    best = [cell.replace("\u00a0", " ") for cell in table.rows[3]]
    assert best == [
        "freqd+rce", "3", "0.1180", "0.1150 to 0.1210", "0.1770", "0.1740 to 0.1800", "91 %", "+0.0100", "< 0.001", "12.2 s", "2,400",
    ]  # fmt: skip
    assert table.rows[2][3] == "not known"
    assert table.rows[1][6:9] == ["–", "–", "–"]


def test_text_has_no_control_characters(result: dict[str, Any]) -> None:
    result["data"][0]["name"] = "shop\x1b[31m"
    shown = comparison.plain(of(result))
    assert "\x1b" not in shown
    assert "0.1180" in shown


def test_one_seed_is_said(result: dict[str, Any]) -> None:
    result["seeds"] = [0]
    assert "not known: raise --seeds" in comparison.plain(of(result))
    assert "raise --seeds" in comparison.markdown(of(result))


def test_markdown_escapes_names_and_links_the_figures(result: dict[str, Any]) -> None:
    shown = comparison.markdown(of(result))
    assert "## shop\\_a" in shown
    assert "![Methods side by side](methods-shop_a.png)" in shown
    assert "png" not in comparison.markdown(of(result), images=False)
    assert "| freqd+rce | 3 | 0.1180 |" in shown


def test_csv_is_exact_and_empty_where_unknown(result: dict[str, Any]) -> None:
    lines = list(csv.DictReader(io.StringIO(comparison.csv(of(result)))))
    assert [(line["dim"], line["method"]) for line in lines[:3]] == [("256", "teacher"), ("8", "scratch"), ("8", "svd")]
    assert len(lines) == 7
    best = lines[3]
    assert float(best["ndcg_at_10"]) == 0.11 + 8 / 1000
    assert float(best["ndcg_at_10_low"]) == 0.11 + 8 / 1000 - 0.003
    assert float(best["gap_closed"]) == 0.914
    assert float(best["p_holm"]) == 0.0008
    assert lines[2]["ndcg_at_10_low"] == ""
    assert lines[1]["gap_closed"] == lines[1]["minus_against"] == ""


def test_a_reason_without_a_gap_is_told_once(result: dict[str, Any]) -> None:
    for one in result["data"][0]["tables"][0]["rows"][1:]:
        one["gap_closed"] |= {"value": None, "reason": "the teacher does not beat the no-distillation baseline"}
    assert comparison.plain(of(result)).count("does not beat") == 1


def test_figures_are_drawn_and_the_same_each_time(result: dict[str, Any]) -> None:
    drawn = comparison.figures(of(result))
    assert set(drawn) == {"mastery-shop_a", "methods-shop_a", "size-shop_a"}
    assert all(image.startswith(b"\x89PNG") for image in drawn.values())
    assert drawn == comparison.figures(of(copy.deepcopy(result)))


def test_figures_bear_one_size_and_no_intervals(result: dict[str, Any]) -> None:
    entry = result["data"][0]
    del entry["tables"][1]
    for one in entry["tables"][0]["rows"]:
        one["metrics"]["ndcg_at_10"] |= {"low": None, "high": None}
    assert set(comparison.figures(of(result))) == {"mastery-shop_a", "methods-shop_a", "size-shop_a"}
