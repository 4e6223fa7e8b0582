"""Features of a user that the model does not know, from the items that the user has met."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from freqd.embeddings import FloatMatrix

ALPHA = 1.0
REGULARIZATION = 1.0


def fold_in(
    met: FloatMatrix, gram: npt.NDArray[np.float64], *, alpha: float = ALPHA, regularization: float = REGULARIZATION
) -> npt.NDArray[np.float32]:
    """The vector of a new user who met the items H, the item features Y staying as they are.

    It minimises Σ_i c_i (p_i − x·y_i)² + ρ‖x‖², with p_i = 1, c_i = 1 + alpha on H and p_i = 0, c_i = 1 elsewhere:

        x = (YᵀY + alpha · Y_HᵀY_H + ρ I)⁻¹ (1 + alpha) Σ_{i ∈ H} y_i,   ρ = regularization · trace(YᵀY) / d

    which is half a sweep of ALS (Hu, Koren & Volinsky, ICDM 2008) for one user, with ρ relative to the scale of
    the features, since other models than ALS have no scale of their own. O(|H| · d² + d³).

    Args:
        met: (|H|, d) features of the items met, each once.
        gram: (d, d) YᵀY of all items.
        alpha: extra weight of the items met, >= 0.
        regularization: >= 0.

    Returns:
        (d,) float32.
    """
    met = met.astype(np.float64)
    ridge = regularization * np.trace(gram) / len(gram)
    left = gram + alpha * (met.T @ met) + ridge * np.eye(len(gram))
    # least squares, so that features of less than full rank without regularization are no error
    solution = np.linalg.lstsq(left, (1.0 + alpha) * met.sum(axis=0), rcond=None)[0]
    vector: npt.NDArray[np.float32] = solution.astype(np.float32)
    return vector
