"""What a model loses with its age, against a fresh one on the same users and windows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from freqd.config import EvaluateConfig
from freqd.evaluate.significance import Difference, paired_bootstrap

FloatVector = npt.NDArray[np.floating]


@dataclass(frozen=True, eq=False)
class Sample:
    """Two models on one window, over the users that both were judged on.

    Attributes:
        users: (n,) who, as rows that mean the same in every window.
        fresh, other: (n,) a metric of each user.
    """

    users: npt.NDArray[np.integer]
    fresh: FloatVector
    other: FloatVector

    @classmethod
    def of(
        cls,
        fresh: tuple[npt.NDArray[np.integer], FloatVector],
        other: tuple[npt.NDArray[np.integer], FloatVector],
    ) -> Sample:
        """From (users, values) of each model, users ascending; users that only one was judged on are left out."""
        users, mine, theirs = np.intersect1d(fresh[0], other[0], assume_unique=True, return_indices=True)
        return cls(users, fresh[1][mine], other[1][theirs])


@dataclass(frozen=True)
class StalenessEffect:
    """One model against a fresh one, windows taken together.

    Attributes:
        windows: windows that are in it.
        users: different users; each counts once, by the mean over the windows in which there was something to judge.
        fresh, other: mean of the metric.
        loss: fresh minus other, with its interval over the users.
    """

    windows: int
    users: int
    fresh: float
    other: float
    loss: Difference


def aging(samples: Sequence[Sample], config: EvaluateConfig, rng: np.random.Generator) -> StalenessEffect | None:
    """Put windows together: a mean a user, then the paired bootstrap over users.

    A user who is there in several windows is one draw of the bootstrap, since what they do in one window is related to the next.

    Args:
        samples: one a window; those without users say nothing.
        config: level and resamples of the interval.
        rng: source of the resamples.

    Returns:
        None if there is no user at all.
    """
    told = [sample for sample in samples if len(sample.users)]
    if not told:
        return None
    fresh, other = compared(told)
    loss = paired_bootstrap(fresh, other, samples=config.bootstrap_samples, confidence=config.confidence, rng=rng)
    return StalenessEffect(len(told), len(fresh), float(fresh.mean()), float(other.mean()), loss)


def compared(samples: Sequence[Sample]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """(n_users,) each: every user's mean over the windows, of the fresh model and of the other one."""
    users, row = np.unique(np.concatenate([sample.users for sample in samples]), return_inverse=True)
    counts = np.bincount(row, minlength=len(users))

    def mean(values: list[FloatVector]) -> npt.NDArray[np.float64]:
        sums = np.bincount(row, weights=np.concatenate(values).astype(np.float64), minlength=len(users))
        return np.asarray(sums / counts, np.float64)

    return mean([sample.fresh for sample in samples]), mean([sample.other for sample in samples])
