"""The gate between a trained student and production: a pure judgement on numbers, with its reasons."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

from freqd import numbers as fmt
from freqd.config import EvaluateConfig, RegistryConfig
from freqd.evaluate.significance import Difference, paired_bootstrap
from freqd.evaluate.strata import Group

PROMOTED, NOT_PROMOTED, WAITING = "promoted", "not promoted", "waiting for approval"
"""The words of a verdict."""
METRIC = "ndcg_at_10"
"""What the groups of users are compared by."""
ROUNDING = 1e-9
"""Share of a relative limit that is forgiven: 0.8 · 0.1 is a little more than 0.08 in floating point."""
OFF, NO_CHAMPION = "switched off", "not applicable: there is no champion to compare with"


class SameSizeBaseline(BaseModel):
    """A model of the student's own size that was judged beside it, and the student's NDCG@10 minus its, with the interval."""

    model_config = ConfigDict(frozen=True)

    name: str
    mean: float
    low: float
    high: float


class Candidate(BaseModel):
    """What the gate needs to know of a model.

    Attributes:
        version: of the registered model.
        ndcg: NDCG@10, mean over the test users.
        coverage: share of the items that are among the first 10 of a test user.
        popularity: mean train interactions of the items among the first 10.
        groups: the test users by activity, as ``freqd.evaluate.strata.by_activity`` has them.
        n_bytes: size of the features.
        latency_ms: median to score a user.
        judged_users: test users with something that a model of the train split can rank; None if that was not counted.
        gap_closed: share of the gap scratch -> teacher that it closes; None if there is no gap, or that was not measured.
        rivals: other models of its size. A first champion must not be shown to be worse than the best of them.
    """

    model_config = ConfigDict(frozen=True)

    version: str
    ndcg: float
    coverage: float
    popularity: float
    groups: tuple[Group, ...]
    n_bytes: int
    latency_ms: float
    judged_users: int | None = None
    gap_closed: float | None = None
    rivals: tuple[SameSizeBaseline, ...] = ()

    @property
    def best_rival(self) -> SameSizeBaseline | None:
        """The rival that it is least ahead of."""
        return min(self.rivals, key=lambda rival: rival.mean, default=None)


class Check(BaseModel):
    """One condition of the gate.

    Attributes:
        name: what is looked at.
        value: of the challenger; None if it is not known.
        limit: what is required, ``none`` if nothing is.
        passed: whether the value keeps to it.
        detail: what the value is held against, or why nothing is required.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    value: float | None
    limit: str
    passed: bool
    detail: str = ""


class Verdict(BaseModel):
    """Whether the challenger becomes champion, and why or why not."""

    model_config = ConfigDict(frozen=True)

    promoted: bool
    verdict: str
    reasons: list[str]
    checks: list[Check]
    champion: str | None
    difference: Difference | None


class ChampionComparison(NamedTuple):
    """The champion, judged beside the challenger.

    Attributes:
        champion: the present one.
        challengers, champions: (n,) NDCG@10 of each for the same users.
    """

    champion: Candidate
    challengers: npt.NDArray[np.float32]
    champions: npt.NDArray[np.float32]


def judge(
    challenger: Candidate,
    match: ChampionComparison | None,
    policy: RegistryConfig,
    evaluation: EvaluateConfig,
    rng: np.random.Generator,
) -> Verdict:
    """Compare the challenger with the champion and the guardrails.

    The challenger is better if the lower end of the paired bootstrap interval of its NDCG@10 minus the champion's,
    over the same test users, exceeds ``policy.margin``. Every guardrail must hold as well.

    Coverage, popularity and the groups of users are held against the champion's for the same test users, as a share of
    it. Without a champion there is nothing to hold them against: they pass, and their ``detail`` says so.

    Args:
        challenger: the new model.
        match: the present champion, or None for a first model, which only has to pass the guardrails.
        policy: margin and guardrails.
        evaluation: level and resamples of the interval.
        rng: source of the resamples.

    Raises:
        ValueError: the groups of the two are not of the same users.
    """
    level, difference = f"{100 * evaluation.confidence:g} %", None
    checks = _own_limits(challenger, policy)
    if match is None:
        checks += _first(challenger, level, policy)
    else:
        difference = paired_bootstrap(
            match.challengers,
            match.champions,
            samples=evaluation.bootstrap_samples,
            confidence=evaluation.confidence,
            rng=rng,
        )
        checks.append(
            Check(
                name=f"NDCG@10 minus the champion's, lower end of the {level} interval",
                value=difference.low,
                limit=f"> {policy.margin}",
                passed=difference.low > policy.margin,
            )
        )
    champion = None if match is None else match.champion
    checks += _held_against(challenger, champion, policy)
    promoted = all(check.passed for check in checks)
    return Verdict(
        promoted=promoted,
        verdict=PROMOTED if promoted else NOT_PROMOTED,
        reasons=_why_promoted(challenger, champion, difference) if promoted else _why_not(checks, difference),
        checks=checks,
        champion=champion.version if champion else None,
        difference=difference,
    )


def _own_limits(challenger: Candidate, policy: RegistryConfig) -> list[Check]:
    """What is asked of a model by itself."""
    checks = [_limit("size in bytes", challenger.n_bytes, policy.max_bytes)]
    checks.append(_limit("median ms to score a user", challenger.latency_ms, policy.max_latency_ms))
    if challenger.judged_users is not None:
        judged = challenger.judged_users
        checks.append(Check(name="test users that can be judged", value=judged, limit=">= 1", passed=judged >= 1))
    return checks


def _held_against(challenger: Candidate, champion: Candidate | None, policy: RegistryConfig) -> list[Check]:
    """Coverage, popularity and the groups of users, as a share of the champion's."""
    coverage, popularity, groups = (champion.coverage, champion.popularity, champion.groups) if champion else [None] * 3
    most = Bound("<=", policy.max_popularity_ratio)
    return [
        _relative("item coverage@10", challenger.coverage, coverage, Bound(">=", policy.min_coverage_ratio)),
        _relative("mean item popularity@10", challenger.popularity, popularity, most),
        _worst_group(challenger.groups, groups, policy),
    ]


def _why_not(checks: list[Check], difference: Difference | None) -> list[str]:
    worse = difference is not None and difference.high < 0
    failed = [_reason(check) for check in checks if not check.passed]
    return [*failed, "the champion is better beyond chance"] if worse else failed


def _why_promoted(challenger: Candidate, champion: Candidate | None, difference: Difference | None) -> list[str]:
    if champion is None or difference is None:
        best = challenger.best_rival
        beside = (
            ""
            if best is None
            else f" not shown to be worse than {best.name} ({fmt.signed(best.mean)}, {fmt.signed(best.low)} to {fmt.signed(best.high)}),"
        )
        return [f"the first model of its name: no champion to compare with,{beside} and every other guardrail holds"]
    return [
        f"NDCG@10 is {fmt.signed(difference.mean)} against champion version {champion.version} "
        f"({fmt.signed(difference.low)} to {fmt.signed(difference.high)}), and every guardrail holds"
    ]


def _first(challenger: Candidate, level: str, policy: RegistryConfig) -> list[Check]:
    """What is asked of a first champion alone."""
    checks, best, gap_closed = [], challenger.best_rival, challenger.gap_closed
    name = "NDCG@10 minus that of the best other model of its size"
    if not policy.first_not_worse:
        checks.append(_passes(name, None if best is None else best.mean, OFF))
    elif best is None:
        checks.append(_passes(name, None, "not applicable: no other model of its size was trained"))
    else:
        against = f"against {best.name}: {fmt.signed(best.mean)} ({fmt.signed(best.low)} to {fmt.signed(best.high)})"
        checks.append(
            Check(
                name=f"{name}, upper end of the {level} interval",
                value=best.high,
                limit=">= 0",
                passed=best.high >= 0,
                detail=against,
            )
        )
    if policy.min_gap_closed is not None and gap_closed is None:
        checks.append(
            _passes(
                "gap closed", None, "not applied: there is no gap between the teacher and the no-distillation baseline"
            )
        )
    elif policy.min_gap_closed is not None and gap_closed is not None:
        passed = gap_closed >= policy.min_gap_closed
        checks.append(Check(name="gap closed", value=gap_closed, limit=f">= {policy.min_gap_closed}", passed=passed))
    return checks


def _limit(name: str, value: float, limit: float | None) -> Check:
    return Check(
        name=name, value=value, limit="none" if limit is None else f"<= {limit}", passed=limit is None or value <= limit
    )


class Bound(NamedTuple):
    """A multiple of the champion's that has to be reached or must not be exceeded; None: any will do."""

    sign: Literal[">=", "<="]
    ratio: float | None


def _relative(name: str, value: float, theirs: float | None, bound: Bound, where: str = "") -> Check:
    if bound.ratio is None:
        return _passes(name, value, OFF)
    if theirs is None:
        return _passes(name, value, NO_CHAMPION)
    limit = bound.ratio * theirs
    passed = value >= limit * (1 - ROUNDING) if bound.sign == ">=" else value <= limit * (1 + ROUNDING)
    detail = _against(value, theirs) + where
    return Check(name=name, value=value, limit=f"{bound.sign} {_number(limit)}", passed=passed, detail=detail)


def _passes(name: str, value: float | None, why: str) -> Check:
    """A check that asks for nothing."""
    return Check(name=name, value=value, limit="none", passed=True, detail=why)


def _worst_group(groups: tuple[Group, ...], theirs: tuple[Group, ...] | None, policy: RegistryConfig) -> Check:
    """The group of users that loses most against the champion, of those that are large enough to tell."""
    name = "NDCG@10 of the worst user group"
    if policy.min_group_ratio is None:
        return _passes(name, None, OFF)
    if theirs is None:
        return _passes(name, None, NO_CHAMPION)
    if [(g["group"], g["users"]) for g in groups] != [(g["group"], g["users"]) for g in theirs]:
        raise ValueError("challenger and champion were judged on different users: their groups cannot be compared")
    pairs = [
        (mine, other) for mine, other in zip(groups, theirs, strict=True) if mine["users"] >= policy.min_group_users
    ]
    small = [f"{g['group']} ({g['users']})" for g in groups if g["users"] < policy.min_group_users]
    fewer = f"fewer than {policy.min_group_users} test users"
    if not pairs:
        return _passes(name, None, f"not applicable: every group has {fewer}: {', '.join(small)}")
    mine, other = min(pairs, key=lambda pair: pair[0][METRIC] / pair[1][METRIC] if pair[1][METRIC] else float("inf"))
    where = f", in the group of {mine['group']} ({mine['users']} test users)"
    check = _relative(name, mine[METRIC], other[METRIC], Bound(">=", policy.min_group_ratio), where)
    if small:
        check = check.model_copy(
            update={"detail": f"{check.detail}, without the groups of {fewer}: {', '.join(small)}"}
        )
    return check


def _against(value: float, theirs: float) -> str:
    if not theirs:
        return "the champion's is 0"
    change = 100 * (value / theirs - 1)
    return f"{abs(change):.1f} % {'below' if change < 0 else 'above'} the champion's {_number(theirs)}"


def _reason(check: Check) -> str:
    """Why a check failed, in a sentence."""
    return f"{check.name} is {_number(check.value)}, required {check.limit}" + (
        f": {check.detail}" if check.detail else ""
    )


def _number(value: float | None) -> str:
    return "not known" if value is None else fmt.plain(value)
