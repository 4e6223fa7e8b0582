"""Projectors P: student space -> teacher space, trained with the student and thrown away afterwards."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from freqd.numerics.linalg import ridge

ProjectorKind = Literal["linear", "mlp", "mixture"]


class LinearProjector(nn.Module):
    """P(S) = S W, without a bias, so that it commutes with any graph filter: h(L)(S W) = (h(L) S) W."""

    def __init__(self, dim_in: int, dim_out: int, generator: torch.Generator) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(dim_in, dim_out, generator=generator) / dim_in**0.5)

    def forward(self, rows: Tensor) -> Tensor:
        """(n, d) -> (n, D)."""
        return rows @ self.weight

    @torch.no_grad()
    def fit(self, rows: Tensor, target: Tensor) -> None:
        """Start at the least-squares solution min_W ‖target − rows·W‖²; see ``ridge``.

        Args:
            rows: (n, d). target: (n, D).
        """
        gram, right = rows.double().T @ rows.double(), (rows.T @ target).double()
        self.weight.copy_(torch.from_numpy(ridge(gram.cpu().numpy(), right.cpu().numpy())))


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
