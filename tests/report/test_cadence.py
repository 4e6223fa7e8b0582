"""What a cadence says: the recommendation in words, numbers as given, nothing invented where one is missing."""

from __future__ import annotations

import copy
import csv
import io
import re
from typing import Any

import pytest

from freqd.report import cadence
from freqd.report.cadence_result import CadenceResult
from freqd.report.run.html import cadence_page
from tests.run_results import full_summary


def aged(age: int, loss: float | None, half: float = 0.01) -> dict[str, Any]:
    found = None if loss is None else {"mean": loss, "low": loss - half, "high": loss + half, "p_value": 0.2}
    known = None if found is None else {"windows": 1, "users": 80, "fresh": 0.2, "other": 0.19, "loss": found}
    return {
        "age": age, "days": 10 * age, "windows": 3 - age, "users": None if loss is None else 90,
        "fresh": None if loss is None else 0.2, "aged": None if loss is None else 0.2 - loss, "loss": found, "of_known": known,
        "decayed": loss is not None and loss > half, "judged_users": 90, "judged_known_users": 80,
        "unknown_users": 0.1 + age / 10, "unknown_items": 0.05, "unknown_user_pairs": 0.2, "unknown_item_pairs": 0.1,
        "every_days": 10 * (age + 1), "mean_loss": 0.001 * age, "seconds_a_year": {"full": 3600.0, "re-distilled": None},
    }  # fmt: skip


@pytest.fixture
def result() -> dict[str, Any]:
    model = {"as_of": "2026-01-31", "kind": "full", "users": 100, "items": 50, "teacher_start": None, "student_start": None,
             "why": "", "seconds": {"teacher": 3.0, "all": 12.25}, "valid_ndcg_at_10": 0.1}  # fmt: skip
    judged = {"as_of": "2026-01-31", "kind": "full", "first": "2026-02-01", "last": "2026-02-10", "age": 0, "ndcg_at_10": 0.2123,
              "recall_at_10": 0.3, "judged_users": 90, "judged_known_users": 90, "judged_pairs": 200, "users": 100, "items": 60,
              "pairs": 300, "unknown_users": 10, "unknown_items": 3, "unknown_user_pairs": 60, "unknown_item_pairs": 30}  # fmt: skip
    books = {name: full_summary()[name] for name in ("mlflow", "prefect", "config", "environment")}
    return {
        **books, "freqd": "1", "name": "mine", "created": "2026-03-03T10:00:00+00:00", "folder": "cadences/mine", "stages": [],
        "bootstrap_samples": 2000, "period_days": 10, "margin": 0.0, "confidence": 0.95,
        "data": {"name": "shop_a", "users": 120, "items": 60, "interactions": 3000, "first": "2025-10-01", "last": "2026-03-02"},
        "windows": [{"first": "2026-02-01", "last": "2026-02-10", "as_of": "2026-01-31"}] * 3,
        "models": [model], "judged": [judged], "ages": [aged(0, None), aged(1, 0.005), aged(2, 0.02)],
        "redistilled": {"windows": 2, "users": 90, "fresh": 0.2, "other": 0.199,
                        "loss": {"mean": 0.001, "low": -0.002, "high": 0.004, "p_value": 0.5}},
        "seconds": {"full": 30.0, "re-distilled": 12.0},
        "advice": {"every": 2, "every_days": 20, "decayed_at": 2, "undetected": None, "kind": "re-distilled", "why": ""},
    }  # fmt: skip


def of(result: dict[str, Any]) -> CadenceResult:
    return CadenceResult.model_validate(result)


def changed(result: dict[str, Any], **advice: Any) -> dict[str, Any]:
    other = copy.deepcopy(result)
    other["advice"] |= advice
    return other


def test_the_recommendation_in_words(result: dict[str, Any]) -> None:
    said = cadence.verdict(of(result))
    assert said.title == "Retrain every 20 days"
    assert "At an age of 20 days a model loses 0.0200 NDCG@10" in said.sentence
    assert said.sentence.endswith("Retrain by re-distillation.")
    at_once = cadence.verdict(of(changed(result, every=1, every_days=10, decayed_at=1, kind="full", why="worse")))
    assert at_once.title == "Retrain at least every 10 days"
    assert "At 10 days old" in at_once.sentence
    assert at_once.sentence.endswith("Retrain by a full run.")


def test_no_decay_is_said_with_what_may_have_been_missed(result: dict[str, Any]) -> None:
    none = changed(result, every=3, every_days=30, decayed_at=None, undetected=0.015)
    assert cadence.verdict(of(none)).title == "No decay measurable"
    assert "20 days old" in cadence.verdict(of(none)).sentence
    assert "every 30 days" in cadence.verdict(of(none)).sentence
    assert any("a loss of up to 0.0150 NDCG@10" in line for line in cadence.advice(of(none)))
    assert not any("up to" in line for line in cadence.advice(of(result)))


def test_nothing_to_judge_is_no_recommendation(result: dict[str, Any]) -> None:
    empty = changed(result, every=None, every_days=None, decayed_at=None, kind="full", why="unknown")
    empty |= {"ages": [aged(0, None), aged(1, None), aged(2, None)], "redistilled": None}
    empty["seconds"] = {"full": None, "re-distilled": None}
    assert cadence.verdict(of(empty)).title == "How fast it ages is not known"
    shown = cadence.plain(of(empty))
    assert "could not be evaluated" in shown
    assert "None" not in shown
    assert cadence.figure(of(empty)).startswith(b"\x89PNG")
    assert "None" not in cadence_page(of(empty), cadence.figure(of(empty)))


@pytest.mark.parametrize(
    ("why", "words"), [("", "will do"), ("worse", "loses significantly"), ("costlier", "saves nothing")]
)
def test_why_one_way_and_not_the_other(result: dict[str, Any], why: str, words: str) -> None:
    (line,) = (line for line in cadence.advice(of(changed(result, why=why))) if line.startswith("A full run takes"))
    assert words in line
    assert "+0.0010 NDCG@10 (−0.0020 to +0.0040)" in line


def test_tables_have_the_numbers_as_given(result: dict[str, Any]) -> None:
    by_age, by_interval, models = cadence.tables(of(result))
    for table in (by_age, by_interval, models):
        assert all(len(cells) == len(table.header) for cells in table.rows)
    assert [cell.replace("\u00a0", " ") for cell in by_age.rows[2]] == [
        "20", "1", "90", "0.2000", "0.1800", "+0.0200", "+0.0100 to +0.0300", "10.0 %", "80", "+0.0200", "30.0 %", "5.0 %",
    ]  # fmt: skip
    assert by_age.rows[0][2:8] == ["–"] * 6
    assert by_interval.strong == 1
    assert by_interval.rows[1][0] == "20"
    assert by_interval.rows[0][3] == "–"
    assert models.rows[0][0:2] == ["2026-01-31", "full run"]
    assert models.rows[0][-2:] == ["0.2123", "90"]


def test_where_a_model_started_is_said_in_words(result: dict[str, Any]) -> None:
    again = {**result["models"][0], "kind": "re-distilled"}
    warm_start_info = {**again, "teacher_start": "continued", "student_start": "previous"}
    refused = {
        **again,
        "as_of": "2026-02-10",
        "why": "run full as of 2026-01-31 cannot be started from: it has seen more",
    }
    result["models"] += [warm_start_info, refused]
    assert [cells[4:6] for cells in cadence.models(of(result)).rows] == [
        ["nothing", "SVD of the teacher"], ["the one before", "the one before"], ["nothing", "SVD of the teacher"],
    ]  # fmt: skip
    assert f"As of 2026-02-10 re-distillation started from scratch: {refused['why']}." in cadence.advice(of(result))


def test_csv_has_one_line_a_model_and_window(result: dict[str, Any]) -> None:
    (line,) = csv.DictReader(io.StringIO(cadence.csv(of(result))))
    assert line["ndcg_at_10"] == "0.2123"
    assert line["unknown_user_pairs"] == "60"
    assert line["seconds"] == "12.25"


def test_names_from_outside_do_no_harm(result: dict[str, Any]) -> None:
    result["data"]["name"] = "<script>alert(1)</script>\x1b[31m"
    result["name"] = "a|b [x](y)"
    assert "\x1b" not in cadence.plain(of(result))
    assert "\\|b \\[x\\]" in cadence.markdown(of(result))
    assert "<script>" not in cadence_page(of(result), cadence.figure(of(result)))


def test_the_page_needs_nothing_from_elsewhere(result: dict[str, Any]) -> None:
    page = cadence_page(of(result), cadence.figure(of(result)))
    assert "default-src 'none'" in page
    assert re.findall(r"(?:src|href)=\"(?!data:|#)", page) == []
    assert "0.1800 against 0.2000" in page, "the picture's numbers, for who cannot see it"


def test_the_figure_is_the_same_whenever_it_is_drawn(result: dict[str, Any]) -> None:
    assert cadence.figure(of(result)) == cadence.figure(of(copy.deepcopy(result)))


def replay(low: float, mean: float, high: float) -> dict[str, Any]:
    loss = {"mean": mean, "low": low, "high": high, "p_value": 0.2}
    found = {"windows": 3, "users": 80, "fresh": 0.2, "other": 0.2 - mean, "loss": loss}
    return {"judged": found, "als": {**found, "fresh": 0.3}, "refused": 1, "seconds": 12.0}


@pytest.mark.parametrize(
    ("numbers", "words"),
    [
        ((0.001, 0.002, 0.003), "significantly better than"),
        ((-0.003, -0.002, -0.001), "significantly worse than"),
        ((-0.001, 0.002, 0.003), "not told apart from"),
    ],
)
def test_a_refit_is_told_with_no_more_than_its_interval_says(
    result: dict[str, Any], numbers: tuple[float, float, float], words: str
) -> None:
    found = of(result | {"refit": replay(*numbers)})
    (line,) = [line for line in cadence.advice(found) if "refit" in line]
    assert f"is {words} the judged student" in line
    assert line.endswith("1 refits were refused.")
    table = cadence.tables(found)[-1]
    assert [row[0] for row in table.rows] == ["the judged student", "ALS of its size, of all interactions"]
    assert table.rows[1][3] == "0.3000"
    assert "Refit on all interactions" in cadence.markdown(found)
    assert not any("refit" in line for line in cadence.advice(of(result)))
