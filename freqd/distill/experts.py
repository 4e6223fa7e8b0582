"""Distillation experts: small networks student space -> teacher space, one of which is picked by the teacher's row.

    α = softmax(t·V + c),    z = softmax((ln α + g)/τ),  g ~ Gumbel(0, 1),    P(s, t) = Σ_e z_e · MLP_e(s)

Kang et al., "DE-RRD: A Knowledge Distillation Framework for Recommender System", CIKM 2020, section 3.1. By the Gumbel
noise z is a draw of an expert with the probabilities α, relaxed so that it has a gradient; as τ falls it becomes hard.
A share that has become 0 in float32 has no gradient either, so its expert is left out: a hard choice costs one expert
a row, however many there are.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from freqd.config import Settings
from freqd.distill.projectors import MlpProjector
from freqd.embeddings import FloatMatrix


class ExpertSettings(Settings):
    """Experts and the annealing of their selection."""

    experts: int = Field(5, ge=1, le=64, description="Experts of each side; the papers take 10 to 30.")
    start_temperature: float = Field(1.0, gt=0.0, description="τ of the selection in the first epoch.")
    end_temperature: float = Field(1e-10, gt=0.0, description="τ from the last epoch of the annealing on.")
    anneal_epochs: int = Field(100, ge=1, le=100_000, description="Epochs in which τ falls from one to the other.")

    def temperature(self, epoch: int) -> float:
        """τ in an epoch (from 1): τ₀ (τ₁/τ₀)^((epoch − 1)/anneal_epochs), and τ₁ after that.

        A function of the epoch alone, so that a resumed training goes on as an uninterrupted one does.
        """
        done = min((epoch - 1) / self.anneal_epochs, 1.0)
        return float(self.start_temperature * (self.end_temperature / self.start_temperature) ** done)


class SelectedExperts(nn.Module):
    """P(s, t) of the module's equation.

    Args:
        dim_in: d. dim_out: D.
        generator: of the first weights.
        experts: how many.
    """

    def __init__(self, dim_in: int, dim_out: int, generator: torch.Generator, *, experts: int) -> None:
        super().__init__()
        self.experts = nn.ModuleList(MlpProjector(dim_in, dim_out, generator) for _ in range(experts))
        self.selection = nn.Parameter(torch.randn(dim_out, experts, generator=generator) / dim_out**0.5)
        self.selection_bias = nn.Parameter(torch.zeros(experts))

    def logits(self, teacher: Tensor) -> Tensor:
        """ln α up to a constant of the row: (n, D) -> (n, experts)."""
        return teacher @ self.selection + self.selection_bias

    def forward(self, rows: Tensor, teacher: Tensor, noise: Tensor, temperature: float) -> Tensor:
        """Project student rows.

        Args:
            rows: s, (n, d).
            teacher: t, (n, D), that select.
            noise: g, (n, experts).
            temperature: τ.

        Returns:
            (n, D).
        """
        shares = torch.softmax((self.logits(teacher) + noise) / temperature, dim=1)
        projected = rows.new_zeros(len(rows), teacher.shape[1])
        for number, expert in enumerate(self.experts):
            chosen = torch.nonzero(shares[:, number]).squeeze(1)
            if len(chosen):
                projected.index_add_(0, chosen, shares[chosen, number, None] * expert(rows[chosen]))
        return projected


class SideExperts:
    """The experts of one side (users or items) with the teacher's rows that they select by and imitate.

    Args:
        teacher: T, (n, D).
        dim: d of the student.
        options: number of experts and their annealing.
        seed: of the first weights.
        device: torch device.
    """

    def __init__(self, teacher: FloatMatrix, dim: int, options: ExpertSettings, *, seed: int, device: str) -> None:
        self.options = options
        self.device = torch.device(device)
        self.target = torch.from_numpy(np.ascontiguousarray(teacher, np.float32)).to(self.device)
        self.energies = self.target.square().sum(1)
        generator = torch.Generator().manual_seed(seed)
        self.network = SelectedExperts(dim, teacher.shape[1], generator, experts=options.experts).to(self.device)
        self.temperature = options.start_temperature
        self.generator = torch.Generator(self.device)

    def parameters(self) -> Iterable[nn.Parameter]:
        """Those of the experts and of the selection."""
        return self.network.parameters()

    def begin_epoch(self, epoch: int, rng: np.random.Generator) -> None:
        """Set the temperature of the epoch (from 1) and seed its noise."""
        self.temperature = self.options.temperature(epoch)
        self.generator.manual_seed(int(rng.integers(2**63)))

    def project(self, rows: Tensor, numbers: Tensor) -> Tensor:
        """P of student rows (r, d) that have these numbers (r,), with noise drawn anew: (r, D)."""
        exponential = torch.empty(len(rows), self.options.experts, device=self.device)
        exponential.exponential_(generator=self.generator).clamp_min_(1e-30)
        noise = -exponential.log()  # −ln of an exponential is Gumbel
        projected: Tensor = self.network(rows, self.target[numbers], noise, self.temperature)
        return projected

    def groups(self, numbers: Tensor) -> Tensor:
        """The most probable expert of each of these rows, (r,) int64."""
        with torch.no_grad():
            return self.network.logits(self.target[numbers]).argmax(1)

    def unmatched(self, rows: Tensor, numbers: Tensor, shares: Tensor) -> Tensor:
        """Σ shares·‖t − P(s, t)‖² / Σ shares·‖t‖²: the part of the teacher's energy that is not matched yet.

        Args:
            rows: (r, d) of the student.
            numbers: (r,) int64, theirs.
            shares: (r,) weight of each row.
        """
        distances = (self.target[numbers] - self.project(rows, numbers)).square().sum(1)
        part: Tensor = (shares * distances).sum() / (shares * self.energies[numbers]).sum().clamp_min(1e-30)
        return part
