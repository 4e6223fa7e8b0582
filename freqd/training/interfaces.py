"""What the training loop asks of a model, of a term of the loss, and of the data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple, Protocol

import numpy as np
import torch
from scipy import sparse
from torch import Tensor, nn

from freqd.embeddings import Embeddings, FloatMatrix
from freqd.training.adam import Optimizer
from freqd.training.sampling import Batch


class SparseRows(NamedTuple):
    """Some rows M of a sparse matrix, on the training device.

    Attributes:
        starts: (r + 1,) int64, where each row begins in the other two.
        columns: int64, as often as they occur.
        values: float32.
    """

    starts: Tensor
    columns: Tensor
    values: Tensor


class RowLookup(Protocol):
    """Rows of one side's features S (users or items) in one step, differentiable."""

    def __call__(self, index: Tensor) -> Tensor:
        """Rows (*index.shape, d)."""
        ...

    def combine(self, rows: SparseRows) -> Tensor:
        """M S: (r, d)."""
        ...


class View(Protocol):
    """The model in one training step: differentiable rows, all of the same parameters."""

    @property
    def users(self) -> RowLookup:
        """Final user features, which score."""
        ...

    @property
    def items(self) -> RowLookup:
        """Final item features, which score."""
        ...

    @property
    def raw_users(self) -> RowLookup:
        """User parameters before propagation; for MF the same as ``users``."""
        ...

    @property
    def raw_items(self) -> RowLookup:
        """Item parameters before propagation; for MF the same as ``items``."""
        ...


class TrainingView(View, Protocol):
    """A view that the loop differentiates."""

    def backward(self, batch: Batch, others: Tensor, base_weight: float, weight_decay: float) -> Tensor:
        """Add the gradient of others + base_weight · BPR + weight_decay · L2 on the batch to the parameters.

        Args:
            others: a scalar made of this view; it need not depend on it.

        Returns:
            BPR's value without a gradient; 0 where base_weight is 0.
        """
        ...


class LossTerm(Protocol):
    """One further term of the loss."""

    name: str
    weight: float

    def parameters(self) -> Iterable[nn.Parameter]:
        """What the term trains beside the model (projectors), on the training device from the start."""
        ...

    def state(self) -> Mapping[str, Tensor]:
        """What else lasts from one epoch to the next, by name: live tensors, which checkpoints save and restore in place."""
        ...

    def begin_epoch(self, epoch: int, student: Embeddings, rng: np.random.Generator) -> None:
        """Prepare an epoch (from 1).

        Args:
            student: the present final features; may share memory with the model, so it changes during the epoch.
            rng: depends on (seed, epoch) and the term's position only. Whatever a term keeps from one epoch to
                the next, other than its parameters and its state, is lost when a training is resumed.
        """
        ...

    def loss(self, view: View, batch: Batch) -> Tensor:
        """The term's mean over the batch, a scalar, without its weight."""
        ...


class Trainable(Protocol):
    """A model that ``fit`` can train."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """(n_users, n_items, d)."""
        ...

    @property
    def parallel(self) -> bool:
        """Whether a step is large enough for several CPU threads to pay; else they cost more than they give."""
        ...

    def prepare(self, device: torch.device, learning_rate: float) -> Optimizer:
        """Move to ``device`` and give the optimizer of all parameters; called once, before any view."""
        ...

    def view(self) -> TrainingView:
        """The model as it is now, for one step."""
        ...

    def features(self) -> Embeddings:
        """Present final features; shares memory with the model where it can."""
        ...

    def extra(self) -> dict[str, FloatMatrix]:
        """Further tensors of the trained model; as ``features``."""
        ...

    def tables(self) -> dict[str, Tensor]:
        """The parameters by name, up to date, to be saved or written into."""
        ...


class TrainingData(Protocol):
    """What is learnt from, and what it is judged by: a ``freqd.evaluate.validation.Validation``."""

    @property
    def train(self) -> sparse.csr_array:
        """(n_users, n_items) binary CSR with sorted indices."""
        ...

    def __call__(self, features: Embeddings, /) -> float:
        """NDCG@10 on the validation part; higher is better."""
        ...
