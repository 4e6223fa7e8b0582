"""Truncated SVD of a large matrix by random projections, with nothing larger than a few thin tables.

Halko, Martinsson & Tropp, "Finding structure with randomness", SIAM Review 2011: the range of A is found by multiplying
random columns by A and Aᵀ in turn, orthonormalised each time, and A restricted to it has a small SVD:

    Q = orth((A Aᵀ)^q A Ω),   C = Aᵀ Q,   CᵀC = W Σ² Wᵀ   =>   A ≈ (Q W) Σ (C W Σ⁻¹)ᵀ

Tables are float32; the small matrices, and the sums over rows that give them, are float64. Rows are worked on in fixed
blocks, whose results are added in order: the number of threads does not change the result.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import sparse

from freqd.embeddings import FloatMatrix
from freqd.numerics import threads

OVERSAMPLING = 16
"""Columns beyond the rank, which take up what the last ones miss."""

POWER = 4
"""Multiplications by A Aᵀ: what lies below the rank fades with the power 2 q + 1 of the ratio of singular values."""

MIN_RATIO = 1e-6
"""Directions below this share of the largest are rounding errors of float32."""

SPARSE_BLOCKS = 16
ROWS_A_BLOCK = 2048

Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class TruncatedSvd:
    """A ≈ left · diag(sizes) · rightᵀ; beyond the rank of A the sizes and columns are 0.

    Attributes:
        left: (n, rank) float32, orthonormal columns.
        sizes: (rank,) float64, the largest singular values, descending.
        right: (m, rank) float32, orthonormal columns.
    """

    left: FloatMatrix
    sizes: Float64
    right: FloatMatrix


def randomized_svd(
    matrix: sparse.csr_array | FloatMatrix,
    rank: int,
    *,
    seed: int,
    power: int = POWER,
    oversampling: int = OVERSAMPLING,
) -> TruncatedSvd:
    """The ``rank`` largest singular values of a matrix and their vectors.

    Cost: 2 (q + 1) products with rank + oversampling columns, and O((n + m) · rank²) for each; memory three tables
    of that many columns.

    Args:
        matrix: (n, m) float32, CSR or dense.
        rank: at least 1.
        seed: of the random columns.
        power: q.
        oversampling: columns beyond the rank.

    Raises:
        ValueError: ``rank`` is below 1.
    """
    if rank < 1:
        raise ValueError(f"rank must be at least 1, got {rank}")
    n_rows, n_columns = matrix.shape
    turned = matrix.T if isinstance(matrix, np.ndarray) else matrix.T.tocsr()
    width = min(rank + oversampling, n_rows, n_columns)
    columns = np.random.default_rng(seed).standard_normal((n_columns, width), dtype=np.float32)
    with threads.one_blas_thread():
        basis = _orthonormal(_product(matrix, columns))
        for _ in range(power):
            basis = _orthonormal(_product(matrix, _orthonormal(_product(turned, basis))))
        basis = _orthonormal(basis)  # once more: the first time leaves rounding errors in the small directions
        image = _product(turned, basis)
        values, rotation = _descending(_gram(image))
        sizes = np.sqrt(values[:rank])
        kept = int((sizes > MIN_RATIO * sizes.max(initial=0.0)).sum())
        left, right = np.zeros((n_rows, rank), np.float32), np.zeros((n_columns, rank), np.float32)
        left[:, :kept] = _times(basis, rotation[:, :kept])
        right[:, :kept] = _times(image, rotation[:, :kept] / sizes[:kept])
    spectrum = np.zeros(rank)
    spectrum[:kept] = sizes[:kept]
    return TruncatedSvd(left, spectrum, right)


def _product(matrix: sparse.csr_array | FloatMatrix, columns: FloatMatrix) -> FloatMatrix:
    """``matrix`` @ ``columns``, (n, k) float32."""
    out = np.empty((matrix.shape[0], columns.shape[1]), np.float32)
    if isinstance(matrix, np.ndarray):
        blocks = threads.blocks_of(len(out), ROWS_A_BLOCK)
    else:
        blocks = threads.even_blocks(matrix.indptr, SPARSE_BLOCKS)

    def fill(rows: slice) -> None:
        out[rows] = matrix[rows] @ columns

    threads.run(fill, blocks)
    return out


def _times(table: FloatMatrix, small: Float64) -> FloatMatrix:
    return _product(table, small.astype(np.float32))


def _gram(table: FloatMatrix) -> Float64:
    """TᵀT, in float64."""

    def part(rows: slice) -> Float64:
        block = table[rows].astype(np.float64)
        return block.T @ block

    total = np.zeros((table.shape[1], table.shape[1]))
    blocks = threads.blocks_of(len(table), ROWS_A_BLOCK)
    for first in range(0, len(blocks), SPARSE_BLOCKS):  # a few parts at a time, so that they need not all be held
        for found in threads.run(part, blocks[first : first + SPARSE_BLOCKS]):
            total += found
    return total


def _descending(gram: Float64) -> tuple[Float64, Float64]:
    """Eigenvalues, not below 0, and eigenvectors, the largest first."""
    values, vectors = np.linalg.eigh(gram)
    return np.maximum(values[::-1], 0.0), vectors[:, ::-1]


def _orthonormal(table: FloatMatrix) -> FloatMatrix:
    """A basis of the columns' span; fewer columns where they do not have full rank."""
    values, vectors = _descending(_gram(table))
    kept = values > MIN_RATIO**2 * values.max(initial=0.0)
    return _times(table, vectors[:, kept] / np.sqrt(values[kept]))
