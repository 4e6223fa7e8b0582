"""A low-pass teacher: the smooth part of the bipartite graph of users and items, without a training.

The singular vectors of Ã = D_u^-a R D_i^-b with large singular values s are the low frequencies of the bipartite graph (for
a = b = 1/2 its normalised Laplacian has the eigenvalues 1 − s and 1 + s on them). So features made of the first of them,

    user = row of U s^p to unit length,    item = row of V s^p · degree^q

are an ideal low-pass filter of the interactions with a soft edge, p, and a share of popularity, q. The idea is that of
GF-CF (Shen et al., "How Powerful is Graph Convolution for Recommendation?", CIKM 2021). One SVD serves all smaller numbers
of factors and all p and q: trying one costs a validation.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from time import perf_counter

import numpy as np
import numpy.typing as npt
from scipy import sparse

from freqd.embeddings import Embeddings, ModelInfo, TrainedModel, Trial
from freqd.evaluate.validation import Validation
from freqd.teachers.randomized_svd import TruncatedSvd, randomized_svd
from freqd.training.environment import TrainingEnvironment


@dataclass(frozen=True, eq=False)
class LowpassFactors:
    """Singular values and vectors of D_u^-a R D_i^-b.

    Attributes:
        svd: its largest singular values.
        degrees: (n_items,) train interactions of each item.
    """

    svd: TruncatedSvd
    degrees: npt.NDArray[np.int64]


@dataclass(frozen=True)
class LowpassGrid:
    """What to search.

    Attributes:
        factors: sizes; those beyond the smaller side of the data count as that.
        degree_exponents: pairs (a, b) of users and items in the normalisation; each costs an SVD.
        spectrum: exponents p of the singular values.
        item_degree: exponents q of the items' degrees.
    """

    factors: Sequence[int]
    degree_exponents: Sequence[tuple[float, float]] = ((0.5, 0.5),)
    spectrum: Sequence[float] = (0.0, 0.5, 1.0)
    item_degree: Sequence[float] = (0.0, 0.25, 0.5, 0.75)


def degree_power(degrees: npt.NDArray[np.integer], exponent: float) -> npt.NDArray[np.float64]:
    """degree^exponent, (n,) float64; 0 where the degree is 0, whatever the exponent."""
    counts = degrees.astype(np.float64)
    powers: npt.NDArray[np.float64] = np.where(counts > 0, np.maximum(counts, 1.0) ** exponent, 0.0)
    return powers


def normalized(train: sparse.csr_array, alpha_user: float, alpha_item: float) -> sparse.csr_array:
    """D_u^-a R D_i^-b, float32 CSR of the pattern of ``train``."""
    user_degrees = np.diff(train.indptr)
    left = np.repeat(degree_power(user_degrees, -alpha_user), user_degrees)
    right = degree_power(item_degrees(train), -alpha_item)[train.indices]
    return sparse.csr_array(((left * right).astype(np.float32), train.indices, train.indptr), shape=train.shape)


def item_degrees(train: sparse.csr_array) -> npt.NDArray[np.int64]:
    """Interactions of each item, (n_items,)."""
    counts: npt.NDArray[np.int64] = np.bincount(train.indices, minlength=train.shape[1])
    return counts


def lowpass_factors(
    train: sparse.csr_array, rank: int, *, seed: int, alpha_user: float = 0.5, alpha_item: float = 0.5
) -> LowpassFactors:
    """The truncated SVD of D_u^-a R D_i^-b; see ``randomized_svd`` for its cost.

    Args:
        train: (n_users, n_items) CSR; only the pattern counts.
        rank: how many singular values, at least 1; no more than the smaller side are found.
        seed: of the random projection.
        alpha_user, alpha_item: a and b.
    """
    matrix = normalized(train, alpha_user, alpha_item)
    return LowpassFactors(randomized_svd(matrix, min(rank, *train.shape), seed=seed), item_degrees(train))


def lowpass_table(factors: LowpassFactors, dim: int, *, spectrum: float = 0.5, item_degree: float = 0.5) -> Embeddings:
    """Features of the first ``dim`` singular vectors; a user or item without any interaction has a row of zeros.

    Args:
        factors: of at least ``dim`` singular values.
        dim: embedding dimension.
        spectrum: p.
        item_degree: q.

    Raises:
        ValueError: there are fewer than ``dim`` singular values.
    """
    svd = factors.svd
    if not 1 <= dim <= len(svd.sizes):
        raise ValueError(f"dim must lie between 1 and the {len(svd.sizes)} singular values that there are, got {dim}")
    scale = np.where(svd.sizes[:dim] > 0, svd.sizes[:dim] ** spectrum, 0.0)
    users, items = svd.left[:, :dim] * scale, svd.right[:, :dim] * scale
    lengths = np.sqrt(np.einsum("ij,ij->i", users, users))[:, None]
    np.divide(users, lengths, out=users, where=lengths > 0)
    items *= degree_power(factors.degrees, item_degree)[:, None]
    return Embeddings(users.astype(np.float32), items.astype(np.float32))


def search_lowpass(data: Validation, grid: LowpassGrid, environment: TrainingEnvironment) -> TrainedModel:
    """The best low-pass table of a grid by validation NDCG@10; at equal values the one that was tried first.

    Cost: an SVD of the largest size for each pair of degree exponents, and a validation for each setting.

    Args:
        data: what to learn from and to be judged by.
        grid: the values.
        environment: seed and progress.

    Returns:
        The model; its ``info`` has kind, factors, alpha_user, alpha_item, spectrum, item_degree, valid_ndcg_at_10,
        seconds and trials, one row a setting.
    """
    started = perf_counter()
    sizes = sorted({min(size, *data.train.shape) for size in grid.factors})
    settings = list(product(sizes, grid.spectrum, grid.item_degree))
    best: Embeddings | None = None
    best_ndcg, winner = -math.inf, Trial()
    trials: list[Trial] = []
    for number, (alpha_user, alpha_item) in enumerate(grid.degree_exponents):
        own = environment.piece(
            number, len(grid.degree_exponents), f"low-pass, degrees^{alpha_user:g} and {alpha_item:g}: "
        )
        own.progress(0.0, f"{sizes[-1]} singular vectors")
        found = lowpass_factors(
            data.train, sizes[-1], seed=environment.seed, alpha_user=alpha_user, alpha_item=alpha_item
        )
        for done, (factors, spectrum, item_degree) in enumerate(settings, start=1):
            began = perf_counter()
            table = lowpass_table(found, factors, spectrum=spectrum, item_degree=item_degree)
            ndcg = data(table)
            trial: Trial = {
                "factors": factors,
                "alpha_user": alpha_user,
                "alpha_item": alpha_item,
                "spectrum": spectrum,
                "item_degree": item_degree,
                "valid_ndcg_at_10": ndcg,
                "seconds": round(perf_counter() - began, 3),
            }
            trials.append(trial)
            own.progress(done / len(settings), f"{factors} factors, validation NDCG@10 {ndcg:.4f}")
            if ndcg > best_ndcg:
                best, best_ndcg, winner = table, ndcg, trial
    if best is None:
        raise ValueError("the grid is empty")
    info: ModelInfo = {
        "kind": "lowpass",
        "factors": winner["factors"],
        "alpha_user": winner["alpha_user"],
        "alpha_item": winner["alpha_item"],
        "spectrum": winner["spectrum"],
        "item_degree": winner["item_degree"],
        "valid_ndcg_at_10": best_ndcg,
        "seconds": round(perf_counter() - started, 3),
        "trials": trials,
    }
    return TrainedModel(best, info=info)
