"""How many eigenvalues lie in each band, without computing one."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import sparse

from freqd.spectral.chebyshev import band_coefficients, spectral_moments

FloatArray = npt.NDArray[np.float64]


def stochastic_density(
    norm_adj: sparse.csr_array, edges: FloatArray, *, degree: int, probes: int, rng: np.random.Generator
) -> FloatArray:
    """Share of the eigenvalues in each band, (bands,) float64 with sum 1.

    tr h_b(L)/n is estimated by the mean of zᵀ h_b(L) z/n over random sign vectors z (Hutchinson 1990), with the
    Jackson-damped h_b of degree 2·degree. Standard error of a share: below sqrt(1/(2·n·probes)).

    Cost: O(degree · nnz · probes) time, O(n · probes) memory.
    """
    n = norm_adj.shape[0]
    signs = rng.integers(0, 2, size=(n, probes), dtype=np.int8).astype(np.float32) * 2.0 - 1.0
    moments = spectral_moments(norm_adj, signs.astype(np.float32, copy=False), degree)
    density: FloatArray = band_coefficients(edges, 2 * degree) @ moments / moments[0]
    return density
