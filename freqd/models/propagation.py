"""LightGCN's map from parameters E to features F (He et al., SIGIR 2020), and its derivative.

    F = 1/(L+1) · Σ_{k=0..L} Âᵏ E,   by Horner's rule H₀ = E, H_k = E + Â H_{k−1}, F = H_L / (L+1)

The map is symmetric, so the gradient of E is the same map applied to the gradient of F. A step reads few rows of F, so
on a CPU the last product is done for these rows only, and so is the first one of the way back, whose input is 0
elsewhere: 2(L − 1) whole products a step instead of 2L.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy import sparse
from torch import Tensor

from freqd.embeddings import FloatMatrix
from freqd.numerics.jit import LINE, kernel, njit, prefetch, prefetch_to_write
from freqd.numerics.threads import blocks_of, even_blocks, run

BLOCKS = 16
"""Pieces of a sparse product, of as many entries each, that threads share."""

ROWS_A_BLOCK = 512
"""Single rows of a product that one thread takes at a time."""

AHEAD = 8
"""How many entries ahead a sparse product asks for."""

LongArray = npt.NDArray[np.int64]
IntArray = npt.NDArray[np.int32]
Propagate = Callable[[Tensor], Tensor]


def whole_propagation(norm_adj: sparse.csr_array, layers: int, device: torch.device) -> Propagate:
    """The map for all rows, in torch, differentiable; for devices other than the CPU."""
    adjacency = torch.sparse_csr_tensor(
        torch.from_numpy(norm_adj.indptr),
        torch.from_numpy(norm_adj.indices),
        torch.from_numpy(norm_adj.data),
        size=norm_adj.shape,
        check_invariants=False,
    ).to(device)

    def propagate(parameters: Tensor) -> Tensor:
        rows = parameters
        for _ in range(layers):
            rows = torch.addmm(parameters, adjacency, rows)
        return rows / (layers + 1)

    return lambda parameters: _Whole.apply(parameters, propagate)  # type: ignore[no-untyped-call]


class _Whole(torch.autograd.Function):
    """A symmetric linear map: forward and backward are the same product."""

    @staticmethod
    def forward(ctx: Any, parameters: Tensor, propagate: Propagate) -> Tensor:
        ctx.propagate = propagate
        return propagate(parameters.detach())

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return ctx.propagate(gradients[0]), None


class Propagation:
    """The map on a CPU, for all rows or for those that a step reads.

    Args:
        norm_adj: Â, (n, n) symmetric float32 CSR.
        layers: L, at least 1.
        dim: d.
    """

    def __init__(self, norm_adj: sparse.csr_array, layers: int, dim: int) -> None:
        n = int(norm_adj.shape[0])
        self.layers, self.share = layers, np.float32(1.0 / (layers + 1))
        self.matrix = norm_adj.indptr, norm_adj.indices, norm_adj.data
        self._blocks = even_blocks(norm_adj.indptr, BLOCKS)
        # numpy's memory, not torch's, for it lies in large pages; kept, for new pages have to be cleared.
        self.spare = [np.empty((n, dim), np.float32) for _ in range(2)]
        self.final, self.gradient, self.raw_gradient = (np.zeros((n, dim), np.float32) for _ in range(3))
        self.marks = np.zeros((3, n), np.bool_)

    def product(self, base: FloatMatrix, rows: FloatMatrix, out: FloatMatrix) -> FloatMatrix:
        """``out`` = ``base`` + Â ``rows``."""
        run(lambda block: _add_product(block.start, block.stop, *self.matrix, base, rows, out), self._blocks)
        return out

    def horner(self, base: FloatMatrix, rows: FloatMatrix, products: int) -> FloatMatrix:
        """``rows`` ← ``base`` + Â ``rows``, as often as ``products`` says; in memory that the next call uses again."""
        for turn in range(products):
            rows = self.product(base, rows, self.spare[turn % 2])
        return rows

    def features(self, parameters: FloatMatrix) -> FloatMatrix:
        """F of all rows."""
        return self.horner(parameters, parameters, self.layers) * self.share

    def step(self, parameters: Tensor) -> PropagationStep:
        """The map at the present parameters; one at a time, for its memory is that of the step before."""
        return PropagationStep(self, parameters)


class PropagationStep:
    """Rows of F and of E in one training step, differentiable.

    The rows' gradients are summed in buffers of the ``Propagation``; autograd sees no more than a number that all reads
    depend on, and calls for the gradient of E when the last of them is through.
    """

    def __init__(self, parent: Propagation, parameters: Tensor) -> None:
        self._parent = parent
        self._parameters = parameters.detach().numpy()
        self._before_last = parent.horner(self._parameters, self._parameters, parent.layers - 1)
        parent.marks[:] = False
        self._anchor: Tensor = _Root.apply(parameters, self)  # type: ignore[no-untyped-call]

    def read(self, index: Tensor) -> Tensor:
        """Rows of F, (*index.shape, d)."""
        return _Read.apply(self._anchor, self, index, False)  # type: ignore[no-any-return,no-untyped-call]

    def read_raw(self, index: Tensor) -> Tensor:
        """Rows of E, (*index.shape, d)."""
        return _Read.apply(self._anchor, self, index, True)  # type: ignore[no-any-return,no-untyped-call]

    def rows(self, index: LongArray, raw: bool) -> FloatMatrix:
        """Values of ``read`` or ``read_raw``."""
        if raw:
            return self._parameters[index]
        parent = self._parent
        missing = _unmarked(index, parent.marks[0])
        arrays = *parent.matrix, self._parameters, self._before_last, parent.final, parent.share
        run(lambda block: _some_rows(missing[block], *arrays), blocks_of(len(missing), ROWS_A_BLOCK))
        return parent.final[index]

    def add_gradient(self, index: LongArray, rows: FloatMatrix, raw: bool) -> None:
        """Add the gradient of rows that were read."""
        parent = self._parent
        target = parent.raw_gradient if raw else parent.gradient
        scale = np.float32(1.0) if raw else parent.share
        _scatter_add(index, rows, scale, target, parent.marks[2 if raw else 1])

    def parameter_gradient(self) -> Tensor:
        """Gradient of E from those of the rows, which are forgotten."""
        parent = self._parent
        base, raw = parent.gradient, parent.raw_gradient
        read, read_raw = (np.flatnonzero(marks) for marks in parent.marks[1:])
        first = parent.spare[1]
        np.copyto(first, base)
        _push_rows(read, *parent.matrix, base, first)
        out = parent.horner(base, first, parent.layers - 1).copy()
        out[read_raw] += raw[read_raw]
        base[read] = 0.0
        raw[read_raw] = 0.0
        parent.marks[1:] = False
        return torch.from_numpy(out)


class _Root(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, parameters: Tensor, step: PropagationStep) -> Tensor:
        ctx.step = step
        return torch.zeros(())

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return ctx.step.parameter_gradient(), None


class _Read(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, anchor: Tensor, step: PropagationStep, index: Tensor, raw: bool) -> Tensor:
        ctx.read = step, index, raw
        rows = step.rows(index.reshape(-1).numpy(), raw)
        return torch.from_numpy(rows).reshape(*index.shape, rows.shape[1])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        step, index, raw = ctx.read
        rows = gradients[0].reshape(-1, gradients[0].shape[-1]).contiguous()
        step.add_gradient(index.reshape(-1).numpy(), rows.numpy(), raw)
        return torch.zeros(()), None, None, None


@kernel(fastmath=True)
def _add_product(
    start: int,
    stop: int,
    indptr: IntArray,
    indices: IntArray,
    data: FloatMatrix,
    base: FloatMatrix,
    rows: FloatMatrix,
    out: FloatMatrix,
) -> None:
    """Rows ``start`` to ``stop`` of ``out`` = ``base`` + Â ``rows``; one row at a time, which stays in cache."""
    dim = rows.shape[1]
    for r in range(start, stop):
        for c in range(dim):
            out[r, c] = base[r, c]
        for p in range(indptr[r], indptr[r + 1]):
            if p + AHEAD < len(indices):
                for c in range(0, dim, LINE):
                    prefetch(rows, (indices[p + AHEAD], c))
            weight, source = data[p], indices[p]
            for c in range(dim):
                out[r, c] += weight * rows[source, c]


@kernel(fastmath=True)
def _some_rows(
    wanted: LongArray,
    indptr: IntArray,
    indices: IntArray,
    data: FloatMatrix,
    base: FloatMatrix,
    rows: FloatMatrix,
    out: FloatMatrix,
    scale: np.float32,
) -> None:
    """Rows ``wanted`` of ``out`` = ``scale`` · (``base`` + Â ``rows``)."""
    for r in wanted:
        _add_product(r, r + 1, indptr, indices, data, base, rows, out)
        for c in range(out.shape[1]):
            out[r, c] *= scale


@kernel(fastmath=True)
def _push_rows(
    read: LongArray, indptr: IntArray, indices: IntArray, data: FloatMatrix, rows: FloatMatrix, out: FloatMatrix
) -> None:
    """``out`` += Â ``rows``, of which only the rows ``read`` are not 0."""
    dim = rows.shape[1]
    for r in read:
        for p in range(indptr[r], indptr[r + 1]):
            if p + AHEAD < indptr[r + 1]:
                for c in range(0, dim, LINE):
                    prefetch_to_write(out, (indices[p + AHEAD], c))
            weight, target = data[p], indices[p]
            for c in range(dim):
                out[target, c] += weight * rows[r, c]


@njit(cache=True, nogil=True)
def _unmarked(index: LongArray, marks: npt.NDArray[np.bool_]) -> LongArray:
    """The distinct rows of ``index`` that have no mark yet, which they get."""
    found = np.empty(len(index), np.int64)
    count = 0
    for row in index:
        if not marks[row]:
            marks[row] = True
            found[count] = row
            count += 1
    return found[:count]


@kernel()
def _scatter_add(
    index: LongArray, values: FloatMatrix, scale: np.float32, out: FloatMatrix, marks: npt.NDArray[np.bool_]
) -> None:
    for n in range(len(index)):
        marks[index[n]] = True
        for c in range(values.shape[1]):
            out[index[n], c] += scale * values[n, c]
