from __future__ import annotations

from typing import Any

import pytest

from freqd.numbers import NBSP
from freqd.report.run import html, start_sentences, text
from freqd.report.run_result import RunResult
from tests.run_results import full_summary

TEACHER = {"way": "continued", "valid_ndcg_at_10": 0.07, "valid_ndcg_at_10_before": 0.071, "sweeps": 2}


def summary(**changes: Any) -> dict[str, Any]:
    start = {
        "asked": "champion",
        "run": "monday",
        "version": "3",
        "why": "",
        "teacher": TEACHER,
        "student": {"way": "previous", "valid_ndcg_at_10": {"previous": 0.066, "svd": 0.064}},
        "seconds": {
            "now": {"teacher": 2.0, "distill": 8.0},
            "before": {"teacher": 5.0, "distill": 15.0},
            "full": {"teacher": 60.0, "distill": 20.0},
        },
    }
    return {**full_summary(), "run": "tuesday", "start": start | changes}


def sentence(**changes: Any) -> str:
    return start_sentences.sentence(RunResult.model_validate(summary(**changes))).replace(NBSP, " ")


def test_the_start_is_told_in_full() -> None:
    assert sentence() == (
        "Started from run monday, version 3. The teacher took 2 more sweeps: validation NDCG@10 0.0700, in its own "
        "run 0.0710. The student started from the earlier student (validation NDCG@10 0.0660; the SVD of the teacher 0.0640). "
        "Teacher and distillation took 10.0 s, 20.0 s in the earlier run, 80.0 s in the latest run from scratch "
        "(12 % of it)."
    )


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"run": None, "why": "shop has no champion yet"}, "Training started from scratch: shop has no champion yet."),
        ({"why": "of this very data"}, "Started from run monday, version 3 (of this very data). "),
        ({"teacher": None}, "The teacher was trained from scratch. "),
        ({"teacher": {**TEACHER, "way": "searched"}}, "so the search was run again, and its winner was taken"),
        ({"teacher": {**TEACHER, "way": "continued after a search"}}, "and it found nothing better"),
        ({"student": {"way": "svd", "valid_ndcg_at_10": {"svd": 0.07, "previous": 0.01}}}, "(validation NDCG@10 0.0700; the earlier student 0.0100)"),
    ],
)  # fmt: skip
def test_what_went_otherwise_is_said(changes: dict[str, Any], said: str) -> None:
    assert said in sentence(**changes)


def test_unknown_costs_are_left_out() -> None:
    seconds = {"now": {"teacher": 2.0, "distill": 8.0}, "before": None, "full": None}
    assert sentence(seconds=seconds).endswith("Teacher and distillation took 10.0 s.")


def test_every_form_of_the_result_tells_it() -> None:
    told = RunResult.model_validate(summary())
    for form in (html.render(told, {}), text.markdown(told), text.result_table(told)):
        assert "Started from run monday" in " ".join(form.split())
    silent = RunResult.model_validate({**full_summary(), "run": "tuesday"})
    for form in (html.render(silent, {}), text.markdown(silent), text.result_table(silent)):
        assert "Started from" not in form
