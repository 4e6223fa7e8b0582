"""Matrix factorisation: a user's score of an item is the inner product of two learned rows."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from freqd.embeddings import Embeddings, FloatMatrix
from freqd.training.adam import DenseAdam, Optimizer
from freqd.training.bpr_loss import add_pair_gradients, bpr_loss, l2_loss
from freqd.training.row_adam import RowAdam, RowTable
from freqd.training.sampling import Batch

INIT_STD = 0.01


def initial_tables(
    n_users: int, n_items: int, dim: int, *, init: Embeddings | None, seed: int, std: float
) -> tuple[Tensor, Tensor]:
    """A copy of ``init``, or rows from N(0, std²).

    Raises:
        ValueError: ``init`` has other shapes.
    """
    if init is None:
        rng = np.random.default_rng(seed)
        tables = [std * rng.standard_normal((n, dim), dtype=np.float32) for n in (n_users, n_items)]
    else:
        tables = [np.array(init.users, order="C"), np.array(init.items, order="C")]
    for table, n in zip(tables, (n_users, n_items), strict=True):
        if table.shape != (n, dim):
            raise ValueError(f"init has shape {table.shape} where {(n, dim)} is needed")
    return torch.from_numpy(tables[0]), torch.from_numpy(tables[1])


class MatrixFactorization:
    """User and item tables that are the features themselves.

    On a CPU the tables are updated row by row (``RowTable``), on CUDA as dense parameters; the mathematics is the same.

    Args:
        init: features to start from; None draws N(0, ``std``²).
    """

    def __init__(
        self,
        n_users: int,
        n_items: int,
        dim: int,
        *,
        init: Embeddings | None = None,
        seed: int,
        std: float = INIT_STD,
    ) -> None:
        self._users, self._items = initial_tables(n_users, n_items, dim, init=init, seed=seed, std=std)
        self._rows: tuple[RowTable, RowTable] | None = None

    @property
    def shape(self) -> tuple[int, int, int]:
        """(n_users, n_items, d)."""
        return len(self._users), len(self._items), self._users.shape[1]

    @property
    def parallel(self) -> bool:
        """No: a step reads a few thousand short rows."""
        return False

    def prepare(self, device: torch.device, learning_rate: float) -> Optimizer:
        """Move to ``device`` and give the optimizer."""
        if device.type == "cpu":
            users, items = RowTable(self._users, learning_rate), RowTable(self._items, learning_rate)
            self._rows = users, items
            return RowAdam({"users": users, "items": items})
        parameters = nn.Parameter(self._users.to(device)), nn.Parameter(self._items.to(device))
        self._users, self._items = parameters
        return DenseAdam(parameters, learning_rate)

    def view(self) -> StepView:
        """The tables as they are now."""
        if self._rows is not None:
            return RowView(*self._rows)
        users, items = (Reader(partial(dense_rows, table)) for table in (self._users, self._items))
        return StepView(users, items, users, items)

    def tables(self) -> dict[str, Tensor]:
        """The parameters, up to date."""
        for rows in self._rows or ():
            rows.catch_up()
        return {"users": self._users, "items": self._items}

    def features(self) -> Embeddings:
        """The tables; on a CPU they share memory with the model."""
        tables = {name: table.detach().cpu().numpy() for name, table in self.tables().items()}
        return Embeddings(**tables)

    def extra(self) -> dict[str, FloatMatrix]:
        """Nothing: the features are all there is."""
        return {}


class Reader:
    """Reads rows of one table during one step; the same index tensor is read, and its gradient summed, only once."""

    def __init__(self, read: Callable[[Tensor], Tensor]) -> None:
        self._read = read
        self._seen: dict[int, tuple[Tensor, Tensor]] = {}

    def __call__(self, index: Tensor) -> Tensor:
        """Rows (*index.shape, d)."""
        if id(index) not in self._seen:
            self._seen[id(index)] = index, self._read(index)  # the index is kept, so that its id stays its own
        return self._seen[id(index)][1]


class RowReader(Reader):
    """A reader of a ``RowTable``, which can do more than gather."""

    def __init__(self, table: RowTable) -> None:
        super().__init__(table.gather)
        self.table = table


class StepView:
    """A ``TrainingView`` made of four readers; for MF the raw ones are the final ones."""

    def __init__(self, users: Reader, items: Reader, raw_users: Reader, raw_items: Reader) -> None:
        self.users, self.items, self.raw_users, self.raw_items = users, items, raw_users, raw_items

    def backward(self, batch: Batch, others: Tensor, base_weight: float, weight_decay: float) -> Tensor:
        """By autograd, all in one pass: a propagation is differentiated once."""
        total, bpr = others, torch.zeros((), device=others.device)
        if base_weight > 0:
            loss = bpr_loss(self, batch)
            total, bpr = total + base_weight * loss, loss.detach()
        if weight_decay > 0:
            total = total + weight_decay * l2_loss(self, batch)
        if total.requires_grad:
            total.backward()  # type: ignore[no-untyped-call]
        return bpr


class RowView(StepView):
    """Two ``RowTable``s: others by autograd, BPR and L2 compiled; their gradients meet in the tables."""

    def __init__(self, users: RowTable, items: RowTable) -> None:
        read_users, read_items = RowReader(users), RowReader(items)
        super().__init__(read_users, read_items, read_users, read_items)
        self._tables = users, items

    def backward(self, batch: Batch, others: Tensor, base_weight: float, weight_decay: float) -> Tensor:
        """As ``StepView``."""
        if others.requires_grad:
            others.backward()  # type: ignore[no-untyped-call]
        if base_weight > 0 or weight_decay > 0:
            return add_pair_gradients(*self._tables, batch, base_weight, weight_decay)
        return torch.zeros(())


def dense_rows(table: Tensor, index: Tensor) -> Tensor:
    """Rows ``index`` of an autograd tensor."""
    return nn.functional.embedding(index, table)
