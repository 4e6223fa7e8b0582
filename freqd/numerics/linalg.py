"""Small dense systems."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

RIDGE = 1e-6
"""Of the mean of the diagonal: enough that a system without full rank has a solution, too little to show."""

Float64 = npt.NDArray[np.float64]


def ridge(gram: Float64, right: npt.NDArray[np.floating]) -> Float64:
    """The least-squares map W = (XᵀX + εI)⁻¹ XᵀY, ε = ``RIDGE`` · trace(XᵀX)/d.

    Args:
        gram: XᵀX, (d, d).
        right: XᵀY, (d, m).
    """
    gram = gram + (RIDGE * np.trace(gram) / len(gram) + 1e-12) * np.eye(len(gram))
    solution: Float64 = np.linalg.solve(gram, right)
    return solution
