"""Matrix factorisation: a user's score of an item is the inner product of two learned rows."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from freqd.embeddings import Embeddings, FloatMatrix
from freqd.models.readers import Reader, RowView, StepView, dense_rows
from freqd.training.adam import DenseAdam, Optimizer
from freqd.training.row_adam import RowAdam, RowTable

INIT_STD = 0.01


def initial_tables(
    shape: tuple[int, int, int], init: Embeddings | None, *, seed: int, std: float
) -> tuple[Tensor, Tensor]:
    """A copy of ``init``, or rows from N(0, std²); ``shape`` is (n_users, n_items, d).

    Raises:
        ValueError: ``init`` has other shapes.
    """
    n_users, n_items, dim = shape
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
        shape: (n_users, n_items, d).
        init: features to start from; None draws N(0, ``std``²).
    """

    def __init__(
        self, shape: tuple[int, int, int], *, init: Embeddings | None = None, seed: int, std: float = INIT_STD
    ) -> None:
        self._users, self._items = initial_tables(shape, init, seed=seed, std=std)
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

    @property
    def item_rows(self) -> RowTable:
        """The item table on a CPU, with its optimizer's moments; once it is prepared."""
        if self._rows is None:
            raise ValueError("the model is not prepared, or not on a CPU")
        return self._rows[1]

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
