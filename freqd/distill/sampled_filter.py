"""Rows of h(L) S for the batch only: the filter's slice, in the student's d dimensions, differentiable."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from freqd.embeddings import FloatMatrix
from freqd.models.readers import combined
from freqd.numerics.jit import njit, prefetch
from freqd.spectral.filters import Filter
from freqd.training.interfaces import RowLookup, SparseRows
from freqd.training.row_kernels import AHEAD

SLICED_FORMS = ("linear", "quadratic")
"""Powers of one linear filter; of a series the rows of all nodes are filtered."""


@njit(cache=True, nogil=True, error_model="numpy")
def _entries(
    indptr: Any, indices: Any, values: Any, sums: Any, diagonal: Any, rows: Any, bound: Any, draws: Any
) -> tuple[Any, Any, Any]:
    """Rows of a CSR matrix: where each starts, its columns and its values; of a long row ``bound`` drawn entries.

    ``sums`` are the sums of |values| along each row without its diagonal. A long row keeps its diagonal. Of the rest,
    points at equal distances S / bound on the line of its sums choose the entries in which they fall, each with the value
    ± S / bound; ``draws``, uniform in [0, 1), is where the first point lies within its distance. An entry v is hit
    |v| bound / S times in the mean over draws, so that the row is right in the mean.
    """
    most = 0
    for row in rows:
        most += min(indptr[row + 1] - indptr[row], bound + 1)
    starts = np.zeros(len(rows) + 1, np.int64)
    columns, kept = np.empty(most, np.int64), np.empty(most, np.float32)
    end = 0
    for n in range(len(rows)):
        if n + AHEAD < len(rows):
            first, last = indptr[rows[n + AHEAD]], indptr[rows[n + AHEAD] + 1]
            prefetch(sums, (first + last) // 2)
            prefetch(sums, last - 1)
        row = rows[n]
        first, last = indptr[row], indptr[row + 1]
        own = diagonal[row]
        others = last - first - (1 if own >= 0 else 0)
        if others <= bound:
            for p in range(first, last):
                columns[end], kept[end] = indices[p], values[p]
                end += 1
        else:
            if own >= 0:
                columns[end], kept[end] = row, values[own]
                end += 1
            distance = sums[last - 1] / bound
            before = first - 1
            for k in range(bound):
                point = (k + draws[n]) * distance
                low, high = max(before, first), last - 1
                while low < high:
                    middle = (low + high) // 2
                    if sums[middle] > point:
                        high = middle
                    else:
                        low = middle + 1
                value = distance if values[low] > 0 else -distance
                if low == before:
                    kept[end - 1] += value
                else:
                    columns[end], kept[end] = indices[low], value
                    end += 1
                before = low
        starts[n + 1] = end
    return starts, columns[:end], kept[:end]


@njit(cache=True, nogil=True)
def _sums_and_diagonal(indptr: Any, indices: Any, values: Any) -> tuple[Any, Any]:
    """Sums of |values| along each row without its diagonal, and where each row's diagonal is (−1: nowhere)."""
    sums, diagonal = np.empty(len(values), np.float32), np.full(len(indptr) - 1, -1, np.int64)
    for row in range(len(indptr) - 1):
        total = 0.0
        for p in range(indptr[row], indptr[row + 1]):
            if indices[p] == row:
                diagonal[row] = p
            else:
                total += abs(values[p])
            sums[p] = total
    return sums, diagonal


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
        neighbours: a row of a slice with more neighbours than this has so many drawn anew for each product, with the
            weight of all of them and so that the mean over draws is h(L) (``_entries``); None: all are read.
        device: where the student's rows are.

    Raises:
        ValueError: ``keep_prob`` outside (0, 1], or below 1 for a series; ``neighbours`` below 1.
    """

    def __init__(
        self,
        norm_adj: sparse.csr_array,
        filter: Filter,
        *,
        keep_prob: float = 1.0,
        neighbours: int | None = None,
        device: str = "cpu",
    ) -> None:
        self.n = int(norm_adj.shape[0])
        self.filter = filter
        self.keep_prob = keep_prob
        self.device = torch.device(device)
        self.degree = filter.degree
        if not 0.0 < keep_prob <= 1.0:
            raise ValueError(f"keep_prob must lie in (0, 1], got {keep_prob}")
        if neighbours is not None and neighbours < 1:
            raise ValueError(f"neighbours must be at least 1, got {neighbours}")
        self.neighbours = self.n if neighbours is None else neighbours
        self.norm_adj = norm_adj
        self.sliced = filter.form in SLICED_FORMS
        if self.degree > 0 and not self.sliced and keep_prob < 1.0:
            raise ValueError(f"edge dropout needs a linear or quadratic filter, got {filter.label()}")
        if self.degree > 0 and self.sliced:
            matrix = Filter(form="linear", alpha=filter.alpha).matrix(norm_adj)
            arrays = matrix.indptr, matrix.indices, matrix.data.astype(np.float32, copy=False)
            self.matrix = (*arrays, *_sums_and_diagonal(*arrays))

    @property
    def drops_edges(self) -> bool:
        """Whether a slice leaves out some of its edges."""
        return self.keep_prob < 1.0 and self.degree > 0

    def whole(self, signal: FloatMatrix) -> FloatMatrix:
        """h(L) of all rows of ``signal``, (n, d); itself where there is no filter."""
        return signal if self.degree == 0 else self.filter.apply(self.norm_adj, signal)

    def rows(self, gather: RowLookup, rows: Tensor, rng: np.random.Generator) -> Tensor:
        """Rows ``rows`` of h(L) S: (r, d), differentiable.

        Args:
            gather: gives rows of S by their numbers.
            rows: (r,) int64, distinct.
            rng: draws the neighbours that are read and the edges that are dropped.
        """
        if self.degree == 0:
            return gather(rows)
        if not self.sliced:
            everything = gather(torch.arange(self.n, device=self.device))
            return _WholeProduct.apply(everything, self.filter, self.norm_adj)[rows]  # type: ignore[no-any-return,no-untyped-call]
        return self._product(gather, rows, self.degree, rng)

    def slice(self, rows: Tensor, rng: np.random.Generator) -> SparseRows:
        """Rows of the linear filter's matrix, or what was drawn of them."""
        numbers = rows.cpu().numpy()
        starts, columns, values = _entries(*self.matrix, numbers, self.neighbours, rng.random(len(numbers)))
        if self.keep_prob < 1.0:
            own = columns == np.repeat(numbers, np.diff(starts))
            kept = own | (rng.random(len(values), np.float32) < self.keep_prob)
            values = np.where(own, values, values / np.float32(self.keep_prob))[kept]
            starts, columns = np.concatenate(([0], np.cumsum(kept)))[starts], columns[kept]
        return SparseRows(*(torch.from_numpy(array).to(self.device) for array in (starts, columns, values)))

    def _product(self, gather: RowLookup, rows: Tensor, times: int, rng: np.random.Generator) -> Tensor:
        """Rows of the linear filter's matrix to the power of ``times``, multiplied with S."""
        own = self.slice(rows, rng)
        if times == 1:
            return gather.combine(own)
        return combined(lambda near: self._product(gather, near, times - 1, rng), own)
