"""What a reader should mind, and the model card."""

from __future__ import annotations

from typing import Any

import pytest

from freqd.report.run.card import card
from freqd.report.run.cautions import cautions, spread
from freqd.report.run.gate_view import gate_checks
from freqd.report.run.spectrum_sentences import mastery_falls
from freqd.report.run_result import RunResult
from tests.run_results import full_summary

CHECKS = [
    {"name": "size in bytes", "value": 855_680.0, "limit": "<= 1000000", "passed": True, "detail": ""},
    {"name": "NDCG@10 minus the champion's", "value": 0.0022, "limit": "> 0.0", "passed": True, "detail": ""},
    {
        "name": "mean item popularity@10",
        "value": 39_812.4,
        "limit": "<= 39000",
        "passed": False,
        "detail": "2 % above 39,000",
    },
    {"name": "median ms to score a user", "value": None, "limit": "none", "passed": True, "detail": "switched off"},
]


def result(**changes: Any) -> RunResult:
    found = full_summary()
    found["gate"]["checks"] = CHECKS
    return RunResult.model_validate({**found, **changes})


def test_nothing_is_said_where_there_is_nothing_to_mind() -> None:
    quiet = full_summary()
    quiet["data"] = {**quiet["data"], "warnings": [], "cold_test_items": 0.01}
    quiet["budget"] = {"minutes": None, "stage_seconds": 1.0, "cut": []}
    assert cautions(RunResult.model_validate(quiet)) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"evaluated": {"users": 90, "skipped": 0, "ndcg_at_10": {"value": 0.05, "low": 0.04, "high": 0.06, "confidence": 0.95}}},
         "The test is small: with 90 users NDCG@10 is known to 20\u00a0% either way (0.0400 to 0.0600)"),
        ({"budget": {"minutes": None, "stage_seconds": 1.0, "cut": ["teacher", "student"]}}, "cut the teacher and the distillation short"),
    ],
)  # fmt: skip
def test_what_weakens_the_numbers_is_said_first(change: dict[str, Any], said: str) -> None:
    assert said in " ".join(cautions(result(**change)))


def test_data_that_move_and_lists_of_best_sellers() -> None:
    found = full_summary()
    found["data"] = {**found["data"], "cold_test_items": 0.41}
    for model, share in (("student", 0.98), ("teacher", 0.61)):
        found["metrics"][model]["top_share_at_10"] = share
    said = cautions(RunResult.model_validate(found))
    assert said[0].startswith("The data move: 41")
    assert (
        "98\u00a0% of what the student recommends (against 61\u00a0% of the teacher) are the 1\u00a0% most popular items"
        in said[1]
    )
    del found["metrics"]["student"]["top_share_at_10"]
    assert spread(RunResult.model_validate(found)) == "", "a result of an earlier freqd"


def test_the_gate_is_a_table_of_its_conditions() -> None:
    table = gate_checks(result())
    assert table.rows == [
        ["Size in bytes", "856\u00a0kB", "≤ 1,000,000", "yes", ""],
        ["NDCG@10 minus the champion's", "0.0022", "> 0", "yes", ""],
        ["Mean item popularity@10", "39,812", "≤ 39,000", "NO", "2 % above 39,000"],
        ["Median ms to score a user", "–", "", "yes", "switched off"],
    ]


def test_why_mastery_falls_is_said_only_where_it_does() -> None:
    found = full_summary()
    history = found["training"]["student"]["history"]
    assert mastery_falls(RunResult.model_validate(found)) == []
    for done, entry in enumerate(history):
        entry["mastery_user"] = entry["mastery_item"] = [0.8 - 0.3 * done / len(history)] * 8
        entry["valid_ndcg_at_10"] = 0.04 + 0.001 * done
    (said,) = mastery_falls(RunResult.model_validate(found))
    assert said.startswith("On average it falls from 80")
    for entry in history:
        entry["valid_ndcg_at_10"] = 0.04
    assert mastery_falls(RunResult.model_validate(found)) == []


def test_the_card_says_what_for_of_what_how_good_for_whom_and_what_not() -> None:
    text = card(result())
    heads = [line for line in text.splitlines() if line.startswith("#")]
    assert [head.lstrip("# ") for head in heads[1:]] == [
        "The model", "What it is for", "The data", "How good it is", "For whom it may be worse", "Limits", "The gate", "Make it again",
    ]  # fmt: skip
    assert "| Teacher |" in text
    assert "Treat it as personal data" in text


def test_text_from_outside_stays_text_in_the_card() -> None:
    found = full_summary()
    found["data"] = {**found["data"], "warnings": ["<b>[x](http://evil.example)</b>"]}
    text = card(RunResult.model_validate(found))
    assert "<b>" not in text
    assert "[x](" not in text
