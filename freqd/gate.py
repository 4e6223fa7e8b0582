"""The gate between a trained student and production: a pure judgement on numbers, with its reasons."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

from freqd.config import EvaluateConfig, RegistryConfig
from freqd.evaluate.significance import paired_bootstrap

PROMOTED, NOT_PROMOTED, WAITING = "promoted", "not promoted", "waiting for approval"
"""The words of a verdict."""


class Candidate(BaseModel):
    """What the gate needs to know of a model."""

    model_config = ConfigDict(frozen=True)

    version: str
    ndcg: float
    coverage: float
    n_bytes: int
    latency_ms: float


class Check(BaseModel):
    """One condition of the gate."""

    model_config = ConfigDict(frozen=True)

    name: str
    value: float | None
    limit: str
    passed: bool


class Verdict(BaseModel):
    """Whether the challenger becomes champion, and why or why not."""

    model_config = ConfigDict(frozen=True)

    promoted: bool
    verdict: str
    reasons: list[str]
    checks: list[Check]
    champion: str | None
    difference: dict[str, Any] | None


def judge(
    challenger: Candidate,
    champion: Candidate | None,
    per_user: tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]] | None,
    gap_closed: float | None,
    policy: RegistryConfig,
    evaluation: EvaluateConfig,
    rng: np.random.Generator,
) -> Verdict:
    """Compare the challenger with the champion and the guardrails.

    The challenger is better if the lower end of the paired bootstrap interval of its NDCG@10 minus the champion's,
    over the same test users, exceeds ``policy.margin``. Every guardrail must hold as well.

    Args:
        challenger: the new model.
        champion: the present one, or None for a first model, which only has to pass the guardrails.
        per_user: NDCG@10 of challenger and champion for the same users, (n,) each; None without a champion.
        gap_closed: share of the gap scratch -> teacher that the challenger closes, or None if there is no gap.
        policy: margin and guardrails.
        evaluation: level and resamples of the interval.
        rng: source of the resamples.
    """
    checks = [_limit("size in bytes", challenger.n_bytes, policy.max_bytes)]
    checks.append(_limit("median ms to score a user", challenger.latency_ms, policy.max_latency_ms))
    difference = None
    if champion is None or per_user is None:
        if policy.min_gap_closed is not None:
            passed = gap_closed is not None and gap_closed >= policy.min_gap_closed
            checks.append(
                Check(name="gap closed", value=gap_closed, limit=f">= {policy.min_gap_closed}", passed=passed)
            )
    else:
        difference = asdict(
            paired_bootstrap(
                per_user[0],
                per_user[1],
                samples=evaluation.bootstrap_samples,
                confidence=evaluation.confidence,
                rng=rng,
            )
        )
        better = difference["low"] > policy.margin
        level = f"{100 * evaluation.confidence:g} %"
        checks.append(
            Check(
                name=f"NDCG@10 minus the champion's, lower end of the {level} interval",
                value=difference["low"],
                limit=f"> {policy.margin}",
                passed=better,
            )
        )
        floor = policy.min_coverage_ratio * champion.coverage
        checks.append(
            Check(
                name="item coverage@10",
                value=challenger.coverage,
                limit=f">= {floor:.4f}",
                passed=challenger.coverage >= floor,
            )
        )
    failed = [c for c in checks if not c.passed]
    reasons = [f"{c.name} is {_number(c.value)}, required {c.limit}" for c in failed]
    if failed:
        verdict = NOT_PROMOTED
        if difference is not None and difference["high"] < 0:
            reasons.append("the champion is better beyond chance")
    elif champion is None:
        verdict = PROMOTED
        reasons = ["the first model of its name, and every guardrail holds"]
    else:
        verdict = PROMOTED
        assert difference is not None
        reasons = [
            f"NDCG@10 is {difference['mean']:+.4f} against champion version {champion.version} "
            f"({difference['low']:+.4f} to {difference['high']:+.4f}), and every guardrail holds"
        ]
    return Verdict(
        promoted=not failed,
        verdict=verdict,
        reasons=reasons,
        checks=checks,
        champion=champion.version if champion else None,
        difference=difference,
    )


def _limit(name: str, value: float, limit: float | None) -> Check:
    return Check(
        name=name, value=value, limit="none" if limit is None else f"<= {limit}", passed=limit is None or value <= limit
    )


def _number(value: float | None) -> str:
    return "not known" if value is None else f"{value:.4g}"
