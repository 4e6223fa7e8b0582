"""The best approximation of a table's scores by fewer numbers: of a teacher at the student's size, the student without any training."""

from __future__ import annotations

import numpy as np

from freqd.embeddings import Embeddings


def low_rank(features: Embeddings, dim: int) -> Embeddings:
    """The rank-``dim`` features whose scores are nearest to these in the Frobenius norm (Eckart-Young).

    The score matrix U Vᵀ is never formed: with U = Q_u R_u, V = Q_v R_v and the small SVD R_u R_vᵀ = A Σ Bᵀ,
    the nearest are Q_u A_d Σ_d^½ and Q_v B_d Σ_d^½. Cost O((n_users + n_items) D² + D³), in float64.

    Args:
        features: (n_users, D) and (n_items, D).
        dim: d >= 1; columns beyond the rank of the score matrix are zero.

    Raises:
        ValueError: ``dim`` is below 1.
    """
    if dim < 1:
        raise ValueError(f"dim must be at least 1, got {dim}")
    left, left_factor = np.linalg.qr(features.users.astype(np.float64))
    right, right_factor = np.linalg.qr(features.items.astype(np.float64))
    rotation_left, sizes, rotation_right = np.linalg.svd(left_factor @ right_factor.T, full_matrices=False)
    rank = min(dim, len(sizes))
    root = np.sqrt(sizes[:rank])
    users = np.zeros((len(left), dim), np.float32)
    items = np.zeros((len(right), dim), np.float32)
    users[:, :rank] = left @ (rotation_left[:, :rank] * root)
    items[:, :rank] = right @ (rotation_right[:rank].T * root)
    return Embeddings(users=users, items=items)
