"""Is a difference between two models more than chance? Paired bootstrap over users.

The users are the sample: a resample draws as many users with replacement and keeps each user's values together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FloatVector = npt.NDArray[np.floating]


@dataclass(frozen=True)
class Difference:
    """Mean difference over users with its percentile interval.

    Attributes:
        mean: the mean of a − b.
        low, high: ends of the interval.
        p_value: two-sided, of no difference; never below 2 / (samples + 1).
    """

    mean: float
    low: float
    high: float
    p_value: float


@dataclass(frozen=True)
class Interval:
    """A quantity with its percentile interval; a part that cannot be told is None and ``reason`` says why.

    Attributes:
        value: the estimate.
        low, high: ends of the interval.
        confidence: its level.
        reason: why ``value`` or the interval is None; empty otherwise.
    """

    value: float | None
    low: float | None
    high: float | None
    confidence: float
    reason: str = ""


def paired_bootstrap(
    a: FloatVector, b: FloatVector, *, samples: int = 2000, confidence: float = 0.95, rng: np.random.Generator
) -> Difference:
    """Mean of a − b over users, percentile interval and two-sided p-value.

    The p-value is the interval's other side: twice the share of the resampled means on the rarer side of zero.

    Args:
        a, b: (n,) values of the same users under two models.
        samples: number of resamples.
        confidence: level of the interval, in (0, 1).
        rng: source of the resamples.

    Raises:
        ValueError: no users, different lengths, or a value that is not finite.
    """
    (difference,) = _differences([(a, b)], confidence)
    means = _resampled_means([difference], samples, rng)[:, 0]
    return percentile_interval(float(difference.mean()), means, confidence)


def percentile_interval(estimate: float, resampled: FloatVector, confidence: float) -> Difference:
    """A difference with the interval and the two-sided p-value that its resamples (m,) give."""
    low, high = _percentiles(resampled, confidence)
    rarer = min(int((resampled <= 0).sum()), int((resampled >= 0).sum()))
    return Difference(mean=estimate, low=low, high=high, p_value=min(1.0, 2 * (rarer + 1) / (len(resampled) + 1)))


def gap_closed(
    student: FloatVector,
    scratch: FloatVector,
    teacher: FloatVector,
    *,
    samples: int = 2000,
    confidence: float = 0.95,
    rng: np.random.Generator,
) -> Interval:
    """(student − scratch) / (teacher − scratch), means over the same users; both gaps are resampled together.

    Without a teacher that beats scratch beyond chance there is no gap to close: value and ends are None, and the reason says
    which of both it is. Otherwise the few resamples without a lead are left out.

    Args:
        student, scratch, teacher: (n,) values of the same users.
        samples: number of resamples.
        confidence: level of the interval, in (0, 1).
        rng: source of the resamples.

    Raises:
        ValueError: no users, different lengths, or a value that is not finite.
    """
    gain, gap = _differences([(student, scratch), (teacher, scratch)], confidence)
    lead = float(gap.mean())
    if lead <= 0:
        reason = f"the teacher does not beat the no-distillation baseline (mean difference {lead:.4f}): no gap to close"
        return Interval(None, None, None, confidence, reason)
    means = _resampled_means([gain, gap], samples, rng)
    leading = means[:, 1] > 0
    without_lead = 1.0 - float(leading.mean())
    if without_lead > (1 - confidence) / 2:
        reason = (
            f"the teacher's lead over the no-distillation baseline (mean difference {lead:+.4f}) may be chance: "
            f"it is gone in {without_lead:.1%} of the resamples"
        )
        return Interval(None, None, None, confidence, reason)
    low, high = _percentiles(means[leading, 0] / means[leading, 1], confidence)
    return Interval(float(gain.mean()) / lead, low, high, confidence)


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Holm's step-down correction: p-values that bound the chance of any false claim among all comparisons.

    Ascending p_(1) <= ... <= p_(m): max over j <= i of min(1, (m − j + 1) · p_(j)). Source: Holm 1979.

    Raises:
        ValueError: a p-value outside [0, 1].
    """
    for name, p_value in p_values.items():
        if not 0.0 <= p_value <= 1.0:
            raise ValueError(f"the p-value of {name!r} must lie in [0, 1], got {p_value}")
    adjusted: dict[str, float] = {}
    highest = 0.0
    for rank, name in enumerate(sorted(p_values, key=lambda name: p_values[name])):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[name]))
        adjusted[name] = highest
    return {name: adjusted[name] for name in p_values}


def _differences(pairs: Sequence[tuple[FloatVector, FloatVector]], confidence: float) -> list[npt.NDArray[np.float64]]:
    """Paired differences in float64 after checking what came in."""
    if not 0.0 < confidence < 1.0:
        raise ValueError(f"confidence must lie in (0, 1), got {confidence}")
    differences = []
    for a, b in pairs:
        if a.shape != b.shape or a.ndim != 1 or len(a) == 0:
            raise ValueError(f"need one value a user for the same users, got shapes {a.shape} and {b.shape}")
        difference = a.astype(np.float64) - b
        if not np.isfinite(difference).all():
            raise ValueError(f"the value of user {int(np.flatnonzero(~np.isfinite(difference))[0])} is not finite")
        differences.append(difference)
    return differences


def _resampled_means(
    columns: Sequence[npt.NDArray[np.float64]], samples: int, rng: np.random.Generator
) -> npt.NDArray[np.float64]:
    """Means (samples, len(columns)) of each column over the same resampled users.

    Most users are alike under both models (no hit at all) and add 0: how many of a resample's n draws fall on the m
    others is binomial(n, m/n), and only those need drawing. Time O(samples · m), memory O(m).

    Raises:
        ValueError: samples < 1.
    """
    if samples < 1:
        raise ValueError(f"samples must be at least 1, got {samples}")
    n = len(columns[0])
    matters = np.any([column != 0 for column in columns], axis=0)
    kept = [column[matters] for column in columns]
    m = len(kept[0])
    sums = np.zeros((samples, len(columns)))
    for sample, size in enumerate(rng.binomial(n, m / n, size=samples)):
        if size:
            drawn = rng.integers(0, m, size=size, dtype=np.int32)
            sums[sample] = [column[drawn].sum() for column in kept]
    return sums / n


def _percentiles(values: FloatVector, confidence: float) -> tuple[float, float]:
    """The central interval that holds ``confidence`` of the values."""
    tail = (1 - confidence) / 2
    low, high = np.quantile(values, [tail, 1 - tail])
    return float(low), float(high)
