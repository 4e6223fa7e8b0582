"""The gate judges on numbers alone, and gives its reasons."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from freqd.config import EvaluateConfig, RegistryConfig
from freqd.config.load import build
from freqd.gate import Candidate, ChampionComparison, Check, SameSizeBaseline, Verdict, judge

POLICY = RegistryConfig()
EVALUATION = EvaluateConfig(bootstrap_samples=500)


def candidate(**changes: Any) -> Candidate:
    base = {
        "version": "2", "ndcg": 0.1, "coverage": 0.5, "popularity": 50.0, "groups": groups((0.1, 200), (0.2, 200)),
        "n_bytes": 1000, "latency_ms": 1.0,
    }  # fmt: skip
    return Candidate(**{**base, **changes})


def groups(*rows: tuple[float, int]) -> tuple[dict[str, Any], ...]:
    """Groups by activity, (NDCG@10, test users) each, the least active first."""
    return tuple(
        {"group": f"{n}–{n + 4} train interactions", "users": users, "ndcg_at_10": ndcg}
        for n, (ndcg, users) in zip(range(1, 100, 5), rows, strict=False)
    )


def ask(shift: float | None, policy: RegistryConfig = POLICY, gap: float | None = 1.0, **changes: Any) -> Verdict:
    """A challenger whose users gain ``shift`` each on average against a champion; None: there is no champion."""
    rng = np.random.default_rng(0)
    match = None
    if shift is not None:
        theirs = rng.random(400, np.float32)
        match = ChampionComparison(
            candidate(version="1"), theirs + rng.normal(shift, 0.01, 400).astype(np.float32), theirs
        )
    return judge(candidate(gap_closed=gap, **changes), match, policy, EVALUATION, np.random.default_rng(1))


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
    assert 0.045 < verdict.difference.low < 0.05 < verdict.difference.high < 0.055
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
        (RegistryConfig(max_bytes=999), {}, "size in bytes is 1,000, required <= 999"),
        (RegistryConfig(max_latency_ms=0.5), {}, "median ms to score a user is 1, required <= 0.5"),
        (
            RegistryConfig(),
            {"coverage": 0.39},
            "item coverage@10 is 0.39, required >= 0.4: 22.0 % below the champion's 0.5",
        ),
        (
            RegistryConfig(),
            {"popularity": 60.5},
            "mean item popularity@10 is 60.5, required <= 60: 21.0 % above the champion's 50",
        ),
        (
            RegistryConfig(),
            {"groups": groups((0.2, 200), (0.15, 200))},
            "NDCG@10 of the worst user group is 0.15, required >= 0.16: 25.0 % below the champion's 0.2, "
            "in the group of 6–10 train interactions (200 test users)",
        ),
    ],
)
def test_guardrails_stop_even_a_better_model(policy: RegistryConfig, changes: dict[str, Any], reason: str) -> None:
    verdict = ask(0.05, policy, **changes)
    assert not verdict.promoted
    assert verdict.reasons == [reason]


@pytest.mark.parametrize(("gap", "promoted"), [(0.9, True), (0.7, False), (None, True)])
def test_a_first_champion_may_have_to_close_the_gap(gap: float | None, promoted: bool) -> None:
    assert ask(None, RegistryConfig(min_gap_closed=0.8), gap=gap).promoted is promoted


def test_every_check_is_listed_whether_it_passed_or_not() -> None:
    verdict = ask(0.05, RegistryConfig(max_bytes=1))
    assert [check.passed for check in verdict.checks] == [False, True, True, True, True, True]


def against(difference: float, spread: float, margin: float) -> Verdict:
    """A challenger whose users gain exactly so much on average, half of them ``spread`` more and half less."""
    theirs = np.full(400, 0.25, np.float32)
    mine = theirs + np.float32(difference) + np.where(np.arange(400) % 2, spread, -spread).astype(np.float32)
    match = ChampionComparison(candidate(version="1"), mine, theirs)
    return judge(candidate(), match, RegistryConfig(margin=margin), EVALUATION, np.random.default_rng(1))


def test_the_low_end_of_the_interval_decides_and_not_the_mean() -> None:
    verdict = against(0.03125, 0.25, margin=0.015625)
    assert verdict.difference is not None
    assert verdict.difference.low < 0.015625 < verdict.difference.mean
    assert not verdict.promoted


def test_what_only_reaches_the_margin_does_not_exceed_it() -> None:
    assert against(0.25, 0.0, margin=0.25).difference.low == 0.25  # type: ignore[union-attr]
    assert not against(0.25, 0.0, margin=0.25).promoted
    assert against(0.25, 0.0, margin=0.2499).promoted


def rival(low: float, high: float, name: str = "the no-distillation baseline") -> SameSizeBaseline:
    return SameSizeBaseline(name=name, mean=(low + high) / 2, low=low, high=high)


def first(*rivals: SameSizeBaseline, policy: RegistryConfig = POLICY, **changes: Any) -> Verdict:
    return judge(candidate(rivals=rivals, **changes), None, policy, EVALUATION, np.random.default_rng(1))


def test_a_first_champion_is_not_shown_to_be_worse_than_another_model_of_its_size() -> None:
    assert first(rival(-0.01, 0.0)).promoted, "they may be equal"
    refused = first(rival(0.01, 0.02), rival(-0.02, -0.001, "the SVD of the teacher"))
    assert not refused.promoted
    assert "the SVD of the teacher: −0.0105 (−0.0200 to −0.0010)" in refused.reasons[0]
    assert first(rival(-0.02, -0.001), policy=RegistryConfig(first_not_worse=False)).promoted
    assert first().promoted, "where nothing else was trained there is nothing to compare with"
    assert ask(0.05).promoted, "a later champion is compared with the champion"


def test_a_gap_that_does_not_exist_is_told_and_asks_for_nothing() -> None:
    verdict = first(policy=RegistryConfig(min_gap_closed=0.8))
    (check,) = [check for check in verdict.checks if check.name == "gap closed"]
    assert check.passed
    assert "not applied" in check.detail


@pytest.mark.parametrize(("users", "promoted"), [(0, False), (1, True), (None, True)])
def test_what_could_not_be_judged_is_not_promoted(users: int | None, promoted: bool) -> None:
    assert first(judged_users=users).promoted is promoted
    assert ask(0.05, judged_users=users).promoted is promoted


# -- what is held against the champion's -----------------------------------------------------------------------------

COVERAGE, POPULARITY, GROUP = "item coverage@10", "mean item popularity@10", "NDCG@10 of the worst user group"
WORSE: dict[str, Any] = {"coverage": 0.1, "popularity": 500.0, "groups": groups((0.01, 200), (0.02, 200))}


def relative(verdict: Verdict) -> dict[str, Check]:
    found = {check.name: check for check in verdict.checks}
    return {name: found[name] for name in (COVERAGE, POPULARITY, GROUP)}


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"coverage": 0.4}, COVERAGE),
        ({"popularity": 60.0}, POPULARITY),
        ({"groups": groups((0.08, 200), (0.3, 200))}, GROUP),
    ],
)
def test_a_value_equal_to_the_limit_passes_and_one_a_little_beyond_does_not(changes: dict[str, Any], name: str) -> None:
    assert 0.8 * 0.1 > 0.08, "in floating point"
    assert ask(0.05, **changes).promoted
    beyond: dict[str, dict[str, Any]] = {
        COVERAGE: {"coverage": 0.3999},
        POPULARITY: {"popularity": 60.01},
        GROUP: {"groups": groups((0.0799, 200), (0.3, 200))},
    }
    verdict = ask(0.05, **beyond[name])
    assert [check.name for check in verdict.checks if not check.passed] == [name]


def test_the_worst_group_is_the_one_that_loses_the_largest_share() -> None:
    # The first group loses 0.01 of 0.1, the second 0.015 of 0.2: less of it, though more in numbers.
    check = relative(ask(0.05, groups=groups((0.09, 200), (0.185, 200))))[GROUP]
    assert (check.value, check.limit, check.passed) == (0.09, ">= 0.08", True)
    assert check.detail == "10.0 % below the champion's 0.1, in the group of 1–5 train interactions (200 test users)"


def test_the_limits_are_the_policy_s() -> None:
    policy = RegistryConfig(min_coverage_ratio=0.5, max_popularity_ratio=2.0, min_group_ratio=0.9)
    found = relative(ask(0.05, policy, coverage=0.3, popularity=99.0, groups=groups((0.1, 200), (0.17, 200))))
    assert {name: (check.limit, check.passed) for name, check in found.items()} == {
        COVERAGE: (">= 0.25", True),
        POPULARITY: ("<= 100", True),
        GROUP: (">= 0.18", False),
    }


def test_guardrails_that_are_switched_off_stop_nothing_and_say_so() -> None:
    policy = build(
        [{"registry": dict.fromkeys(("min_coverage_ratio", "max_popularity_ratio", "min_group_ratio"), "none")}]
    )
    verdict = ask(0.05, policy.registry, **WORSE)
    assert verdict.promoted
    assert {(check.limit, check.detail) for check in relative(verdict).values()} == {("none", "switched off")}


def test_without_a_champion_they_are_not_applicable_and_say_so() -> None:
    verdict = ask(None, **WORSE)
    assert verdict.promoted
    assert "no champion to compare with" in verdict.reasons[0]
    found = relative(verdict)
    assert {(check.limit, check.detail) for check in found.values()} == {
        ("none", "not applicable: there is no champion to compare with")
    }
    assert [check.value for check in found.values()] == [0.1, 500.0, None]


def compare_groups(mine: tuple[dict[str, Any], ...], theirs: tuple[dict[str, Any], ...], **policy: Any) -> Check:
    pair = (np.linspace(0.5, 0.6, 50, dtype=np.float32), np.linspace(0.4, 0.5, 50, dtype=np.float32))
    match = ChampionComparison(candidate(version="1", groups=theirs), *pair)
    verdict = judge(candidate(groups=mine), match, RegistryConfig(**policy), EVALUATION, np.random.default_rng(1))
    return relative(verdict)[GROUP]


def test_a_group_that_is_too_small_is_named_but_decides_nothing() -> None:
    theirs, mine = groups((0.1, 29), (0.2, 150)), groups((0.0, 29), (0.21, 150))
    check = compare_groups(mine, theirs, min_group_users=30)
    assert check.passed
    assert check.value == 0.21
    assert check.detail == (
        "5.0 % above the champion's 0.2, in the group of 6–10 train interactions (150 test users), "
        "without the groups of fewer than 30 test users: 1–5 train interactions (29)"
    )
    assert not compare_groups(mine, theirs, min_group_users=29).passed, "as many as are required decide"


def test_where_every_group_is_too_small_nothing_is_required_and_that_is_said() -> None:
    check = compare_groups(groups((0.0, 99), (0.0, 98)), groups((0.1, 99), (0.2, 98)))
    assert (check.value, check.limit, check.passed) == (None, "none", True)
    assert check.detail == (
        "not applicable: every group has fewer than 100 test users: "
        "1–5 train interactions (99), 6–10 train interactions (98)"
    )


def test_a_group_for_which_the_champion_finds_nothing_cannot_lose() -> None:
    check = compare_groups(groups((0.0, 200), (0.1, 200)), groups((0.0, 200), (0.2, 200)))
    assert (check.value, check.passed) == (0.1, False)
    check = compare_groups(groups((0.0, 200)), groups((0.0, 200)))
    assert check.passed
    assert check.detail.startswith("the champion's is 0, in the group of 1–5")


def test_groups_of_different_users_are_not_compared() -> None:
    with pytest.raises(ValueError, match="different users"):
        compare_groups(groups((0.1, 200)), groups((0.1, 201)))


def test_large_numbers_are_told_in_full() -> None:
    verdict = ask(0.05, RegistryConfig(max_bytes=1_000_000), n_bytes=1_234_567, popularity=12_345.6)
    assert verdict.reasons[0] == "size in bytes is 1,234,567, required <= 1000000"
    assert verdict.reasons[1].startswith("mean item popularity@10 is 12,346, required <= 60")
