"""LightGCN (He et al., SIGIR 2020): features are the mean of the parameters' propagations over the user-item graph.

F = 1/(L+1) · Σ_{k=0..L} Âᵏ E,   Â = D^-1/2 A D^-1/2 of the bipartite graph of the train interactions
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from scipy import sparse
from torch import Tensor, nn

from freqd.embeddings import Embeddings, FloatMatrix
from freqd.models.mf import initial_tables
from freqd.models.propagation import Propagation, whole_propagation
from freqd.models.readers import Reader, StepView, dense_rows
from freqd.training.adam import DenseAdam, Optimizer

INIT_STD = 0.1


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


class LightGCN:
    """User and item parameters, and features that are propagated from them.

    Args:
        train: (n_users, n_items) binary CSR.
        dim: embedding dimension.
        layers: propagations L.
        init: parameters (not features) to start from; None draws N(0, 0.1²).
    """

    def __init__(
        self, train: sparse.csr_array, dim: int, layers: int, *, init: Embeddings | None = None, seed: int
    ) -> None:
        n_users, n_items = train.shape
        users, items = initial_tables((n_users, n_items, dim), init, seed=seed, std=INIT_STD)
        self._n_users = int(n_users)
        self._layers = layers
        self._norm_adj = bipartite_norm_adj(train)
        # Joined by numpy, whose memory lies in large pages: rows of it are read in no order.
        self._parameters = nn.Parameter(torch.from_numpy(np.concatenate([users.numpy(), items.numpy()])))
        self._propagation = Propagation(self._norm_adj, layers, dim)

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
        if device.type != "cpu":
            self._parameters = nn.Parameter(self._parameters.detach().to(device))
            self._propagate = whole_propagation(self._norm_adj, self._layers, device)
        return DenseAdam([self._parameters], learning_rate)

    def view(self) -> StepView:
        """Propagate once, for all rows that the step reads."""
        if self._parameters.device.type == "cpu":
            step = self._propagation.step(self._parameters)
            read, read_raw = step.read, step.read_raw
        else:
            final = self._propagate(self._parameters)
            read, read_raw = (partial(dense_rows, table) for table in (final, self._parameters))
        return StepView(
            users=Reader(read),
            items=Reader(partial(_later, read, self._n_users)),
            raw_users=Reader(read_raw),
            raw_items=Reader(partial(_later, read_raw, self._n_users)),
        )

    def tables(self) -> dict[str, Tensor]:
        """The parameters, users first."""
        return {"parameters": self._parameters}

    def features(self) -> Embeddings:
        """Propagated parameters; the propagation is done where they are."""
        parameters = self._parameters.detach()
        if parameters.device.type == "cpu":
            final = self._propagation.features(parameters.numpy())
        else:
            final = self._propagate(parameters).cpu().numpy()
        return Embeddings(final[: self._n_users], final[self._n_users :])

    def extra(self) -> dict[str, FloatMatrix]:
        """The parameters before propagation."""
        raw = self._parameters.detach().cpu().numpy()
        return {"raw_users": raw[: self._n_users], "raw_items": raw[self._n_users :]}


def _later(read: Callable[[Tensor], Tensor], offset: int, index: Tensor) -> Tensor:
    return read(index + offset)
