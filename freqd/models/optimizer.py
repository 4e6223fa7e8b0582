"""Adam (Kingma & Ba, 2015): dense, and row by row for big tables on a CPU.

One step t of Adam on a parameter w with gradient g, for every element, with step size η:

    m ← β₁ m + (1 − β₁) g,   v ← β₂ v + (1 − β₂) g²,   w ← w − η / (1 − β₁ᵗ) · m / (√(v / (1 − β₂ᵗ)) + ε)

A batch touches few rows of a table, but the momentum moves *every* row at every step. ``RowTable`` gives that
result without passing over the table: a row remembers the last step s it is up to date with, and the k steps it
missed, whose g is 0, are made up when it is next read. Their sum has a closed form, since m and √v are geometric:

    w ← w − m / √v · (c(s) − rᵏ c(s + k)),   m ← β₁ᵏ m,   v ← β₂ᵏ v,   r = β₁ / √β₂
    c(s) = η Σ_{j≥1} rʲ √(1 − β₂ˢ⁺ʲ) / (1 − β₁ˢ⁺ʲ)  =  r · (η √(1 − β₂ˢ⁺¹) / (1 − β₁ˢ⁺¹) + c(s + 1))

This is exact but for ε, which is held at its share of the denominator in step s. So a CPU and a GPU train alike,
which they would not with "lazy" Adam, which skips the missed steps. Weight decay is no part of it: L2 is a term of
the loss.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from numba import njit
from torch import Tensor, nn

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8
RATIO = BETA1 / BETA2**0.5
SCHEDULE_LENGTH = 20_000
"""Steps after which the bias corrections are 1 in float32: β₂ to this power is 2e-9."""

FloatArray = npt.NDArray[np.float32]
LongArray = npt.NDArray[np.int64]


class Optimizer(Protocol):
    """Updates parameters from the gradients that were gathered since the last step."""

    def step(self) -> None:
        """Make one step and forget the gradients."""
        ...

    def state(self) -> dict[str, Tensor]:
        """Everything a later run needs to go on as if it had never stopped (but the parameters themselves)."""
        ...

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Take up what ``state`` gave."""
        ...


class DenseAdam:
    """torch's Adam over whole tensors; fused on CUDA."""

    def __init__(self, parameters: Iterable[nn.Parameter], learning_rate: float) -> None:
        self._parameters = list(parameters)
        fused = bool(self._parameters) and all(p.is_cuda for p in self._parameters)
        self._adam = (
            torch.optim.Adam(
                self._parameters,
                lr=learning_rate,
                betas=(BETA1, BETA2),
                eps=EPSILON,
                fused=fused,
            )
            if self._parameters
            else None
        )

    def step(self) -> None:
        """Make one step and forget the gradients."""
        if self._adam is not None:
            self._adam.step()
            self._adam.zero_grad(set_to_none=True)

    def state(self) -> dict[str, Tensor]:
        """Moments and step counts by parameter and name."""
        if self._adam is None:
            return {}
        return {
            f"{n}.{name}": value
            for n, parameter in enumerate(self._parameters)
            for name, value in self._adam.state[parameter].items()
        }

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Take up what ``state`` gave."""
        if self._adam is None:
            return
        for n, parameter in enumerate(self._parameters):
            prefix = f"{n}."
            own = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
            if own:
                self._adam.state[parameter] = {name: value.to(parameter.device).clone() for name, value in own.items()}


class RowTable:
    """A (n, d) float32 table on the CPU, read by rows and updated by Adam as if every step passed over all of it.

    Args:
        weight: (n, d) float32, contiguous; changed in place.
        learning_rate: Adam's η.
    """

    def __init__(self, weight: Tensor, learning_rate: float) -> None:
        self.weight = weight
        self.step_count = 0
        n_rows = weight.shape[0]
        self.moment = torch.zeros_like(weight)
        self.variance = torch.zeros_like(weight)
        self._arrays = (weight.numpy(), self.moment.numpy(), self.variance.numpy())
        self._gradient = np.zeros(tuple(weight.shape), np.float32)
        self._last = np.zeros(n_rows, np.int64)
        self._touched = np.zeros(n_rows, np.bool_)
        self._touched_rows = np.zeros(n_rows, np.int64)
        self._n_touched = 0
        self._all_rows = np.arange(n_rows)
        self._anchor = torch.zeros((), requires_grad=True)
        self._schedule = _schedule(learning_rate)

    def gather(self, index: Tensor) -> Tensor:
        """Rows ``index`` (any shape) as a differentiable (*index.shape, d) tensor."""
        rows: Tensor = _Gather.apply(self._anchor, self, index)  # type: ignore[no-untyped-call]
        return rows

    def catch_up(self, index: LongArray | None = None) -> None:
        """Bring rows (all without ``index``) up to date with the steps they missed."""
        rows = self._all_rows if index is None else index
        _catch_up(rows, *self._arrays, self._last, self.step_count, self._schedule)

    def add_gradient(self, index: LongArray, rows: FloatArray) -> None:
        """Add ``rows`` (b, d) to the gradient of the table's rows ``index`` (b,), which may repeat."""
        self._n_touched = _scatter_add(index, rows, self._gradient, self._touched, self._touched_rows, self._n_touched)

    def step(self) -> None:
        """One step of Adam; rows without a gradient make theirs later."""
        self.step_count += 1
        rows = self._touched_rows[: self._n_touched]
        size, correction = self._schedule[min(self.step_count, SCHEDULE_LENGTH), :2].astype(np.float32)
        _update(rows, self._gradient, *self._arrays, self._last, self._touched, self.step_count, size, correction)
        self._n_touched = 0

    def load(self, moment: Tensor, variance: Tensor, step_count: int) -> None:
        """Take up the optimizer's state of a table whose rows are all up to date with ``step_count``."""
        self.moment.copy_(moment)
        self.variance.copy_(variance)
        self._last[:] = step_count
        self.step_count = step_count


class RowAdam:
    """The optimizer of several ``RowTable``s."""

    def __init__(self, tables: Mapping[str, RowTable]) -> None:
        self._tables = dict(tables)

    def step(self) -> None:
        """Make one step and forget the gradients."""
        for table in self._tables.values():
            table.step()

    def state(self) -> dict[str, Tensor]:
        """Moments and step counts; brings all rows up to date first."""
        state = {}
        for name, table in self._tables.items():
            table.catch_up()
            state[f"{name}.moment"] = table.moment
            state[f"{name}.variance"] = table.variance
            state[f"{name}.step"] = torch.tensor(table.step_count)
        return state

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Take up what ``state`` gave."""
        for name, table in self._tables.items():
            table.load(state[f"{name}.moment"], state[f"{name}.variance"], int(state[f"{name}.step"]))


def _schedule(learning_rate: float) -> npt.NDArray[np.float64]:
    """(SCHEDULE_LENGTH + 1, 6), by step t: η / (1 − β₁ᵗ), 1 / √(1 − β₂ᵗ), c(t), rᵗ, β₁ᵗ, β₂ᵗ; of row 0 not the first two.

    The powers are here because a row of 20 numbers takes less time to update than to compute them.
    """
    steps = np.arange(SCHEDULE_LENGTH + 1)
    t = np.maximum(steps, 1)
    size, correction = learning_rate / (1 - BETA1**t), 1 / np.sqrt(1 - BETA2**t)
    tail = np.empty(len(t))
    tail[-1] = learning_rate * RATIO / (1 - RATIO)
    for s in range(SCHEDULE_LENGTH - 1, -1, -1):
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


_B1, _B2, _EPS, _ZERO = np.float32(BETA1), np.float32(BETA2), np.float32(EPSILON), np.float32(0.0)
_C1, _C2 = np.float32(1 - BETA1), np.float32(1 - BETA2)


@njit(cache=True, nogil=True, error_model="numpy")
def _scatter_add(
    index: LongArray, rows: FloatArray, gradient: FloatArray, touched: Any, touched_rows: LongArray, n_touched: int
) -> int:
    for n in range(len(index)):
        row = index[n]
        if not touched[row]:
            touched[row] = True
            touched_rows[n_touched] = row
            n_touched += 1
        target, source = gradient[row], rows[n]
        for c in range(len(source)):
            target[c] += source[c]
    return n_touched


@njit(cache=True, nogil=True, error_model="numpy")
def _catch_up(
    rows: LongArray,
    weight: FloatArray,
    moment: FloatArray,
    variance: FloatArray,
    last: LongArray,
    now: int,
    schedule: npt.NDArray[np.float64],
) -> None:
    """Steps ``last[row] + 1 .. now`` of rows that had no gradient in them."""
    end = len(schedule) - 1
    for row in rows:
        s, k = last[row], now - last[row]
        if k == 0:
            continue
        last[row] = now
        if s == 0:
            continue  # never touched: both moments are 0
        then, powers = schedule[min(s, end)], schedule[min(k, end)]
        total = np.float32(then[2] - powers[3] * schedule[min(now, end), 2])
        epsilon = np.float32(EPSILON / then[1])
        b1, b2 = np.float32(powers[4]), np.float32(powers[5])
        w, m, v = weight[row], moment[row], variance[row]
        for c in range(len(w)):
            w[c] -= total * m[c] / (np.sqrt(v[c]) + epsilon)
            m[c] *= b1
            v[c] *= b2


@njit(cache=True, nogil=True, error_model="numpy")
def _update(
    rows: LongArray,
    gradient: FloatArray,
    weight: FloatArray,
    moment: FloatArray,
    variance: FloatArray,
    last: LongArray,
    touched: npt.NDArray[np.bool_],
    now: int,
    size: np.float32,
    correction: np.float32,
) -> None:
    """One step of the rows with a gradient; clears the gradient."""
    for row in rows:
        w, m, v, g = weight[row], moment[row], variance[row], gradient[row]
        for c in range(len(w)):
            m[c] = _B1 * m[c] + _C1 * g[c]
            v[c] = _B2 * v[c] + _C2 * (g[c] * g[c])
            w[c] -= size * m[c] / (np.sqrt(v[c]) * correction + _EPS)
            g[c] = _ZERO
        last[row] = now
        touched[row] = False
