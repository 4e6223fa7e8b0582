"""Rows of h(L) S for the batch only: the filter's slice, in the student's d dimensions, differentiable."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from freqd.models.mf import RowReader
from freqd.spectral.filters import Filter

Gather = Callable[[Tensor], Tensor]
"""Rows of a side's features by their (distinct) numbers."""

SLICED_FORMS = ("linear", "quadratic")
"""Powers of one linear filter; of a series the rows of all nodes are filtered."""


@numba.njit(cache=True, nogil=True)
def _slice(indptr: Any, rows: Any) -> tuple[Any, Any]:
    """Rows of a CSR matrix: where each starts in the slice, and the numbers of the entries."""
    starts = np.zeros(len(rows) + 1, np.int64)
    for i in range(len(rows)):
        starts[i + 1] = starts[i] + indptr[rows[i] + 1] - indptr[rows[i]]
    entries = np.empty(starts[-1], np.int64)
    for i in range(len(rows)):
        for n in range(starts[i + 1] - starts[i]):
            entries[starts[i] + n] = indptr[rows[i]] + n
    return starts, entries


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

    For a linear filter the rows of the sparse matrix h(L) are sliced; for a quadratic one, the square of a linear one, first
    the rows' neighbours are filtered and then the rows. (The square itself is no sparse matrix where the graph has hubs: every
    two neighbours of a hub are a pair.) Under a series a row reaches most of the graph, so that all rows are filtered and
    the asked ones kept.

    Args:
        norm_adj: Â, (n, n) symmetric CSR.
        filter: h.
        keep_prob: edge dropout: an entry of the linear filter off its diagonal is kept with this probability and divided by
            it, drawn anew for each of its products, so that the mean over draws is h(L). Slices only.
        device: where the student's rows are.

    Raises:
        ValueError: ``keep_prob`` outside (0, 1], or below 1 for a series.
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
        self.norm_adj = norm_adj
        self.sliced = filter.form in SLICED_FORMS
        if self.degree > 0 and not self.sliced and keep_prob < 1.0:
            raise ValueError(f"edge dropout needs a linear or quadratic filter, got {filter.label()}")
        if self.degree > 0 and self.sliced:
            matrix = Filter(form="linear", alpha=filter.alpha).matrix(norm_adj)
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
        if not self.sliced:
            everything = gather(torch.arange(self.n, device=self.device))
            return _WholeProduct.apply(everything, self.filter, self.norm_adj)[rows]  # type: ignore[no-any-return,no-untyped-call]
        return self._product(gather, rows.cpu().numpy(), self.degree, rng)

    def _product(self, gather: Gather, rows: Any, times: int, rng: np.random.Generator) -> Tensor:
        """Rows of the linear filter's matrix to the power of ``times``, multiplied with S."""
        starts, entries = _slice(self.indptr, rows)
        columns, values = self.indices[entries], self.values[entries]
        if self.keep_prob < 1.0:
            kept = rng.random(len(values), np.float32) < self.keep_prob
            scale = np.where(kept, np.float32(1.0 / self.keep_prob), np.float32(0.0))
            values = values * np.where(self.on_diagonal[entries], np.float32(1.0), scale)
        if times == 1 and isinstance(gather, RowReader):
            return gather.table.combine(starts, columns, values)
        distinct, local = np.unique(columns, return_inverse=True)
        near = (
            gather(torch.from_numpy(distinct).to(self.device))
            if times == 1
            else self._product(gather, distinct, times - 1, rng)
        )
        index = torch.from_numpy(np.stack([np.repeat(np.arange(len(rows)), np.diff(starts)), local]))
        piece = torch.sparse_coo_tensor(
            index, torch.from_numpy(values), (len(rows), len(distinct)), device=self.device, check_invariants=False
        )
        result: Tensor = torch.sparse.mm(piece, near)
        return result
