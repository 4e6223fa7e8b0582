"""Item-item models: a user's score of an item is what the user's items say for it, R W with W (n_items, n_items).

- ``graph_filter_weights``: W = D_i^-a (Rᵀ D_u^-a R) D_i^-b, two steps of a walk on the bipartite graph with the degrees damped,
  a polynomial graph filter; the kind of RP3beta (Paudel et al., ACM TiiS 2017).
- ``neighbour_weights``: item-kNN by cosine with shrinkage, w_ij = c_ij / (√(d_i d_j) + shrink): a baseline that many published
  models do not reach (Ferrari Dacrema et al., "Are We Really Making Much Progress?", RecSys 2019).
- ``ease_weights``: the regression of each item on all others (Steck, "Embarrassingly Shallow Autoencoders", WWW 2019).

The first two are sparse: only the largest weights *towards* each item are kept, since those decide its score. Their sums are
taken row by row, as in ``freqd.graph.cooccurrence``, in float64.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import linalg, sparse

from freqd.embeddings import Embeddings, FloatMatrix
from freqd.errors import InputError
from freqd.graph.select import candidate_key, replace_smallest, write_row
from freqd.numerics import threads
from freqd.numerics.jit import kernel
from freqd.teachers.lowpass import degree_power, item_degrees
from freqd.teachers.randomized_svd import randomized_svd

WEIGHTS_A_PIECE = 1 << 22
"""Weights that one thread has room for at a time, 32 MiB."""

ROWS_A_PIECE = 1024

EASE_ITEMS = 15_000
"""Items that EASE is made for at the most, by default: 2.7 GB and some minutes."""

Float64 = npt.NDArray[np.float64]


def graph_filter_weights(
    train: sparse.csr_array, alpha: float, beta: float, keep: int | None = None
) -> sparse.csr_array:
    """D_i^-a (Rᵀ D_u^-a R) D_i^-b without its diagonal; of each column the ``keep`` largest weights.

    Cost: O(Σ_user degree²) time on all threads, O(n_items · keep) memory; that of all weights if none are left out.

    Args:
        train: (n_users, n_items) CSR; only the pattern counts.
        alpha, beta: a and b.
        keep: at least 1; among equal weights that of the lower item id is kept. None keeps all.
    """
    degrees = item_degrees(train)
    by_user = degree_power(np.diff(train.indptr), -alpha)
    return _weights(train, by_user, degree_power(degrees, -alpha), degree_power(degrees, -beta), 0.0, keep)


def neighbour_weights(train: sparse.csr_array, neighbours: int, shrink: float) -> sparse.csr_array:
    """Cosines of the items' users with shrinkage; of each item the ``neighbours`` most similar.

    Args:
        train: (n_users, n_items) CSR; only the pattern counts.
        neighbours: K, at least 1.
        shrink: at least 0; lowers the cosines of items with few interactions.
    """
    inverse_length = degree_power(item_degrees(train), -0.5)
    return _weights(train, np.ones(train.shape[0]), inverse_length, inverse_length, shrink, neighbours)


def ease_weights(train: sparse.csr_array, regularization: float, *, max_items: int = EASE_ITEMS) -> FloatMatrix:
    """EASE: min ‖R − R W‖² + λ ‖W‖² with a diagonal of 0, in closed form, (n_items, n_items) float32.

    With P = (RᵀR + λ I)⁻¹ it is W_ij = −P_ij / P_jj. By Cholesky in float64: n_items³ multiplications and 12 n_items² bytes.

    Args:
        train: (n_users, n_items) CSR; only the pattern counts.
        regularization: λ > 0.
        max_items: more items than this are refused.

    Raises:
        InputError: too many items, or λ is too small for this data.
    """
    n_items = train.shape[1]
    if n_items > max_items:
        raise InputError(
            f"EASE needs a matrix of {n_items:,} x {n_items:,} numbers and time that grows with the cube of the items; "
            f"it is made for {max_items:,} items at the most",
            "use another teacher, or drop rare items (data.min_item_interactions)",
        )
    pattern = sparse.csr_array((np.ones(train.nnz), train.indices, train.indptr), shape=train.shape)
    gram = (pattern.T @ pattern).toarray(order="F")
    gram[np.diag_indices(n_items)] += regularization
    factor, failed = linalg.lapack.dpotrf(gram, lower=1, overwrite_a=1, clean=0)
    if failed == 0:
        factor, failed = linalg.lapack.dpotri(factor, lower=1, overwrite_c=1)
    if failed != 0 or not np.isfinite(diagonal := factor.diagonal().copy()).all() or diagonal.min() <= 0:
        raise InputError(
            f"EASE cannot be solved with regularization {regularization:g}", "raise it, for example to 100"
        )
    weights = np.empty((n_items, n_items), np.float32)
    for rows in threads.blocks_of(n_items, ROWS_A_PIECE):
        rest = slice(rows.start, n_items)
        lower = np.tril(factor[rest, rows])  # what lies above the diagonal is not filled in
        upper = lower.T.copy()
        upper[:, : lower.shape[1]] += np.tril(lower[: lower.shape[1]], -1)
        weights[rest, rows] = upper.T
        weights[rows, rest] = upper
    for rows in threads.blocks_of(n_items, ROWS_A_PIECE):
        weights[rows] /= -diagonal
    np.fill_diagonal(weights, 0.0)
    return weights


def truncated_table(
    weights: sparse.csr_array | FloatMatrix, train: sparse.csr_array, rank: int, *, seed: int
) -> Embeddings:
    """An item-item model as tables: R B_u and B_i with B_u B_iᵀ the best approximation of W of that rank.

    Args:
        weights: W, (n_items, n_items) float32.
        train: (n_users, n_items) CSR; only the pattern counts.
        rank: embedding dimension; columns beyond the rank of W are 0.
        seed: of the random projection.
    """
    svd = randomized_svd(weights, rank, seed=seed)
    root = np.sqrt(svd.sizes).astype(np.float32)
    ones = np.ones(train.nnz, np.float32)
    pattern = sparse.csr_array((ones, train.indices, train.indptr), shape=train.shape)
    return Embeddings(pattern @ (svd.left * root), svd.right * root)


def _weights(
    train: sparse.csr_array, by_user: Float64, source: Float64, target: Float64, shrink: float, keep: int | None
) -> sparse.csr_array:
    """w_ij = c_ij x / (1 + shrink · x) with x = source_i · target_j and c_ij = Σ of ``by_user`` over the users of both."""
    n_items = train.shape[1]
    width = n_items if keep is None else min(keep, n_items)
    if width < 1:
        raise ValueError(f"at least one weight must be kept, got {keep}")
    columns = train.T.tocsr()

    def work(rows: slice) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32], npt.NDArray[np.float32]]:
        shape = (rows.stop - rows.start, width)
        items, bits, found = np.empty(shape, np.int32), np.empty(shape, np.int32), np.zeros(shape[0], np.int32)
        value = np.empty(1, np.float32)
        buffers = np.zeros(n_items), np.empty(n_items, np.int32), value, value.view(np.int32), np.zeros(width, np.int64)
        _rows(
            rows.start, rows.stop, columns.indptr, columns.indices, train.indptr, train.indices,
            by_user, source, target, shrink, *buffers, items, bits, found,
        )  # fmt: skip
        there = np.arange(width) < found[:, None]
        return found, items[there], bits[there].view(np.float32)

    pieces = threads.blocks_of(n_items, max(1, min(ROWS_A_PIECE, WEIGHTS_A_PIECE // max(width, 1))))
    counts, items, values = (np.concatenate(parts) for parts in zip(*threads.run(work, pieces), strict=True))
    ends = np.concatenate([[0], np.cumsum(counts)])
    towards = sparse.csr_array((values, items, ends), shape=(n_items, n_items))
    weights = towards.T.tocsr()
    weights.sort_indices()
    return weights


@kernel()
def _rows(
    first: Any, last: Any, item_starts: Any, item_users: Any, user_starts: Any, user_items: Any,
    by_user: Any, source: Any, target: Any, shrink: Any,
    sums: Any, touched: Any, value: Any, bits: Any, heap: Any, out_items: Any, out_bits: Any, found: Any,
) -> None:  # fmt: skip
    """The largest weights towards the items from ``first`` to ``last``; ``sums`` and ``heap`` are 0 before and after."""
    for item in range(first, last):
        n_touched = 0
        for p in range(item_starts[item], item_starts[item + 1]):
            user = item_users[p]
            for q in range(user_starts[user], user_starts[user + 1]):
                other = user_items[q]
                if sums[other] == 0.0:
                    touched[n_touched] = other
                    n_touched += 1
                sums[other] += by_user[user]
        for t in range(n_touched):
            other = touched[t]
            product = source[other] * target[item]
            value[0] = sums[other] * product / (1.0 + shrink * product)
            sums[other] = 0.0
            if other != item:
                key = candidate_key(bits[0], other)
                if key > heap[0]:
                    replace_smallest(heap, key)
        found[item - first] = write_row(heap, out_items[item - first], out_bits[item - first])
