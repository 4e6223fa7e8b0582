"""Projectors P: student space -> teacher space, trained with the student and thrown away afterwards."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from freqd.numerics.jit import kernel
from freqd.numerics.linalg import ridge
from freqd.training.row_kernels import FloatArray

ProjectorKind = Literal["experts", "linear", "mlp", "mixture"]


class LinearProjector(nn.Module):
    """P(S) = S W, without a bias, so that it commutes with any graph filter: h(L)(S W) = (h(L) S) W."""

    def __init__(self, dim_in: int, dim_out: int, generator: torch.Generator) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(dim_in, dim_out, generator=generator) / dim_in**0.5)

    def forward(self, rows: Tensor, rng: np.random.Generator | None = None) -> Tensor:
        """(n, d) -> (n, D)."""
        return rows @ self.weight

    @torch.no_grad()
    def fit(self, *pairs: tuple[Tensor, Tensor]) -> None:
        """Start at the least-squares solution min_W Σ ‖target − rows·W‖²; see ``ridge``.

        Args:
            pairs: rows (n, d) and their target (n, D): one pair, or one of each side that shares the projector.
        """
        gram = sum(rows.double().T @ rows.double() for rows, _ in pairs)
        right = sum((rows.T @ target).double() for rows, target in pairs)
        self.weight.copy_(torch.from_numpy(ridge(gram.cpu().numpy(), right.cpu().numpy())))  # type: ignore[union-attr]


class MlpProjector(nn.Module):
    """P(S) = ReLU(S W₁ + b₁) W₂ + b₂ with (d + D)/2 hidden numbers, the expert of DE (Kang et al., CIKM 2020)."""

    def __init__(self, dim_in: int, dim_out: int, generator: torch.Generator) -> None:
        super().__init__()
        hidden = (dim_in + dim_out) // 2
        self.inner = nn.Parameter(torch.randn(dim_in, hidden, generator=generator) * (2.0 / dim_in) ** 0.5)
        self.inner_bias = nn.Parameter(torch.zeros(hidden))
        self.outer = nn.Parameter(torch.randn(hidden, dim_out, generator=generator) / hidden**0.5)
        self.outer_bias = nn.Parameter(torch.zeros(dim_out))

    def forward(self, rows: Tensor, rng: np.random.Generator | None = None) -> Tensor:
        """(n, d) -> (n, D)."""
        return torch.relu(rows @ self.inner + self.inner_bias) @ self.outer + self.outer_bias


class MixtureProjector(nn.Module):
    """P(S) = Σ_e softmax(S G)_e · MLP_e(S): experts that share the rows by a learnt gate."""

    def __init__(self, dim_in: int, dim_out: int, generator: torch.Generator, *, experts: int) -> None:
        super().__init__()
        self.experts = nn.ModuleList(MlpProjector(dim_in, dim_out, generator) for _ in range(experts))
        self.gate = nn.Parameter(torch.randn(dim_in, experts, generator=generator) / dim_in**0.5)

    def forward(self, rows: Tensor, rng: np.random.Generator | None = None) -> Tensor:
        """(n, d) -> (n, D)."""
        shares = torch.softmax(rows @ self.gate, dim=1)  # (n, E)
        outputs = torch.stack([expert(rows) for expert in self.experts], dim=1)  # (n, E, D)
        return (shares.unsqueeze(1) @ outputs).squeeze(1)


class NoProjector(nn.Module):
    """P(S) = S, where the target has the student's own dimension."""

    def forward(self, rows: Tensor, rng: np.random.Generator | None = None) -> Tensor:
        """(n, d) -> (n, d)."""
        return rows


class ExpertsProjector(nn.Module):
    """P(S) = mean over experts e of drop(ReLU(drop(S) A_e + a_e)) B_e + b_e, with D hidden numbers each.

    The projector of the authors' program for FreqD; every expert drops numbers of its own. Weights start as those of
    ``nn.Linear`` do, uniformly within ± 1/√(inputs).

    Args:
        dim_in: d. dim_out: D.
        generator: of the first weights.
        experts: how many.
        dropout: probability with which an input and a hidden number are set to 0; the others are divided by its complement.
    """

    def __init__(
        self, dim_in: int, dim_out: int, generator: torch.Generator, *, experts: int, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.dropout = dropout

        def uniform(inputs: int, *shape: int) -> nn.Parameter:
            return nn.Parameter((2.0 * torch.rand(experts, *shape, generator=generator) - 1.0) / inputs**0.5)

        self.inner, self.inner_bias = uniform(dim_in, dim_in, dim_out), uniform(dim_in, dim_out)
        self.outer, self.outer_bias = uniform(dim_out, dim_out, dim_out), uniform(dim_out, dim_out)

    def forward(self, rows: Tensor, rng: np.random.Generator | None = None) -> Tensor:
        """(n, d) -> (n, D); ``rng`` draws what is dropped, without it nothing is."""
        projected = self.outer_bias.mean(0)
        for inner, bias, outer in zip(self.inner, self.inner_bias, self.outer, strict=True):
            hidden = self._active(torch.addmm(bias, self._dropped(rows, rng), inner), rng)
            projected = torch.addmm(projected, hidden, outer, alpha=1.0 / len(self.inner))
        return projected

    def _dropped(self, values: Tensor, rng: np.random.Generator | None) -> Tensor:
        """Dropout; ``values`` stay as they are."""
        if rng is None or self.dropout == 0.0:
            return values
        kept = torch.from_numpy(self._noise(values, rng) >= self._threshold)
        return values * kept.to(values) / (1.0 - self.dropout)

    def _active(self, values: Tensor, rng: np.random.Generator | None) -> Tensor:
        """ReLU and dropout; on a CPU in place, in one pass each way."""
        if rng is None or self.dropout == 0.0 or values.device.type != "cpu":
            return self._dropped(torch.relu(values), rng)
        result: Tensor = _Active.apply(  # type: ignore[no-untyped-call]
            values, self._noise(values, rng).ravel(), self._threshold, np.float32(1.0 / (1.0 - self.dropout))
        )
        return result

    @property
    def _threshold(self) -> np.uint16:
        return np.uint16(self.dropout * 65536)

    @staticmethod
    def _noise(values: Tensor, rng: np.random.Generator) -> npt.NDArray[np.uint16]:
        """Uniform 16-bit numbers: a fifth of the time of as many floats."""
        return np.frombuffer(rng.bytes(2 * values.numel()), np.uint16).reshape(values.shape)


class _Active(torch.autograd.Function):
    """ReLU and dropout in place; what is above 0 afterwards has a slope of ``scale``."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, noise: Any, threshold: Any, scale: Any) -> Tensor:
        ctx.mark_dirty(values)
        _activate(values.detach().view(-1).numpy(), noise, threshold, scale)
        ctx.save_for_backward(values)
        ctx.scale = scale
        return values

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (values,) = ctx.saved_tensors
        slopes = gradients[0].contiguous()
        _slope(slopes.view(-1).numpy(), values.view(-1).numpy(), ctx.scale)
        return slopes, None, None, None


@kernel()
def _activate(values: FloatArray, noise: Any, threshold: Any, scale: Any) -> None:
    for n in range(len(values)):
        values[n] = values[n] * scale if noise[n] >= threshold and values[n] > 0.0 else np.float32(0.0)


@kernel()
def _slope(gradient: FloatArray, values: FloatArray, scale: Any) -> None:
    for n in range(len(gradient)):
        gradient[n] = gradient[n] * scale if values[n] > 0.0 else np.float32(0.0)


def make_projector(
    kind: ProjectorKind,
    dim_in: int,
    dim_out: int,
    *,
    generator: torch.Generator,
    experts: int = 5,
    dropout: float = 0.0,
) -> nn.Module:
    """The projector named ``kind``, with weights drawn from ``generator``.

    Args:
        kind: linear, one MLP, the mean of MLPs (experts) or their mixture.
        dim_in: d. dim_out: D.
        generator: of the first weights.
        experts: MLPs of experts and mixture.
        dropout: of experts.

    Raises:
        ValueError: there is no projector of that name.
    """
    if kind == "experts":
        return ExpertsProjector(dim_in, dim_out, generator, experts=experts, dropout=dropout)
    if kind == "linear":
        return LinearProjector(dim_in, dim_out, generator)
    if kind == "mlp":
        return MlpProjector(dim_in, dim_out, generator)
    if kind == "mixture":
        return MixtureProjector(dim_in, dim_out, generator, experts=experts)
    raise ValueError(f"unknown projector {kind!r}; there are experts, linear, mlp and mixture")
