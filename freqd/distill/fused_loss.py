"""The squared feature loss of a linear projector on rows of a ``RowTable``, with its gradient written out.

For rows s = (M S)_r of a sparse matrix M (the filter's slice) and the teacher's filtered rows t, with weights a of the rows:

    ℓ = Σ_r a ‖t − sW‖² = Σ_r a (‖t‖² − 2⟨s, tWᵀ⟩ + ⟨s, s WWᵀ⟩)
    ∂s = 2a (s WWᵀ − tWᵀ),   ∂W = 2 (sᵀ a s) W − 2 (a s)ᵀ t,   ∂S = Mᵀ ∂s

No (r, D) difference is formed, and S is read and its gradient added in place. Autograd gives the same from
``(target - projector(filtered)).square()``, in three times the time: the rows are few, so that calls count.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from freqd.numerics.jit import kernel
from freqd.training.row_adam import RowTable
from freqd.training.row_kernels import FREE_ORDER, FloatArray, LongArray, combine_rows, spread_rows

Slice = tuple[LongArray, LongArray, FloatArray]
"""Rows of a sparse matrix: (r + 1,) where each begins in the other two, their columns, their values."""


class FeatureBatch(NamedTuple):
    """What one side's loss is made of.

    Attributes:
        table: S.
        slice: M.
        target: h(L)T of the whole side, (n, D).
        rows: which of its rows are t, (r,).
        energies: ‖t‖², (r,).
        shares: (r,).
        weight: W, (d, D).
    """

    table: RowTable
    slice: Slice
    target: Tensor
    rows: Tensor
    energies: Tensor
    shares: Tensor
    weight: Tensor


def unmatched(*looks: FeatureBatch) -> Tensor:
    """Sum of the looks' ℓ with a = ``shares`` / Σ_r shares ‖t‖²: the share of the teacher's energy that is not matched.

    Differentiable. Several looks at once are one operation of autograd, and the rows are few, so that calls count.
    """
    result: Tensor = _Unmatched.apply(looks, *(look.weight for look in looks))  # type: ignore[no-untyped-call]
    return result


class _Unmatched(torch.autograd.Function):
    """Makes both gradients on the way forward, where all they need is available."""

    @staticmethod
    def forward(ctx: Any, looks: Sequence[FeatureBatch], *weights: Tensor) -> Tensor:
        total, ctx.parts = 0.0, []
        for (table, slice, target, numbers, energies, shares, _), weight in zip(looks, weights, strict=True):
            r, d = numbers.shape[0], weight.shape[0]  # len() of a tensor is a call of Python
            rows, both, left = torch.zeros(r, d), torch.empty(r + d, target.shape[1]), torch.empty(d, r + d)
            starts, columns, values = slice
            combine_rows(starts, columns, values, rows.numpy(), table.rows, table.step_count, table.schedule)
            torch.index_select(target, 0, numbers, out=both[:r])
            both[r:] = weight
            products = torch.mm(weight, both.T)  # W tᵀ and WWᵀ
            own = torch.mm(rows, products[:, r:])
            total += _weigh(rows.numpy(), products.numpy(), own.numpy(), energies.numpy(), shares.numpy(), left.numpy())
            torch.mm(left[:, :r], rows, out=left[:, r:]).neg_()
            ctx.parts.append((table, slice, own, torch.mm(left, both)))
        return torch.tensor(total, dtype=torch.float32)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        scale = gradients[0].item()
        for table, (starts, columns, values), slope, _ in ctx.parts:
            spread_rows(starts, columns, values, slope.numpy(), scale, table.rows)
        return None, *(weight_slope.mul_(scale) for *_, weight_slope in ctx.parts)


@kernel(error_model="numpy", fastmath=FREE_ORDER)
def _weigh(
    rows: FloatArray, cross: FloatArray, own: FloatArray, energies: FloatArray, shares: FloatArray, scaled: FloatArray
) -> float:
    """ℓ from s, W tᵀ (d, at least r) and s WWᵀ; ``own`` becomes ∂s and ``scaled`` (d, at least r) becomes −(2a s)ᵀ."""
    total = 0.0
    for r in range(len(rows)):
        total += shares[r] * energies[r]
    total = max(total, 1e-30)
    value = 0.0
    for r in range(len(rows)):
        part = np.float32(shares[r] / total)
        distance = energies[r]
        for c in range(rows.shape[1]):
            s, difference = rows[r, c], own[r, c] - cross[c, r]
            distance += s * (difference - cross[c, r])
            own[r, c] = np.float32(2.0) * part * difference
            scaled[c, r] = np.float32(-2.0) * part * s
        value += part * distance
    return value
