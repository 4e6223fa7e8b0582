"""The gate judges on numbers alone, and gives its reasons."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from freqd.config import EvaluateConfig, RegistryConfig
from freqd.gate import Candidate, Verdict, judge

POLICY = RegistryConfig()
EVALUATION = EvaluateConfig(bootstrap_samples=500)


def candidate(**changes: Any) -> Candidate:
    base = {"version": "2", "ndcg": 0.1, "coverage": 0.5, "n_bytes": 1000, "latency_ms": 1.0}
    return Candidate(**{**base, **changes})


def ask(shift: float | None, policy: RegistryConfig = POLICY, gap: float | None = 1.0, **changes: Any) -> Verdict:
    """A challenger whose users gain ``shift`` each on average against a champion; None: there is no champion."""
    rng = np.random.default_rng(0)
    champion = None if shift is None else candidate(version="1")
    pair = None
    if shift is not None:
        theirs = rng.random(400, np.float32)
        pair = (theirs + rng.normal(shift, 0.01, 400).astype(np.float32), theirs)
    return judge(candidate(**changes), champion, pair, gap, policy, EVALUATION, np.random.default_rng(1))


def test_the_first_model_is_promoted() -> None:
    verdict = ask(None)
    assert verdict.promoted
    assert verdict.champion is None
    assert "first model" in verdict.reasons[0]


def test_a_better_challenger_is_promoted_and_the_difference_is_told() -> None:
    verdict = ask(0.05)
    assert verdict.promoted
    assert verdict.champion == "1"
    assert verdict.difference is not None
    assert 0.045 < verdict.difference["low"] < 0.05 < verdict.difference["high"] < 0.055
    assert "version 1" in verdict.reasons[0]


@pytest.mark.parametrize("shift", [0.0, -0.05])
def test_what_is_not_better_is_not_promoted(shift: float) -> None:
    verdict = ask(shift)
    assert not verdict.promoted
    assert "lower end" in verdict.reasons[0]
    assert ("the champion is better beyond chance" in verdict.reasons) == (shift < 0)


def test_the_margin_has_to_be_exceeded() -> None:
    assert ask(0.05, RegistryConfig(margin=0.04)).promoted
    assert not ask(0.05, RegistryConfig(margin=0.06)).promoted


@pytest.mark.parametrize(
    ("policy", "changes", "reason"),
    [
        (RegistryConfig(max_bytes=999), {}, "size in bytes is 1000, required <= 999"),
        (RegistryConfig(max_latency_ms=0.5), {}, "median ms to score a user is 1, required <= 0.5"),
        (RegistryConfig(), {"coverage": 0.39}, "item coverage@10 is 0.39, required >= 0.4000"),
    ],
)
def test_guardrails_stop_even_a_better_model(policy: RegistryConfig, changes: dict[str, Any], reason: str) -> None:
    verdict = ask(0.05, policy, **changes)
    assert not verdict.promoted
    assert verdict.reasons == [reason]


@pytest.mark.parametrize(("gap", "promoted"), [(0.9, True), (0.7, False), (None, False)])
def test_a_first_champion_may_have_to_close_the_gap(gap: float | None, promoted: bool) -> None:
    assert ask(None, RegistryConfig(min_gap_closed=0.8), gap=gap).promoted is promoted


def test_every_check_is_listed_whether_it_passed_or_not() -> None:
    verdict = ask(0.05, RegistryConfig(max_bytes=1))
    assert [check.passed for check in verdict.checks] == [False, True, True, True]
