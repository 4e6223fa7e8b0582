"""Dense references for the sparse and approximate routines, written as the definitions read; and data to try them on."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from freqd.data.interactions import Interactions


def grocery_like(
    seed: int, n_users: int = 300, n_items: int = 200, groups: int = 6, mean: float = 12.0
) -> Interactions:
    """Interactions with groups of taste, popular items, and a few users and items without any interaction."""
    rng = np.random.default_rng(seed)
    user_group = rng.integers(0, groups, n_users)
    item_group = rng.integers(0, groups, n_items)
    popularity = 1.0 / (1.0 + rng.permutation(n_items)) ** 0.7
    rows, columns = [], []
    for user in range(n_users - 3):
        weight = popularity * np.where(item_group == user_group[user], 8.0, 1.0)
        weight[-4:] = 0.0
        count = min(1 + rng.poisson(mean), n_items - 4)
        taken = rng.choice(n_items, size=count, replace=False, p=weight / weight.sum())
        rows += [user] * count
        columns += taken.tolist()
    return Interactions(np.array(rows, np.int32), np.array(columns, np.int32), n_users, n_items)


def dense_cooccurrence(incidence: np.ndarray, k: int) -> np.ndarray:
    """A before symmetrising: the K largest positive counts of each row of R Rᵀ without its diagonal, low id first."""
    counts = incidence @ incidence.T
    return keep_largest(counts, k)


def dense_cosine(features: np.ndarray, k: int) -> np.ndarray:
    """The K largest positive cosines of each row, never the row itself."""
    length = np.linalg.norm(features.astype(np.float64), axis=1, keepdims=True)
    unit = np.divide(features, length, out=np.zeros(features.shape), where=length > 0)
    return keep_largest(unit @ unit.T, k)


def keep_largest(scores: np.ndarray, k: int) -> np.ndarray:
    kept = np.zeros_like(scores)
    for row in range(len(scores)):
        others = [other for other in range(len(scores)) if other != row and scores[row, other] > 0]
        for other in sorted(others, key=lambda other: (-scores[row, other], other))[:k]:
            kept[row, other] = scores[row, other]
    return kept


def dense_norm_adj(adjacency: np.ndarray) -> np.ndarray:
    """D^-1/2 A D^-1/2, with zero rows where a node is isolated."""
    degree = adjacency.sum(axis=1)
    result = np.zeros(adjacency.shape)
    for i, j in zip(*np.nonzero(adjacency), strict=True):
        result[i, j] = adjacency[i, j] / np.sqrt(degree[i] * degree[j])
    return result


def dense_spectrum(norm_adj: sparse.csr_array) -> tuple[np.ndarray, np.ndarray]:
    """λ and Q of L = I − Â."""
    return np.linalg.eigh(np.eye(norm_adj.shape[0]) - norm_adj.toarray().astype(np.float64))


def dense_function(spectrum: tuple[np.ndarray, np.ndarray], function) -> np.ndarray:
    """Q diag(h(λ)) Qᵀ."""
    values, vectors = spectrum
    return (vectors * function(values)) @ vectors.T


def dense_band_energies(norm_adj: sparse.csr_array, signal: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """‖Q_bᵀ X‖² of each band [a, b), the last one closed."""
    values, vectors = dense_spectrum(norm_adj)
    power = ((vectors.T @ signal.astype(np.float64)) ** 2).sum(axis=1)
    band = np.clip(np.searchsorted(edges, values + 1e-6, side="right") - 1, 0, len(edges) - 2)
    return np.bincount(band, weights=power, minlength=len(edges) - 1)
