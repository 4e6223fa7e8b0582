"""The sentences claim what the numbers say, and no more."""

from __future__ import annotations

from typing import Any

import pytest

from freqd import numbers as fmt
from freqd.report.run import sentences, standing
from freqd.report.run_result import RunResult

NO_GAP = {"value": None, "low": None, "high": None, "confidence": 0.95, "reason": ""}


def of(summary: dict[str, Any]) -> RunResult:
    return RunResult.model_validate(summary)


def no(reasons: list[str]) -> dict[str, Any]:
    """The gate's verdict against a student."""
    verdict = {"promoted": False, "verdict": "not promoted", "checks": [], "champion": None, "difference": None}
    return {**verdict, "reasons": reasons}


def said(text: str) -> str:
    return text.replace(fmt.NBSP, " ")


def test_verdict_of_a_good_run(full: dict[str, Any]) -> None:
    verdict = sentences.verdict(of(full))
    assert said(verdict.title) == "The student closes 83 % of the gap to its teacher"
    assert verdict.tone == "good"
    sentence = said(verdict.sentence)
    assert "0.0501, against 0.0514 of the teacher and 0.0436" in sentence
    assert "8 times smaller (856 kB instead of 6.85 MB)" in sentence
    assert "7.6 times faster" in sentence
    assert "promoted to champion (freqd-grocery, version 3)" in sentence
    assert "may be chance" in sentence  # the interval of the difference to the teacher contains zero


def test_without_a_teacher_that_leads_nothing_is_claimed(no_gain: dict[str, Any]) -> None:
    assert standing.teacher_adds_nothing(of(no_gain))
    verdict = sentences.verdict(of(no_gain))
    assert verdict.tone != "good"
    assert "no better than the no-distillation baseline" in verdict.title
    assert "not promoted: the champion, version 2, is not beaten" in verdict.sentence
    advice = sentences.advice(of(no_gain))
    assert any("teacher.kind" in line for line in advice)
    assert "safe to use" in advice[-1]
    no_gain["intervals"]["student_minus_scratch"]["low"] = -0.001
    assert sentences.verdict(of(no_gain)).title == "There is nothing to distil from this teacher"
    assert "use the no-distillation baseline" in sentences.advice(of(no_gain))[-1]


def test_gap_without_value_says_why(full: dict[str, Any], no_gain: dict[str, Any]) -> None:
    no_gain["gap_closed"]["reason"] = ""
    assert "does not beat the no-distillation baseline" in sentences.gap_sentence(of(no_gain))
    full["gap_closed"] = {**NO_GAP, "reason": "there is no baseline without distillation"}
    assert sentences.gap_sentence(of(full)) == "Gap closed is not defined: there is no baseline without distillation."
    full["gap_closed"]["reason"] = ""
    assert sentences.gap_sentence(of(full)) == "Gap closed was not measured."


def test_above_the_teacher(above_teacher: dict[str, Any]) -> None:
    assert sentences.verdict(of(above_teacher)).title == "The student ranks better than its teacher"
    assert "140 % of the teacher's gain" in said(sentences.gap_sentence(of(above_teacher)))
    assert "40 % more" in said(sentences.gap_sentence(of(above_teacher)))
    above_teacher["gap_closed"]["low"] = 0.9
    assert "does not say that it ranks better than its teacher" in sentences.gap_sentence(of(above_teacher))
    for low, title in (
        (-0.001, "The student ranks as well as its teacher"),
        (-0.0011, "Student and teacher are not told apart on these users"),
    ):
        above_teacher["intervals"]["student_minus_teacher"]["low"] = low
        assert sentences.verdict(of(above_teacher)).title == title, "at most 2 % of the teacher's .0514 may be open"


def test_a_student_that_is_its_start_is_said_to_be(full: dict[str, Any]) -> None:
    full["training"]["student"]["info"]["best_epoch"] = 0
    assert "Distillation added nothing to the start" in sentences.verdict(of(full)).sentence
    full["training"]["student"]["info"]["best_epoch"] = 4
    assert "Distillation added" not in sentences.verdict(of(full)).sentence


def test_another_small_model_that_may_be_as_good_is_named(full: dict[str, Any]) -> None:
    model = {
        "name": "als", "same_size": True, "parameters": 1, "valid_ndcg_at_10": 0.04, "metrics": {"ndcg_at_10": 0.049},
        "student_minus": {"mean": 0.001, "low": -0.002, "high": 0.004, "p_value": 0.5},
    }  # fmt: skip
    full["references"] = {"models": [model]}
    assert "Of the same size, ALS alone may be as good on these users." in sentences.verdict(of(full)).sentence
    model["student_minus"]["low"] = 0.0001
    assert "may be as good" not in sentences.verdict(of(full)).sentence
    model |= {"name": "ease", "same_size": False}
    model["student_minus"]["low"] = -0.1
    assert "may be as good" not in sentences.verdict(of(full)).sentence


def test_below_training_alone(full: dict[str, Any]) -> None:
    full["metrics"]["student"]["ndcg_at_10"] = 0.041
    full["gap_closed"] |= {"value": -0.33, "low": -0.6, "high": -0.1}
    verdict = sentences.verdict(of(full))
    assert (verdict.title, verdict.tone) == ("Distillation did not help on this data", "bad")
    assert "gap closed is −33 %" in said(sentences.gap_sentence(of(full)))


def test_a_teacher_whose_lead_may_be_chance(full: dict[str, Any]) -> None:
    full["intervals"]["teacher_minus_scratch"] = {"mean": 0.0078, "low": -0.001, "high": 0.016, "p_value": 0.08}
    full["gap_closed"] |= {"value": None, "low": None, "high": None, "reason": "the teacher's lead may be chance"}
    verdict = sentences.verdict(of(full))
    assert verdict.tone == "mixed"
    assert "may be chance" in verdict.title
    assert "the student itself is significantly above that baseline" in verdict.sentence
    assert sentences.gap_sentence(of(full)) == "Gap closed is not defined: the teacher's lead may be chance."
    full["intervals"]["student_minus_scratch"]["low"] = -0.001
    assert "above that baseline" not in sentences.verdict(of(full)).sentence


def test_a_gain_that_may_be_chance_is_not_called_good(full: dict[str, Any]) -> None:
    full["intervals"]["student_minus_scratch"]["low"] = -0.0002
    verdict = sentences.verdict(of(full))
    assert verdict.tone == "mixed"
    assert "may be chance" in verdict.sentence


@pytest.mark.parametrize(
    ("mean", "low", "high", "expected"),
    [
        (0.002, 0.001, 0.003, "The student is significantly better than the teacher"),
        (-0.002, -0.003, -0.001, "The student is significantly worse than the teacher"),
        (0.002, -0.001, 0.005, "There is no significant difference to the teacher"),
    ],
)
def test_differences_in_words(full: dict[str, Any], mean: float, low: float, high: float, expected: str) -> None:
    full["intervals"] = {"student_minus_teacher": {"mean": mean, "low": low, "high": high, "p_value": 0.0004}}
    sentence = sentences.difference_sentence(of(full), "teacher", "the teacher")
    assert sentence.startswith(expected)
    assert "p < 0.001" in sentence
    assert sentences.difference_sentence(of(full), "scratch", "the baseline") == ""


def test_a_larger_and_slower_student_is_not_praised(full: dict[str, Any]) -> None:
    models = full["models"]
    models["teacher"], models["student"] = models["student"], models["teacher"]
    assert "8 times larger" in sentences.verdict(of(full)).sentence
    assert "7.6 times slower" in sentences.verdict(of(full)).sentence
    assert {tile.label: tile.tone for tile in sentences.tiles(of(full))}["Size"] == "bad"
    models["student"] = dict(models["teacher"])
    assert "as large as its teacher" in sentences.verdict(of(full)).sentence
    assert {tile.label: tile.value for tile in sentences.tiles(of(full))}["Speed"] == "about the same"


@pytest.mark.parametrize(
    ("teachers", "students", "phrase"),
    [
        ((3.0, 2.8, 3.4), (0.4, 0.39, 0.5), "scores a user 7.5 times faster (5.6 to 8.7)"),
        ((3.0, 0.45, 3.4), (0.4, 0.39, 0.5), "scores a user about as fast as its teacher"),
        ((0.4, 0.39, 0.5), (3.0, 2.8, 3.4), "scores a user 7.5 times slower (5.6 to 8.7)"),
        ((1.02, 1.01, 1.03), (1.0, 0.99, 1.0), "scores a user about as fast as its teacher"),
        ((3.0, None, None), (0.4, None, None), "scores a user 7.5 times faster"),
    ],
)
def test_a_speed_is_claimed_only_where_repetitions_do_not_overlap(
    full: dict[str, Any], teachers: tuple[float, ...], students: tuple[float, ...], phrase: str
) -> None:
    for name, values in (("teacher", teachers), ("student", students)):
        full["models"][name] |= dict(zip(("median_ms", "low_ms", "high_ms"), values, strict=True))
    assert phrase in sentences.verdict(of(full)).sentence
    tile = next(tile for tile in sentences.tiles(of(full)) if tile.label == "Speed")
    assert ("about the same" in tile.value) == ("about as fast" in phrase)
    assert ("2.80 to 3.40" in said(tile.note)) == (2.8 in (*teachers, *students))


@pytest.mark.parametrize(
    ("gate", "model", "expected"),
    [
        (None, None, "It has not passed through a gate."),
        (no([]), None, "It was not promoted."),
        (
            no(["too slow"]),
            {"name": "m", "version": "2", "aliases": []},
            "It was registered (m, version 2) but not promoted: too slow.",
        ),
        (
            {**no(["it is better"]), "verdict": "waiting for approval"},
            {"name": "m", "version": "2", "aliases": []},
            "It was registered (m, version 2) and waits for a person's approval.",
        ),
        (
            {**no([]), "promoted": True},
            {"name": "m", "version": "2", "aliases": []},
            "It was promoted to champion (m, version 2).",
        ),
    ],
)
def test_gate(full: dict[str, Any], gate: Any, model: Any, expected: str) -> None:
    result = of({**full, "gate": gate, "model": model})
    assert sentences.gate_sentence(result) == expected
    waits = [tile.value for tile in sentences.tiles(result) if tile.label == "Production"]
    assert ("Waiting for approval" in waits) == ("waits" in expected)


def test_registration_that_was_switched_off(full: dict[str, Any]) -> None:
    asked = {**full, "gate": None, "model": None, "config": {"registry": {"enabled": False}}}
    assert "as this run asked" in sentences.gate_sentence(of(asked))


def test_everything_can_be_said_of_anything(degenerate: RunResult) -> None:
    verdict = sentences.verdict(degenerate)
    whole = " ".join(
        [verdict.title, verdict.sentence, sentences.gap_sentence(degenerate), *sentences.advice(degenerate)]
    )
    whole += " ".join(f"{tile.value} {tile.note}" for tile in sentences.tiles(degenerate))
    assert "nan" not in whole.lower()
    assert "None" not in whole


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (fmt.size(0), "0 B"),
        (fmt.size(999), "999 B"),
        (fmt.size(999_600), "1.00 MB"),
        (fmt.size(6_845_440), "6.85 MB"),
        (fmt.size(1.5e15), "1,500 TB"),
        (fmt.duration(0.0), "0 s"),
        (fmt.duration(0.42), "0.42 s"),
        (fmt.duration(59.96), "60.0 s"),
        (fmt.duration(125), "2 min 05 s"),
        (fmt.duration(3_725), "1 h 02 min"),
        (fmt.percent(-0.0001), "0 %"),
        (fmt.percent(-0.334, 1), "−33.4 %"),
        (fmt.times(8.0), "8×"),
        (fmt.times(1.07), "1.07×"),
        (fmt.times(1234.5), "1,234×"),
        (fmt.probability(0.0), "p < 0.001"),
        (fmt.probability(0.068), "p = 0.068"),
        (fmt.signed(-0.0013), "−0.0013"),
        (fmt.milliseconds(0.0123), "0.0123 ms"),
        (fmt.plain(10.0), "10"),
        (fmt.plain(0.25), "0.25"),
    ],
)
def test_numbers(shown: str, expected: str) -> None:
    assert said(shown) == expected


def test_numbers_that_are_missing() -> None:
    for show in (
        fmt.metric,
        fmt.signed,
        fmt.count,
        fmt.percent,
        fmt.size,
        fmt.duration,
        fmt.milliseconds,
        fmt.times,
        fmt.plain,
    ):
        assert show(None) == fmt.MISSING


@pytest.mark.parametrize(
    ("kinds", "phrase"),
    [
        (["bpr", "als", "softmax"], "the best model of the same size without a teacher, chosen on validation (ALS)"),
        (["als"], "the no-distillation baseline of the same size"),
        ([None], "the no-distillation baseline of the same size"),
    ],
)
def test_the_baseline_is_named_where_it_is_the_best_of_several(full, kinds, phrase):
    trials = [{"valid_ndcg_at_10": 0.04, "seconds": 1.0} | ({"kind": kind} if kind else {}) for kind in kinds]
    full["training"]["scratch"]["info"] = {"trials": trials} | ({"kind": "als"} if kinds[0] else {})
    assert f"0.0436 of {phrase}" in said(sentences.verdict(of(full)).sentence)
