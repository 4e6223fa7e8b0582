"""Rows of h(L) S for the batch only: the filter's slice, in the student's d dimensions, differentiable."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from freqd.spectral.filters import Filter

Gather = Callable[[Tensor], Tensor]
"""Rows of a side's features by their (distinct) numbers."""

SLICED_DEGREE = 2
"""Above this degree a row of h(L) has too many neighbours for slices to pay, and all rows are filtered."""


@numba.njit(cache=True, nogil=True)
def _slice(indptr: Any, indices: Any, rows: Any) -> tuple[Any, Any, Any, Any]:
    """Rows of a CSR matrix with its columns renumbered: (starts, positions of values, local columns, columns)."""
    starts = np.zeros(len(rows) + 1, np.int64)
    for i in range(len(rows)):
        starts[i + 1] = starts[i] + indptr[rows[i] + 1] - indptr[rows[i]]
    entries = np.empty(starts[-1], np.int64)
    local = np.empty(starts[-1], np.int64)
    number = np.full(len(indptr) - 1, -1, np.int64)
    columns = np.empty(min(len(indptr) - 1, starts[-1]), np.int64)
    count = 0
    at = 0
    for row in rows:
        for entry in range(indptr[row], indptr[row + 1]):
            column = indices[entry]
            if number[column] < 0:
                number[column] = count
                columns[count] = column
                count += 1
            entries[at] = entry
            local[at] = number[column]
            at += 1
    return starts, entries, local, columns[:count]


@numba.njit(cache=True, nogil=True, fastmath=True)
def _combine(starts: Any, local: Any, values: Any, signal: Any, out: Any) -> None:
    for row in range(len(starts) - 1):
        for entry in range(starts[row], starts[row + 1]):
            for k in range(signal.shape[1]):
                out[row, k] += values[entry] * signal[local[entry], k]


@numba.njit(cache=True, nogil=True, fastmath=True)
def _spread(starts: Any, local: Any, values: Any, grad: Any, out: Any) -> None:
    for row in range(len(starts) - 1):
        for entry in range(starts[row], starts[row + 1]):
            for k in range(grad.shape[1]):
                out[local[entry], k] += values[entry] * grad[row, k]


class _SlicedProduct(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, signal: Tensor, starts: Any, local: Any, values: Any) -> Tensor:
        ctx.slice = (starts, local, values, signal.shape)
        out = torch.zeros(len(starts) - 1, signal.shape[1])
        _combine(starts, local, values, signal.detach().contiguous().numpy(), out.numpy())
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None]:
        starts, local, values, shape = ctx.slice
        grad = torch.zeros(shape)
        _spread(starts, local, values, grads[0].contiguous().numpy(), grad.numpy())
        return grad, None, None, None


class _WholeProduct(torch.autograd.Function):
    """h(L) S for all rows; h(L) is symmetric, hence its own transpose."""

    @staticmethod
    def forward(ctx: Any, signal: Tensor, filter: Filter, norm_adj: sparse.csr_array) -> Tensor:
        ctx.graph = (filter, norm_adj)
        return torch.from_numpy(filter.apply(norm_adj, signal.detach().cpu().numpy())).to(signal)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        filter, norm_adj = ctx.graph
        return torch.from_numpy(filter.apply(norm_adj, grads[0].cpu().numpy())).to(grads[0]), None, None


class RowFilter:
    """h(L) of one graph, applied to a few rows at a time.

    Up to degree 2 the rows of the sparse matrix h(L) are sliced; above, a row reaches most of the graph, so that all
    rows are filtered and the asked ones kept.

    Args:
        norm_adj: Â, (n, n) symmetric CSR.
        filter: h.
        keep_prob: edge dropout: an entry of h(L) off its diagonal is kept with this probability and divided by it,
            so that the mean over draws is h(L). Slices only.
        device: where the student's rows are.

    Raises:
        ValueError: ``keep_prob`` outside (0, 1], or below 1 for a filter of a degree above 2.
    """

    def __init__(
        self, norm_adj: sparse.csr_array, filter: Filter, *, keep_prob: float = 1.0, device: str = "cpu"
    ) -> None:
        self.n = int(norm_adj.shape[0])
        self.filter = filter
        self.keep_prob = keep_prob
        self.device = torch.device(device)
        self.degree = filter.degree
        if not 0.0 < keep_prob <= 1.0:
            raise ValueError(f"keep_prob must lie in (0, 1], got {keep_prob}")
        if self.degree > SLICED_DEGREE:
            if keep_prob < 1.0:
                raise ValueError(f"edge dropout needs a filter of degree {SLICED_DEGREE} at most, got {self.degree}")
            self.norm_adj = norm_adj
        elif self.degree > 0:
            matrix = sparse.csr_array(filter.matrix(norm_adj))
            self.indptr = matrix.indptr.astype(np.int64)
            self.indices = matrix.indices.astype(np.int64)
            self.values = matrix.data.astype(np.float32)
            self.on_diagonal = np.repeat(np.arange(self.n), np.diff(self.indptr)) == self.indices

    def rows(self, gather: Gather, rows: Tensor, rng: np.random.Generator) -> Tensor:
        """Rows ``rows`` of h(L) S: (r, d), differentiable.

        Args:
            gather: gives rows of S by their numbers.
            rows: (r,) int64, distinct.
            rng: draws the edges that are dropped.
        """
        if self.degree == 0:
            return gather(rows)
        if self.degree > SLICED_DEGREE:
            everything = gather(torch.arange(self.n, device=self.device))
            return _WholeProduct.apply(everything, self.filter, self.norm_adj)[rows]  # type: ignore[no-any-return,no-untyped-call]
        starts, entries, local, columns = _slice(self.indptr, self.indices, rows.cpu().numpy())
        values = self.values[entries]
        if self.keep_prob < 1.0:
            kept = rng.random(len(values), np.float32) < self.keep_prob
            scale = np.where(kept, np.float32(1.0 / self.keep_prob), np.float32(0.0))
            values = values * np.where(self.on_diagonal[entries], np.float32(1.0), scale)
        signal = gather(torch.from_numpy(columns).to(self.device))
        if self.device.type == "cpu":
            return _SlicedProduct.apply(signal, starts, local, values)  # type: ignore[no-any-return,no-untyped-call]
        index = torch.from_numpy(np.stack([np.repeat(np.arange(len(rows)), np.diff(starts)), local]))
        piece = torch.sparse_coo_tensor(index, torch.from_numpy(values), (len(rows), len(columns)), device=self.device)
        result: Tensor = torch.sparse.mm(piece, signal)
        return result
