"""The exact spectrum of a small graph: the reference that the polynomial routines are measured against."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import linalg

from freqd.graph import Graph

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Eigenpairs:
    """L = Q diag(λ) Qᵀ.

    Attributes:
        values: (n,) λ ascending in [0, 2], float64.
        vectors: (n, n) Q, one eigenvector a column, float64.
    """

    values: FloatArray
    vectors: FloatArray


def eigenpairs(graph: Graph) -> Eigenpairs:
    """All eigenpairs of L = I − Â by dense ``eigh``: O(n³) time, 24 n² bytes; for graphs of a few thousand nodes."""
    laplacian = np.eye(graph.n) - graph.norm_adj.astype(np.float64).toarray()
    values, vectors = linalg.eigh(laplacian, overwrite_a=True, check_finite=False, driver="evd")
    return Eigenpairs(np.clip(values, 0.0, 2.0), vectors)
