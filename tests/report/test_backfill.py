"""A range of dates in a table: numbers as given, and why a date did not go on from the one before."""

from __future__ import annotations

from typing import Any

import pytest

from freqd.report import backfill


def run(day: str, **changes: Any) -> dict[str, Any]:
    return {
        "as_of": day, "run": f"shop-{day}", "passed_over": False, "users": 1200, "items": 60, "interactions": 34000,
        "ndcg_at_10": 0.12345, "teacher_ndcg_at_10": 0.2, "started_from": None, "why": "", "seconds": 100.0,
        "model": None, "gate": None, "mlflow_run_id": "5be2", **changes,
    }  # fmt: skip


@pytest.fixture
def result() -> dict[str, Any]:
    later = {"started_from": "shop-2026-01-01", "passed_over": True, "gate": "promoted"}
    refused = {"why": "run shop-2026-01-08 cannot be started from: it has seen 3 answers"}
    return {
        "name": "shop",
        "workdir": "freqd-work",
        "runs": [run("2026-01-01"), run("2026-01-08", **later), run("2026-01-15", **refused)],
    }


def of(result: dict[str, Any]) -> backfill.BackfillResult:
    return backfill.BackfillResult.model_validate(result)


def test_one_line_a_date(result: dict[str, Any]) -> None:
    table = backfill.table(of(result))
    assert all(len(cells) == len(table.header) for cells in table.rows)
    assert [cell.replace("\u00a0", " ") for cell in table.rows[0]] == [
        "2026-01-01", "shop-2026-01-01", "1,200", "60", "34,000", "0.1235", "0.2000", "nothing", "1 min 40 s", "–", "",
    ]  # fmt: skip
    assert table.rows[1][7:] == ["shop-2026-01-01", table.rows[0][8], "promoted", "already done"]


def test_only_a_date_that_was_to_start_elsewhere_is_explained(result: dict[str, Any]) -> None:
    assert [note for note in backfill.notes(of(result)) if note.startswith("As of")] == [
        "As of 2026-01-15 it started from scratch: run shop-2026-01-08 cannot be started from: it has seen 3 answers."
    ]


def test_names_from_outside_do_no_harm(result: dict[str, Any]) -> None:
    result["runs"][0]["run"] = "a|b\x1b[31m [x](y)"
    assert "\x1b" not in backfill.plain(of(result))
    assert "a\\|b" in backfill.markdown(of(result))
    assert "\\[x\\]" in backfill.markdown(of(result))
