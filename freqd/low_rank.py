"""The best approximation of a table's scores by fewer numbers: of a teacher at the student's size, the student without any training."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from freqd.embeddings import Embeddings

Float64 = npt.NDArray[np.float64]

SMALLEST = 1e-14
"""Eigenvalues of a Gram matrix below this share of the largest are rounding errors of it."""


def low_rank(features: Embeddings, dim: int) -> Embeddings:
    """The rank-``dim`` features whose scores are nearest to these in the Frobenius norm (Eckart-Young).

    The score matrix U Vᵀ is never formed: with UᵀU = R_uᵀ R_u, VᵀV = R_vᵀ R_v and the small SVD R_u R_vᵀ = A Σ Bᵀ, the nearest
    are U R_u⁺ A_d Σ_d^½ and V R_v⁺ B_d Σ_d^½. Cost O((n_users + n_items) D² + D³), in float64.

    Args:
        features: (n_users, D) and (n_items, D).
        dim: d >= 1; columns beyond the rank of the score matrix are zero.

    Raises:
        ValueError: ``dim`` is below 1.
    """
    if dim < 1:
        raise ValueError(f"dim must be at least 1, got {dim}")
    left, right = features.users.astype(np.float64), features.items.astype(np.float64)
    left_root, left_inverse = _root(left)
    right_root, right_inverse = _root(right)
    rotation_left, sizes, rotation_right = np.linalg.svd(left_root @ right_root.T, full_matrices=False)
    rank = min(dim, len(sizes))
    root = np.sqrt(sizes[:rank])
    users = np.zeros((len(left), dim), np.float32)
    items = np.zeros((len(right), dim), np.float32)
    users[:, :rank] = left @ (left_inverse @ (rotation_left[:, :rank] * root))
    items[:, :rank] = right @ (right_inverse @ (rotation_right[:rank].T * root))
    return Embeddings(users=users, items=items)


def _root(table: Float64) -> tuple[Float64, Float64]:
    """R (D, D) with tableᵀ table = Rᵀ R, and R⁺; rows and columns beyond the rank are zero."""
    values, vectors = np.linalg.eigh(table.T @ table)
    root = np.sqrt(np.where(values > SMALLEST * values[-1], values, 0.0))
    return (vectors * root).T, vectors * np.divide(1.0, root, out=np.zeros_like(root), where=root > 0.0)
