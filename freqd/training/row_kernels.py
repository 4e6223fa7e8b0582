"""Compiled steps of a ``RowTable``: see ``freqd.training.row_adam`` for the mathematics."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from freqd.numerics.jit import LINE, kernel, prefetch_to_write

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8
RATIO = BETA1 / BETA2**0.5
SCHEDULE_LENGTH = 20_000
"""Steps after which the bias corrections are 1 in float32: β₂ to this power is 2e-9."""

FloatArray = npt.NDArray[np.float32]
LongArray = npt.NDArray[np.int64]
Marks = npt.NDArray[np.int32]


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


_EPS, _ZERO = np.float32(EPSILON), np.float32(0.0)
_C1, _C2 = np.float32(1 - BETA1), np.float32(1 - BETA2)

FREE_ORDER = {"reassoc", "contract", "arcp", "nsz"}
"""Liberties of compiled sums; NaN and infinity keep their meaning, for a diverged training is to be seen."""

AHEAD = 4
"""How many rows ahead a loop asks for."""


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
def gradient_slot(row: int, marks: Marks, touched: LongArray, n_touched: LongArray) -> int:
    """Where in ``Rows.gradient`` the row's gradient is to be added."""
    place = marks[row, PLACE]
    if place < 0:
        place = n_touched[0]
        marks[row, PLACE] = place
        touched[place] = row
        n_touched[0] += 1
    return int(place)


@kernel()
def prefetch_row(row: int, weight: FloatArray, ratio: FloatArray) -> None:
    """Begin to load what ``read_row`` will need."""
    for c in range(0, weight.shape[1], LINE):
        prefetch_to_write(weight, (row, c))
        prefetch_to_write(ratio, (row, c))


@kernel()
def _catch_up(index: LongArray, rows: Rows, now: int, schedule: npt.NDArray[np.float64]) -> None:
    weight, ratio, _, marks, _, _, _ = rows
    for n in range(len(index)):
        if n + AHEAD < len(index):
            prefetch_row(index[n + AHEAD], weight, ratio)
        read_row(index[n], weight, ratio, marks, now, schedule)


@kernel()
def _scatter_add(index: LongArray, values: FloatArray, rows: Rows) -> None:
    _, _, _, marks, gradient, touched, n_touched = rows
    for n in range(len(index)):
        place = gradient_slot(index[n], marks, touched, n_touched)
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
                prefetch_row(columns[p + AHEAD], weight, ratio)
            column, value = columns[p], values[p]
            read_row(column, weight, ratio, marks, now, schedule)
            for c in range(weight.shape[1]):
                out[r, c] += value * weight[column, c]


@kernel(fastmath=FREE_ORDER)
def scatter_rows(starts: LongArray, columns: LongArray, values: FloatArray, source: FloatArray, rows: Rows) -> None:
    """Add Mᵀ ``source`` to the gradient; ``source`` is (r, d)."""
    _, _, _, marks, gradient, touched, n_touched = rows
    for r in range(len(starts) - 1):
        for p in range(starts[r], starts[r + 1]):
            if p + AHEAD < len(columns):
                prefetch_to_write(marks, (columns[p + AHEAD], 0))
            place = gradient_slot(columns[p], marks, touched, n_touched)
            value = values[p]
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
            prefetch_row(ahead, weight, ratio)
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
