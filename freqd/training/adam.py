"""Adam (Kingma & Ba, 2015): dense, and row by row for big tables on a CPU.

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

from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from freqd.numerics.jit import LINE, kernel, prefetch_to_write

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8
RATIO = BETA1 / BETA2**0.5
SCHEDULE_LENGTH = 20_000
"""Steps after which the bias corrections are 1 in float32: β₂ to this power is 2e-9."""

FloatArray = npt.NDArray[np.float32]
LongArray = npt.NDArray[np.int64]
Marks = npt.NDArray[np.int32]


class Optimizer(Protocol):
    """Updates parameters from the gradients that were gathered since the last step."""

    def step(self) -> None:
        """Make one step and forget the gradients."""
        ...

    def set_step_size(self, learning_rate: float) -> None:
        """Use another η from the next step on."""
        ...

    def state(self) -> dict[str, Tensor]:
        """Everything a later run needs to go on as if it had never stopped (but the parameters themselves)."""
        ...

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Take up what ``state`` gave."""
        ...


class SmallAdam:
    """Adam over small tensors on the CPU, such as a projector's: torch's takes longer in calls than these in arithmetic.

    Args:
        parameters: contiguous float32 on the CPU; one without a gradient stands still.
        learning_rate: Adam's η.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], learning_rate: float) -> None:
        self._parameters = list(parameters)
        self._moments = [(torch.zeros_like(p.detach()), torch.zeros_like(p.detach())) for p in self._parameters]
        self._arrays = [
            (_flat(p.detach()), _flat(moment), _flat(square))
            for p, (moment, square) in zip(self._parameters, self._moments, strict=True)
        ]
        self._steps = [0] * len(self._parameters)
        self._learning_rate = learning_rate

    def step(self) -> None:
        """Make one step and forget the gradients."""
        for n, (parameter, (weight, moment, square)) in enumerate(zip(self._parameters, self._arrays, strict=True)):
            if parameter.grad is None:
                continue
            self._steps[n] += 1
            size = self._learning_rate / (1 - BETA1 ** self._steps[n])
            correction = (1 - BETA2 ** self._steps[n]) ** -0.5
            gradient = _flat(parameter.grad.contiguous())
            _step_all(weight, gradient, moment, square, np.float32(size), np.float32(correction))
            parameter.grad = None

    def set_step_size(self, learning_rate: float) -> None:
        """Use another η from the next step on."""
        self._learning_rate = learning_rate

    def state(self) -> dict[str, Tensor]:
        """Moments and step counts by parameter and name."""
        named: dict[str, Tensor] = {}
        for n, ((moment, square), steps) in enumerate(zip(self._moments, self._steps, strict=True)):
            named |= {f"{n}.exp_avg": moment, f"{n}.exp_avg_sq": square, f"{n}.step": torch.tensor(float(steps))}
        return named

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Take up what ``state`` gave."""
        for n, (moment, square) in enumerate(self._moments):
            moment.copy_(state[f"{n}.exp_avg"])
            square.copy_(state[f"{n}.exp_avg_sq"])
            self._steps[n] = int(state[f"{n}.step"])


def _flat(tensor: Tensor) -> FloatArray:
    """The numbers of a tensor in a row, in its own memory."""
    array: FloatArray = tensor.view(-1).numpy()
    return array


class DenseAdam:
    """torch's fused Adam over whole tensors: one pass over parameter, gradient and moments."""

    def __init__(self, parameters: Iterable[nn.Parameter], learning_rate: float) -> None:
        self._parameters = list(parameters)
        self._adam = (
            torch.optim.Adam(
                self._parameters,
                lr=learning_rate,
                betas=(BETA1, BETA2),
                eps=EPSILON,
                fused=True,
            )
            if self._parameters
            else None
        )

    def step(self) -> None:
        """Make one step and forget the gradients."""
        if self._adam is not None and any(parameter.grad is not None for parameter in self._parameters):
            self._adam.step()
            self._adam.zero_grad(set_to_none=True)

    def set_step_size(self, learning_rate: float) -> None:
        """Use another η from the next step on."""
        for group in self._adam.param_groups if self._adam is not None else ():
            group["lr"] = learning_rate

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


class Rows(NamedTuple):
    """The arrays of a ``RowTable``, as compiled functions take them.

    Attributes:
        weight: w, (n, d) float32.
        ratio, deviation: q and √v of the last step with a gradient, (n, d) float32.
        marks: (n, 4) int32, by LAST, UP_TO and PLACE; one line of cache for all of a row.
        gradient: (n, d) float32, zero but for the first ``n_touched[0]`` rows, which are those of ``touched``.
        touched: (n,) int64, rows of the table that have a gradient.
        n_touched: (1,) int64.
    """

    weight: FloatArray
    ratio: FloatArray
    deviation: FloatArray
    marks: Marks
    gradient: FloatArray
    touched: LongArray
    n_touched: LongArray


LAST, UP_TO, PLACE = 0, 1, 2
"""Columns of ``Rows.marks``: s, a, and where in ``gradient`` the row's gradient is (−1 for nowhere)."""


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

    def combine(self, starts: LongArray, columns: LongArray, values: FloatArray) -> Tensor:
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
    def forward(
        ctx: Any, anchor: Tensor, table: RowTable, starts: LongArray, columns: LongArray, values: FloatArray
    ) -> Tensor:
        ctx.table, ctx.matrix = table, (starts, columns, values)
        out = torch.zeros(len(starts) - 1, table.weight.shape[1])
        combine_rows(starts, columns, values, out.numpy(), table.rows, table.step_count, table.schedule)
        return out

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, None, None, None, None]:
        starts, columns, values = ctx.matrix
        spread_rows(starts, columns, values, gradient.contiguous().numpy(), 1.0, ctx.table.rows)
        return None, None, None, None, None


_EPS, _ZERO = np.float32(EPSILON), np.float32(0.0)
_C1, _C2 = np.float32(1 - BETA1), np.float32(1 - BETA2)

FREE_ORDER = {"reassoc", "contract", "arcp", "nsz"}
"""Liberties of compiled sums; NaN and infinity keep their meaning, for a diverged training is to be seen."""

AHEAD = 4
"""How many rows ahead a loop asks for."""


@kernel(error_model="numpy", fastmath=FREE_ORDER)
def _step_all(
    weight: FloatArray,
    gradient: FloatArray,
    moment: FloatArray,
    square: FloatArray,
    size: np.float32,
    correction: np.float32,
) -> None:
    """One step of every number of flat arrays; ``size`` and ``correction`` are η / (1 − β₁ᵗ) and 1 / √(1 − β₂ᵗ)."""
    for c in range(len(weight)):
        g = gradient[c]
        m = moment[c] + _C1 * (g - moment[c])
        v = square[c] + _C2 * (g * g - square[c])
        weight[c] -= size * m / (np.sqrt(v) * correction + _EPS)
        moment[c], square[c] = m, v


# Compiled functions unpack ``Rows`` once, at the top: taking an array out of a tuple costs a count of references.


@kernel(error_model="numpy", fastmath=FREE_ORDER)
def read_row(
    row: int, weight: FloatArray, ratio: FloatArray, marks: Marks, now: int, schedule: npt.NDArray[np.float64]
) -> None:
    """Bring a row's weight up to date with step ``now``."""
    up_to = marks[row, UP_TO]
    if up_to == now:
        return
    marks[row, UP_TO] = now
    last = marks[row, LAST]
    if last == 0:
        return  # never touched: both moments are 0
    end = len(schedule) - 1
    before = schedule[min(up_to - last, end), 3] * schedule[min(up_to, end), 2]
    after = schedule[min(now - last, end), 3] * schedule[min(now, end), 2]
    total = np.float32(schedule[min(last, end), 1] * (before - after))
    for c in range(weight.shape[1]):
        weight[row, c] -= total * ratio[row, c]


@kernel()
def gradient_place(row: int, marks: Marks, touched: LongArray, n_touched: LongArray) -> int:
    """Where in ``Rows.gradient`` the row's gradient is to be added."""
    place = marks[row, PLACE]
    if place < 0:
        place = n_touched[0]
        marks[row, PLACE] = place
        touched[place] = row
        n_touched[0] += 1
    return int(place)


@kernel()
def ask_for(row: int, weight: FloatArray, ratio: FloatArray) -> None:
    """Begin to load what ``read_row`` will need."""
    for c in range(0, weight.shape[1], LINE):
        prefetch_to_write(weight, (row, c))
        prefetch_to_write(ratio, (row, c))


@kernel()
def _catch_up(index: LongArray, rows: Rows, now: int, schedule: npt.NDArray[np.float64]) -> None:
    weight, ratio, _, marks, _, _, _ = rows
    for n in range(len(index)):
        if n + AHEAD < len(index):
            ask_for(index[n + AHEAD], weight, ratio)
        read_row(index[n], weight, ratio, marks, now, schedule)


@kernel()
def _scatter_add(index: LongArray, values: FloatArray, rows: Rows) -> None:
    _, _, _, marks, gradient, touched, n_touched = rows
    for n in range(len(index)):
        place = gradient_place(index[n], marks, touched, n_touched)
        for c in range(values.shape[1]):
            gradient[place, c] += values[n, c]


@kernel(fastmath=FREE_ORDER)
def combine_rows(
    starts: LongArray,
    columns: LongArray,
    values: FloatArray,
    out: FloatArray,
    rows: Rows,
    now: int,
    schedule: npt.NDArray[np.float64],
) -> None:
    """Add M W to ``out`` (r, d); M as in ``RowTable.combine``."""
    weight, ratio, _, marks, _, _, _ = rows
    for r in range(len(starts) - 1):
        for p in range(starts[r], starts[r + 1]):
            if p + 2 * AHEAD < len(columns):
                prefetch_to_write(marks, (columns[p + 2 * AHEAD], 0))
            if p + AHEAD < len(columns):
                ask_for(columns[p + AHEAD], weight, ratio)
            column, value = columns[p], values[p]
            read_row(column, weight, ratio, marks, now, schedule)
            for c in range(weight.shape[1]):
                out[r, c] += value * weight[column, c]


@kernel(fastmath=FREE_ORDER)
def spread_rows(
    starts: LongArray, columns: LongArray, values: FloatArray, source: FloatArray, scale: float, rows: Rows
) -> None:
    """Add ``scale`` · Mᵀ ``source`` to the gradient; ``source`` is (r, d)."""
    _, _, _, marks, gradient, touched, n_touched = rows
    for r in range(len(starts) - 1):
        for p in range(starts[r], starts[r + 1]):
            if p + AHEAD < len(columns):
                prefetch_to_write(marks, (columns[p + AHEAD], 0))
            place = gradient_place(columns[p], marks, touched, n_touched)
            value = np.float32(scale * values[p])
            for c in range(gradient.shape[1]):
                gradient[place, c] += value * source[r, c]


@kernel(error_model="numpy", fastmath=FREE_ORDER)
def _update(rows: Rows, now: int, schedule: npt.NDArray[np.float64]) -> None:
    """One step of the rows with a gradient; clears the gradient."""
    weight, ratio, deviation, marks, gradient, touched, n_touched = rows
    end = len(schedule) - 1
    size, correction = np.float32(schedule[min(now, end), 0]), np.float32(schedule[min(now, end), 1])
    for n in range(n_touched[0]):
        row = touched[n]
        if n + AHEAD < n_touched[0]:
            ahead = touched[n + AHEAD]
            ask_for(ahead, weight, ratio)
            for c in range(0, weight.shape[1], LINE):
                prefetch_to_write(deviation, (ahead, c))
        last = marks[row, LAST]
        fade, fade_squares, old = _ZERO, _ZERO, _ZERO
        if last > 0:
            missed = min(now - last, end)
            fade, fade_squares = np.float32(schedule[missed, 4]), np.float32(schedule[missed, 5])
            old = np.float32(schedule[min(last, end), 1])
        for c in range(weight.shape[1]):
            g, v = gradient[n, c], deviation[row, c]
            moment = fade * (ratio[row, c] * (v * old + _EPS)) + _C1 * g
            v = np.sqrt(fade_squares * (v * v) + _C2 * (g * g))
            q = moment / (v * correction + _EPS)
            weight[row, c] -= size * q
            ratio[row, c] = q
            deviation[row, c] = v
            gradient[n, c] = _ZERO
        marks[row, LAST] = now
        marks[row, UP_TO] = now
        marks[row, PLACE] = -1
    n_touched[0] = 0
