"""What the differences between methods are worth, over users and over seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial

import numpy as np
import numpy.typing as npt
from scipy import stats

from freqd.config import EvaluateConfig
from freqd.evaluate.significance import Interval, gap_closed, holm, paired_bootstrap
from freqd.report.comparison_result import PairwiseTest, SeedStatistics

PerUser = npt.NDArray[np.floating]
ALONE = "scratch"
"""Where the gap begins, and what every method is tested against unless another one is named."""


def compare_methods(
    values: Mapping[str, PerUser], teacher: PerUser, config: EvaluateConfig, *, seed: int, against: str = ALONE
) -> dict[str, tuple[Interval | None, PairwiseTest | None]]:
    """How much of the gap each method closes, and its paired test against one of them, corrected for their number.

    Args:
        values: by method, among them ``scratch``: (n_users,) NDCG@10, means over the seeds.
        teacher: (n_users,) of the same users.
        config: resamples and level of the intervals.
        seed: of the resamples, the same ones for every method.
        against: the method that the others are tested against.

    Returns:
        By method; None in the place of the gap of ``scratch``, and of the test of ``against``.
    """
    samples, confidence = config.bootstrap_samples, config.confidence
    bootstrap = partial(paired_bootstrap, samples=samples, confidence=confidence)
    differences = {
        method: bootstrap(mine, values[against], rng=np.random.default_rng(seed))
        for method, mine in values.items()
        if method != against
    }
    corrected = holm({method: difference.p_value for method, difference in differences.items()})
    tests = {m: PairwiseTest(**asdict(difference), p_holm=corrected[m]) for m, difference in differences.items()}

    def gap(method: str) -> Interval | None:
        if method == ALONE:
            return None
        three = values[method], values[ALONE], teacher
        return gap_closed(*three, samples=samples, confidence=confidence, rng=np.random.default_rng(seed))

    return {method: (gap(method), tests.get(method)) for method in values}


def over_seeds(values: Sequence[float], confidence: float) -> SeedStatistics:
    """Mean over seeds with Student's t interval, mean ± t · s / √n; with one seed the ends are not known (None)."""
    mean, n = float(np.mean(values)), len(values)
    if n < 2:
        return SeedStatistics(mean=mean, low=None, high=None, values=tuple(values))
    half = float(stats.t.ppf((1 + confidence) / 2, n - 1) * np.std(values, ddof=1) / np.sqrt(n))
    return SeedStatistics(mean=mean, low=mean - half, high=mean + half, values=tuple(values))
