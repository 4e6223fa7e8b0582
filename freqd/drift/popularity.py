"""Item popularity before and after: PSI over groups of items, and the Kolmogorov-Smirnov distance."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

CountArray = npt.NDArray[np.int64]
GROUPS = 10
"""Groups of items for the PSI, the usual number."""


def psi(before: CountArray, after: CountArray) -> float:
    """Population stability index Σ_g (q_g − p_g) ln(q_g / p_g), symmetric and at least 0.

    It is the sum of the two Kullback-Leibler divergences. p and q are the shares of the groups with half a count added
    to each group, so that an empty group gives a large number and not infinity. Customary reading: below .1 no change
    to speak of, above .25 a major one. With samples of n and m it is (groups − 1)(1/n + 1/m) by chance alone.

    Args:
        before: (groups,) counts.
        after: (groups,) counts.
    """
    p, q = ((c + 0.5) / (c.sum() + 0.5 * len(c)) for c in (before, after))
    return float(np.sum((q - p) * np.log(q / p)))


def ks_distance(before: CountArray, after: CountArray) -> float:
    """Two-sample Kolmogorov-Smirnov statistic max_x |F(x) − G(x)|, in [0, 1].

    Args:
        before: (n,) counts of the values in their order; not all 0.
        after: (n,) counts of the same values; not all 0.
    """
    gap = np.cumsum(before) / before.sum() - np.cumsum(after) / after.sum()
    return float(np.abs(gap).max())
