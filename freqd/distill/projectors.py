"""Projectors P: student space -> teacher space, trained with the student and thrown away afterwards."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn

ProjectorKind = Literal["linear", "mlp", "mixture"]


class LinearProjector(nn.Module):
    """P(S) = S W, without a bias, so that it commutes with any graph filter: h(L)(S W) = (h(L) S) W."""

    def __init__(self, dim_in: int, dim_out: int, generator: torch.Generator) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(dim_in, dim_out, generator=generator) / dim_in**0.5)

    def forward(self, rows: Tensor) -> Tensor:
        """(n, d) -> (n, D)."""
        return rows @ self.weight

    def squared_distances(self, rows: Tensor, target: Tensor, energies: Tensor) -> Tensor:
        """‖t − sW‖² = ‖t‖² − 2⟨s, tWᵀ⟩ + ⟨s, s WWᵀ⟩ of each row, without the (n, D) differences and their gradients.

        Args:
            rows: s, (n, d). target: t, (n, D). energies: ‖t‖², (n,).

        Returns:
            (n,), exact to float32 rounding of the energies.
        """
        distances: Tensor = _SquaredDistances.apply(rows, self.weight, target, energies)  # type: ignore[no-untyped-call]
        return distances

    @torch.no_grad()
    def fit(self, rows: Tensor, target: Tensor) -> None:
        """Start at the least-squares solution min_W ‖target − rows·W‖², with a ridge of 1e-6 of the mean energy.

        Args:
            rows: (n, d). target: (n, D).
        """
        gram = rows.double().T @ rows.double()
        ridge = 1e-6 * gram.trace() / len(gram) + 1e-12
        gram += ridge * torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
        self.weight.copy_(torch.linalg.solve(gram, (rows.T @ target).double()))


class _SquaredDistances(torch.autograd.Function):
    """‖t − sW‖² of each row; with weights a on the rows, the gradients are

    ∂s = 2a (s WWᵀ − t Wᵀ),   ∂W = 2 (sᵀ a s) W − 2 (a s)ᵀ t.
    """

    @staticmethod
    def forward(ctx: Any, rows: Tensor, weight: Tensor, target: Tensor, energies: Tensor) -> Tensor:
        cross, own = target @ weight.T, rows @ (weight @ weight.T)
        ctx.save_for_backward(rows, weight, target, cross, own)
        return energies + (rows * (own - 2.0 * cross)).sum(1)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None, None]:
        rows, weight, target, cross, own = ctx.saved_tensors
        twice = 2.0 * gradients[0].unsqueeze(1)
        scaled = (twice * rows).T
        return twice * (own - cross), torch.addmm((scaled @ rows) @ weight, scaled, target, alpha=-1.0), None, None


class MlpProjector(nn.Module):
    """P(S) = ReLU(S W₁ + b₁) W₂ + b₂ with (d + D)/2 hidden numbers, the expert of DE (Kang et al., CIKM 2020)."""

    def __init__(self, dim_in: int, dim_out: int, generator: torch.Generator) -> None:
        super().__init__()
        hidden = (dim_in + dim_out) // 2
        self.inner = nn.Parameter(torch.randn(dim_in, hidden, generator=generator) * (2.0 / dim_in) ** 0.5)
        self.inner_bias = nn.Parameter(torch.zeros(hidden))
        self.outer = nn.Parameter(torch.randn(hidden, dim_out, generator=generator) / hidden**0.5)
        self.outer_bias = nn.Parameter(torch.zeros(dim_out))

    def forward(self, rows: Tensor) -> Tensor:
        """(n, d) -> (n, D)."""
        return torch.relu(rows @ self.inner + self.inner_bias) @ self.outer + self.outer_bias


class MixtureProjector(nn.Module):
    """P(S) = Σ_e softmax(S G)_e · MLP_e(S): experts that share the rows by a learnt gate."""

    def __init__(self, dim_in: int, dim_out: int, generator: torch.Generator, *, experts: int) -> None:
        super().__init__()
        self.experts = nn.ModuleList(MlpProjector(dim_in, dim_out, generator) for _ in range(experts))
        self.gate = nn.Parameter(torch.randn(dim_in, experts, generator=generator) / dim_in**0.5)

    def forward(self, rows: Tensor) -> Tensor:
        """(n, d) -> (n, D)."""
        shares = torch.softmax(rows @ self.gate, dim=1)  # (n, E)
        outputs = torch.stack([expert(rows) for expert in self.experts], dim=1)  # (n, E, D)
        return (shares.unsqueeze(1) @ outputs).squeeze(1)


def make_projector(
    kind: ProjectorKind, dim_in: int, dim_out: int, *, generator: torch.Generator, experts: int = 5
) -> nn.Module:
    """The projector named ``kind``, with weights drawn from ``generator``.

    Raises:
        ValueError: there is no projector of that name.
    """
    if kind == "linear":
        return LinearProjector(dim_in, dim_out, generator)
    if kind == "mlp":
        return MlpProjector(dim_in, dim_out, generator)
    if kind == "mixture":
        return MixtureProjector(dim_in, dim_out, generator, experts=experts)
    raise ValueError(f"unknown projector {kind!r}; there are linear, mlp and mixture")
