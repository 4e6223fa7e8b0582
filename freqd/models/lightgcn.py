"""LightGCN (He et al., SIGIR 2020): features are the mean of the parameters' propagations over the user-item graph.

    F = 1/(L+1) · Σ_{k=0..L} Âᵏ E,   Â = D^-1/2 A D^-1/2 of the bipartite graph of the train interactions

The map from E to F is symmetric, so the gradient of E is the same map applied to the gradient of F.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from numba import njit
from scipy import sparse
from torch import Tensor, nn

from freqd.features import FeatureTable, FloatMatrix
from freqd.models.mf import Reader, StepView, dense_rows, initial_tables
from freqd.models.optimizer import DenseAdam, Optimizer
from freqd.parallel import even_blocks, for_blocks

INIT_STD = 0.1

BLOCKS = 16
"""Pieces of a sparse product, of as many entries each, that threads share."""

Propagation = Callable[[Tensor], Tensor]


def bipartite_norm_adj(train: sparse.csr_array) -> sparse.csr_array:
    """Â (n_users + n_items, n_users + n_items) float32 CSR, users first; isolated nodes have empty rows."""
    user_degrees = np.diff(train.indptr)
    item_degrees = np.bincount(train.indices, minlength=train.shape[1])
    with np.errstate(divide="ignore"):
        scale_users = np.where(user_degrees > 0, user_degrees**-0.5, 0.0)
        scale_items = np.where(item_degrees > 0, item_degrees**-0.5, 0.0)
    norm = sparse.csr_array(
        (
            (np.repeat(scale_users, user_degrees) * scale_items[train.indices]).astype(np.float32),
            train.indices,
            train.indptr,
        ),
        shape=train.shape,
    )
    stacked = sparse.csr_array(sparse.block_array([[None, norm], [norm.T, None]], format="csr"))
    stacked.sort_indices()
    return stacked


def propagation(norm_adj: sparse.csr_array, layers: int, device: torch.device) -> Propagation:
    """The linear map 1/(L+1) · Σ_{k=0..L} Âᵏ, by Horner's rule: L sparse products, one extra (n, d) buffer."""
    if device.type == "cpu":
        indptr, indices, data = norm_adj.indptr, norm_adj.indices, norm_adj.data
        blocks = even_blocks(indptr, BLOCKS)

        def product(base: Tensor, rows: Tensor) -> Tensor:
            out = torch.empty_like(base)
            arrays = indptr, indices, data, base.numpy(), rows.numpy(), out.numpy()
            for_blocks(blocks, lambda block: _add_product(block.start, block.stop, *arrays))
            return out
    else:
        adjacency = torch.sparse_csr_tensor(
            torch.from_numpy(norm_adj.indptr),
            torch.from_numpy(norm_adj.indices),
            torch.from_numpy(norm_adj.data),
            size=norm_adj.shape,
        ).to(device)

        def product(base: Tensor, rows: Tensor) -> Tensor:
            return torch.addmm(base, adjacency, rows)

    def propagate(parameters: Tensor) -> Tensor:
        parameters = parameters.contiguous()
        rows = parameters
        for _ in range(layers):
            rows = product(parameters, rows)
        return rows / (layers + 1)

    return propagate


class _Propagate(torch.autograd.Function):
    """A symmetric linear map: forward and backward are the same product."""

    @staticmethod
    def forward(ctx: Any, parameters: Tensor, propagate: Propagation) -> Tensor:
        ctx.propagate = propagate
        return propagate(parameters.detach())

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return ctx.propagate(gradient), None


class LightGCN:
    """User and item parameters, and features that are propagated from them.

    Args:
        train: (n_users, n_items) binary CSR.
        dim: numbers a user and an item.
        layers: propagations L.
        init: parameters (not features) to start from; None draws N(0, 0.1²).
    """

    def __init__(
        self, train: sparse.csr_array, dim: int, layers: int, *, init: FeatureTable | None = None, seed: int
    ) -> None:
        n_users, n_items = train.shape
        users, items = initial_tables(n_users, n_items, dim, init=init, seed=seed, std=INIT_STD)
        self._n_users = int(n_users)
        self._layers = layers
        self._norm_adj = bipartite_norm_adj(train)
        self._place(torch.cat([users, items]), torch.device("cpu"))

    def _place(self, parameters: Tensor, device: torch.device) -> None:
        self._parameters = nn.Parameter(parameters.to(device))
        self._propagate = propagation(self._norm_adj, self._layers, device)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(n_users, n_items, d)."""
        n, dim = self._parameters.shape
        return self._n_users, n - self._n_users, dim

    @property
    def parallel(self) -> bool:
        """Yes: a step propagates all rows over the graph."""
        return True

    def prepare(self, device: torch.device, learning_rate: float) -> Optimizer:
        """Move to ``device`` and give the optimizer."""
        self._place(self._parameters.detach(), device)
        return DenseAdam([self._parameters], learning_rate)

    def view(self) -> StepView:
        """Propagate once, for all rows that the step reads."""
        final: Tensor = _Propagate.apply(self._parameters, self._propagate)  # type: ignore[no-untyped-call]
        return StepView(
            users=Reader(partial(dense_rows, final)),
            items=Reader(partial(dense_rows, final, offset=self._n_users)),
            raw_users=Reader(partial(dense_rows, self._parameters)),
            raw_items=Reader(partial(dense_rows, self._parameters, offset=self._n_users)),
        )

    def tables(self) -> dict[str, Tensor]:
        """The parameters, users first."""
        return {"parameters": self._parameters}

    def features(self) -> FeatureTable:
        """Propagated parameters."""
        final = self._propagate(self._parameters.detach()).cpu().numpy()
        return FeatureTable(final[: self._n_users], final[self._n_users :])

    def extra(self) -> dict[str, FloatMatrix]:
        """The parameters before propagation."""
        raw = self._parameters.detach().cpu().numpy()
        return {"raw_users": raw[: self._n_users], "raw_items": raw[self._n_users :]}


@njit(cache=True, nogil=True, fastmath=True)
def _add_product(
    start: int,
    stop: int,
    indptr: npt.NDArray[np.int32],
    indices: npt.NDArray[np.int32],
    data: npt.NDArray[np.float32],
    base: FloatMatrix,
    rows: FloatMatrix,
    out: FloatMatrix,
) -> None:
    """Rows ``start`` to ``stop`` of ``out`` = ``base`` + Â ``rows``; faster than a product and a sum, since each row stays in cache."""
    for r in range(start, stop):
        target = out[r]
        for c in range(len(target)):
            target[c] = base[r, c]
        for p in range(indptr[r], indptr[r + 1]):
            weight, source = data[p], rows[indices[p]]
            for c in range(len(target)):
                target[c] += weight * source[c]
