"""Adam (Kingma & Ba, 2015) row by row, for big tables on a CPU.

One step t of Adam on a parameter w with gradient g, for every element, with step size η:

    m ← β₁ m + (1 − β₁) g,   v ← β₂ v + (1 − β₂) g²,   w ← w − η / (1 − β₁ᵗ) · q,   q = m / (√v / √(1 − β₂ᵗ) + ε)

A batch touches few rows of a table, but the momentum moves *every* row at every step. ``RowTable`` gives that
result without passing over the table: it knows for each row the last step s that brought a gradient and the step a
that the row has been made up to, and makes up the steps after a, whose g is 0, when it is next read. Their sum has a
closed form, since m and √v are geometric:

    w ← w − q / √(1 − β₂ˢ) · (rᵃ⁻ˢ c(a) − rᵇ⁻ˢ c(b)) up to step b,   r = β₁ / √β₂
    c(s) = η Σ_{j≥1} rʲ √(1 − β₂ˢ⁺ʲ) / (1 − β₁ˢ⁺ʲ)  =  r · (η √(1 − β₂ˢ⁺¹) / (1 − β₁ˢ⁺¹) + c(s + 1))

This is exact but for ε, which is held at its share of the denominator in step s. So a CPU and a GPU train alike,
which they would not with "lazy" Adam, which skips the missed steps. Weight decay is no part of it: L2 is a term of
the loss.

The time of a step goes into moving rows, not into arithmetic. So a table keeps q and √v of step s rather than m and v:
making up missed steps then reads no more than q, and a step takes one root and one division a number. m comes back
as q times its denominator.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from freqd.training.row_kernels import (
    BETA1,
    BETA2,
    LAST,
    PLACE,
    RATIO,
    SCHEDULE_LENGTH,
    UP_TO,
    FloatArray,
    LongArray,
    Rows,
    _catch_up,
    _scatter_add,
    _update,
    combine_rows,
    scatter_rows,
)


class RowTable:
    """A (n, d) float32 table on the CPU, read by rows and updated by Adam as if every step passed over all of it.

    Args:
        weight: (n, d) float32, contiguous; changed in place.
        learning_rate: Adam's η.
    """

    def __init__(self, weight: Tensor, learning_rate: float) -> None:
        self.weight = weight
        self.step_count = 0
        self._all_up_to = 0
        n_rows = weight.shape[0]
        shape = tuple(weight.shape)
        marks = np.zeros((n_rows, 4), np.int32)
        marks[:, PLACE] = -1
        self.rows = Rows(
            weight=weight.numpy(),
            ratio=np.zeros(shape, np.float32),
            deviation=np.zeros(shape, np.float32),
            marks=marks,
            gradient=np.zeros(shape, np.float32),
            touched=np.zeros(n_rows, np.int64),
            n_touched=np.zeros(1, np.int64),
        )
        self.schedule = _schedule(learning_rate)
        self._all_rows = np.arange(n_rows)
        self._anchor = torch.zeros((), requires_grad=True)

    def gather(self, index: Tensor) -> Tensor:
        """Rows ``index`` (any shape) as a differentiable (*index.shape, d) tensor."""
        rows: Tensor = _Gather.apply(self._anchor, self, index)  # type: ignore[no-untyped-call]
        return rows

    def combine(self, starts: Tensor, columns: Tensor, values: Tensor) -> Tensor:
        """M W for a few rows M of a sparse matrix and the table W: (r, d), differentiable, in place of a ``gather``.

        Args:
            starts: (r + 1,), where each row of M begins in the other two.
            columns: rows of the table, as often as they occur.
            values: of M.
        """
        rows: Tensor = _Combine.apply(self._anchor, self, starts, columns, values)  # type: ignore[no-untyped-call]
        return rows

    def catch_up(self, index: LongArray | None = None) -> None:
        """Bring rows (all without ``index``) up to date with the steps they missed."""
        if index is not None:
            _catch_up(index, self.rows, self.step_count, self.schedule)
        elif self._all_up_to != self.step_count:
            _catch_up(self._all_rows, self.rows, self.step_count, self.schedule)
            self._all_up_to = self.step_count

    def add_gradient(self, index: LongArray, rows: FloatArray) -> None:
        """Add ``rows`` (b, d) to the gradient of the table's rows ``index`` (b,), which may repeat."""
        _scatter_add(index, rows, self.rows)

    def step(self) -> None:
        """One step of Adam; rows without a gradient make theirs later."""
        self.step_count += 1
        _update(self.rows, self.step_count, self.schedule)

    def set_step_size(self, learning_rate: float) -> None:
        """Use another η from the next step on; rows make up what they missed with the old one first."""
        self.catch_up()
        self.schedule = _schedule(learning_rate)

    def replace(self, weight: FloatArray) -> None:
        """Go on from another table, with the moments as they are."""
        self.catch_up()
        self.rows.weight[:] = weight

    def state(self) -> dict[str, Tensor]:
        """What ``load`` needs beside the weight, which is brought up to date."""
        self.catch_up()
        return {
            "ratio": torch.from_numpy(self.rows.ratio),
            "deviation": torch.from_numpy(self.rows.deviation),
            "last": torch.from_numpy(self.rows.marks[:, LAST]),
            "step": torch.tensor(self.step_count),
        }

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Take up the state of a table whose weight is this one's."""
        self.step_count = self._all_up_to = int(state["step"])
        self.rows.ratio[:] = state["ratio"].numpy()
        self.rows.deviation[:] = state["deviation"].numpy()
        self.rows.marks[:, LAST] = state["last"].numpy()
        self.rows.marks[:, UP_TO] = self.step_count


class RowAdam:
    """The optimizer of several ``RowTable``s."""

    def __init__(self, tables: Mapping[str, RowTable]) -> None:
        self._tables = dict(tables)

    def step(self) -> None:
        """Make one step and forget the gradients."""
        for table in self._tables.values():
            table.step()

    def set_step_size(self, learning_rate: float) -> None:
        """Use another η from the next step on."""
        for table in self._tables.values():
            table.set_step_size(learning_rate)

    def state(self) -> dict[str, Tensor]:
        """The tables' states; brings all rows up to date first."""
        return {f"{name}.{key}": value for name, table in self._tables.items() for key, value in table.state().items()}

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Take up what ``state`` gave."""
        for name, table in self._tables.items():
            prefix = f"{name}."
            table.load({key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)})


def _schedule(learning_rate: float) -> npt.NDArray[np.float64]:
    """(SCHEDULE_LENGTH + 1, 6), by step t: η / (1 − β₁ᵗ), 1 / √(1 − β₂ᵗ), c(t), rᵗ, β₁ᵗ, β₂ᵗ; of row 0 not the first two."""
    scaled: npt.NDArray[np.float64] = _unit_schedule(SCHEDULE_LENGTH) * np.array(
        [learning_rate, 1, learning_rate, 1, 1, 1]
    )
    return scaled


@cache
def _unit_schedule(length: int) -> npt.NDArray[np.float64]:
    """``_schedule`` of η = 1.

    The powers are here because a row of 20 numbers takes less time to update than to compute them.
    """
    steps = np.arange(length + 1)
    t = np.maximum(steps, 1)
    size, correction = 1 / (1 - BETA1**t), 1 / np.sqrt(1 - BETA2**t)
    tail = np.empty(len(t))
    tail[-1] = RATIO / (1 - RATIO)
    for s in range(length - 1, -1, -1):
        tail[s] = RATIO * (size[s + 1] / correction[s + 1] + tail[s + 1])
    return np.stack([size, correction, tail, RATIO**steps, BETA1**steps, BETA2**steps], axis=1)


class _Gather(torch.autograd.Function):
    """Rows of a ``RowTable``; its gradient goes to the table's own buffer instead of a dense (n, d) tensor."""

    @staticmethod
    def forward(ctx: Any, anchor: Tensor, table: RowTable, index: Tensor) -> Tensor:
        """``anchor`` only makes autograd call ``backward``: the table itself is no autograd leaf."""
        ctx.table = table
        ctx.index = index
        table.catch_up(index.reshape(-1).numpy())
        return table.weight.index_select(0, index.reshape(-1)).reshape(*index.shape, table.weight.shape[1])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, None, None]:
        """Add the rows' gradients to the table's buffer."""
        flat = gradient.reshape(-1, gradient.shape[-1]).contiguous()
        ctx.table.add_gradient(ctx.index.reshape(-1).numpy(), flat.numpy())
        return None, None, None


class _Combine(torch.autograd.Function):
    """Rows of a sparse product with a ``RowTable``, read in place, as its gradient is added in place."""

    @staticmethod
    def forward(ctx: Any, anchor: Tensor, table: RowTable, starts: Tensor, columns: Tensor, values: Tensor) -> Tensor:
        ctx.table, ctx.matrix = table, (starts.numpy(), columns.numpy(), values.numpy())
        out = torch.zeros(len(starts) - 1, table.weight.shape[1])
        combine_rows(*ctx.matrix, out.numpy(), table.rows, table.step_count, table.schedule)  # type: ignore[call-arg]
        return out

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, None, None, None, None]:
        starts, columns, values = ctx.matrix
        scatter_rows(starts, columns, values, gradient.contiguous().numpy(), ctx.table.rows)
        return None, None, None, None, None
