"""Who gains and who loses beyond chance: paired differences between two models within each group.

The users are the sample, for groups of items too, since a user's targets stand or fall together:

- **Users by activity**: the mean difference of NDCG@10 over the group's users.
- **Items by popularity**: the difference of the group's recall, Σ_u (a_u − b_u) / Σ_u t_u, where a user u has t_u targets in the
  group, of which a_u and b_u are among the first 10 of the two models. Users without a target in the group say nothing of
  it. Each hit counts alike, as in the group's recall itself: a mean of the users' own recalls would be ruled by those with one
  target.

Both are ratios of sums over users, so one set of resamples serves all groups and both models. A resample draws users, with what
they add to numerator and denominator: the size of a group varies from one to the next, as it would from one test to
the next. Each interval stands for its group alone; among many, one in twenty misses by chance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from freqd.evaluate.result import Evaluation
from freqd.evaluate.significance import Difference, percentile_interval
from freqd.numerics.jit import kernel
from freqd.numerics.threads import blocks_of

_WEIGHTS = 1 << 18
"""Users of a block of resamples, at the least one resample: 3 MiB, which stay in the processor's cache."""

Columns = npt.NDArray[np.float64]


@dataclass(frozen=True)
class GroupDifferences:
    """Differences in the order of the groups of ``Evaluation.groups``; None for a group without users or targets."""

    activity: tuple[Difference | None, ...]
    popularity: tuple[Difference | None, ...]


def group_differences(
    model: Evaluation, others: Sequence[Evaluation], *, samples: int, confidence: float, rng: np.random.Generator
) -> list[GroupDifferences]:
    """``model`` minus each of ``others`` in each group, with percentile intervals and two-sided p-values.

    Time O(samples · users · groups · others), in compiled code; memory 3 MiB or 12 bytes a user beside the columns.

    Args:
        model, others: evaluations of the same users on the same part.
        samples: number of resamples.
        confidence: level of the intervals, in (0, 1).
        rng: source of the resamples.

    Raises:
        ValueError: evaluations of different users.
    """
    if any(not np.array_equal(model.users, other.users) for other in others):
        raise ValueError("the evaluations are of different users")
    n_groups = len(model.groups["activity"])
    members = np.equal.outer(model.activity, np.arange(n_groups)).astype(np.float64)
    below = np.hstack([members, model.targets])
    above = [
        np.hstack([members * _ndcg_gain(model, other)[:, None], model.hits.astype(np.float64) - other.hits])
        for other in others
    ]
    found = _ratio_differences(np.hstack(above) if above else below[:, :0], below, samples, confidence, rng)
    width = below.shape[1]
    rows = [tuple(found[start : start + width]) for start in range(0, len(found), width)]
    return [GroupDifferences(row[:n_groups], row[n_groups:]) for row in rows]


def _ndcg_gain(model: Evaluation, other: Evaluation) -> npt.NDArray[np.float64]:
    return model.per_user["ndcg_at_10"].astype(np.float64) - other.per_user["ndcg_at_10"]


def _ratio_differences(
    above: Columns, below: Columns, samples: int, confidence: float, rng: np.random.Generator
) -> list[Difference | None]:
    """Σ above / Σ below over users (n, m · c) and (n, c), the columns of ``below`` repeated m times, and their resamples."""
    repeats = above.shape[1] // below.shape[1]
    total = np.tile(below.sum(axis=0), repeats)
    sums = _resampled_sums(np.hstack([above, below]), samples, rng)
    resampled_below = np.tile(sums[:, above.shape[1] :], repeats)
    found: list[Difference | None] = []
    for column in range(above.shape[1]):
        if not total[column]:
            found.append(None)
            continue
        there = resampled_below[:, column] > 0  # a resample may miss a small group
        ratios = sums[there, column] / resampled_below[there, column]
        found.append(percentile_interval(float(above[:, column].sum() / total[column]), ratios, confidence))
    return found


def _resampled_sums(columns: Columns, samples: int, rng: np.random.Generator) -> Columns:
    """Sums (samples, c) of the columns (n, c) over n users drawn with replacement, the same ones for all columns."""
    n = len(columns)
    sums = np.empty((samples, columns.shape[1]))
    for rows in blocks_of(samples, max(1, _WEIGHTS // n)):
        drawn = rng.integers(0, 1 << 32, size=(rows.stop - rows.start, n), dtype=np.uint32)
        times = np.zeros(drawn.shape)
        _count(drawn, times)
        np.matmul(times, columns, out=sums[rows])
    return sums


@kernel()
def _count(drawn: Any, times: Any) -> None:
    """How often each of n users is drawn, added to ``times`` (b, n): numbers below 2^32 (b, n), brought to n by a multiplication.

    No user's chance then differs from another's by more than n / 2^32 of it.
    """
    n = np.uint64(times.shape[1])
    for row in range(drawn.shape[0]):
        for place in range(drawn.shape[1]):
            times[row, (np.uint64(drawn[row, place]) * n) >> np.uint64(32)] += 1.0
