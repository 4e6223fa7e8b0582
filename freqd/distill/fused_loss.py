"""The squared feature loss of a linear projector or of none, with its gradient written out: functions of tensors on the CPU.

For filtered rows s of the student and t of the teacher, with weights a of the rows:

    ℓ = Σ_r a ‖t − sW‖² = Σ_r a (‖t‖² − 2⟨s, tWᵀ⟩ + ⟨s, s WWᵀ⟩)
    ∂s = 2a (s WWᵀ − tWᵀ),   ∂W = 2 (sᵀ a s) W − 2 (a s)ᵀ t

No (r, D) difference is formed. Autograd gives the same from ``(target - projector(filtered)).square()``, in more time:
the rows are few, so that calls count.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from freqd.numerics.jit import kernel
from freqd.training.row_kernels import FREE_ORDER, FloatArray, LongArray


class FeatureBatch(NamedTuple):
    """What one side's loss is made of.

    Attributes:
        rows: s, (r, d).
        weight: W, (d, D).
        target: h(L)T of the whole side, (n, D).
        numbers: which of its rows are t, (r,).
        energies: ‖t‖², (r,).
        shares: (r,).
    """

    rows: Tensor
    weight: Tensor
    target: Tensor
    numbers: Tensor
    energies: Tensor
    shares: Tensor


def fused_relative_squared_error(batch: FeatureBatch) -> Tensor:
    """ℓ with a = ``shares`` / Σ_r shares ‖t‖²: the share of the teacher's energy that is not matched.

    Differentiable in rows and weight.
    """
    result: Tensor = _Unmatched.apply(*batch)  # type: ignore[no-untyped-call]
    return result


def fused_distance(rows: Tensor, target: Tensor, numbers: Tensor, energies: Tensor, shares: Tensor) -> Tensor:
    """ℓ without a projector, W = 1; the arguments are those of ``FeatureBatch``, D = d. Differentiable in rows."""
    result: Tensor = _Distance.apply(rows, target, numbers, energies, shares)  # type: ignore[no-untyped-call]
    return result


class _Unmatched(torch.autograd.Function):
    """Makes both gradients on the way forward, where all they need is there."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, weight: Tensor, target: Tensor, *more: Tensor) -> Tensor:
        numbers, energies, shares = more
        r, d = rows.shape
        both, left = torch.empty(r + d, target.shape[1]), torch.empty(d, r + d)
        torch.index_select(target, 0, numbers, out=both[:r])
        both[r:] = weight
        products = torch.mm(weight, both.T)  # W tᵀ and WWᵀ
        own = torch.mm(rows, products[:, r:])
        loss = _weigh(rows.numpy(), products.numpy(), own.numpy(), energies.numpy(), shares.numpy(), left.numpy())
        torch.mm(left[:, :r], rows, out=left[:, r:]).neg_()
        ctx.slopes = own, torch.mm(left, both)
        return torch.tensor(loss, dtype=torch.float32)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        scale = gradients[0].item()
        return *(slope.mul_(scale) for slope in ctx.slopes), None, None, None, None


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
        value += float(part) * distance
    return value


class _Distance(torch.autograd.Function):
    """As ``_Unmatched``, without a projector."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, *more: Tensor) -> Tensor:
        ctx.slopes = torch.empty(rows.shape)
        target, numbers, energies, shares = (tensor.numpy() for tensor in more)
        loss = _distances(rows.numpy(), target, numbers, energies, shares, ctx.slopes.numpy())
        return torch.tensor(loss, dtype=torch.float32)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        return ctx.slopes.mul_(gradients[0].item()), None, None, None, None


@kernel(error_model="numpy", fastmath=FREE_ORDER)
def _distances(
    rows: FloatArray,
    target: FloatArray,
    numbers: LongArray,
    energies: FloatArray,
    shares: FloatArray,
    slopes: FloatArray,
) -> float:
    """ℓ from s and T (D = d); ``slopes`` becomes ∂s."""
    total = 0.0
    for r in range(len(rows)):
        total += shares[r] * energies[r]
    total = max(total, 1e-30)
    value = 0.0
    for r in range(len(rows)):
        part = np.float32(shares[r] / total)
        distance = 0.0
        for c in range(rows.shape[1]):
            difference = rows[r, c] - target[numbers[r], c]
            distance += float(difference * difference)
            slopes[r, c] = np.float32(2.0) * part * difference
        value += float(part) * distance
    return value
