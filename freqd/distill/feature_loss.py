"""Feature distillation of one side (users or items): filter a few rows, project them, compare with the teacher's."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from freqd.distill.fused_loss import FeatureBatch, fused_relative_squared_error
from freqd.distill.projectors import LinearProjector
from freqd.distill.sampled_filter import RowFilter
from freqd.embeddings import FloatMatrix
from freqd.numerics.jit import njit
from freqd.training.interfaces import RowLookup
from freqd.training.row_kernels import FloatArray, LongArray

Distance = Literal["squared", "cosine"]


class SideDistillation:
    """‖h(L)(T − P(S))‖² on the rows of a batch, in the cheap order: h(L)T once, P(h(L)S) for the batch.

    The squared loss is divided by the teacher's energy Σ ‖h(L)T‖² of the same rows: it is the share of it that is not
    yet matched, so that one weight means the same for teachers of any scale and size.
    The cosine loss of a row is 1 − cos(h(L)T, P(h(L)S)); rows in which the teacher is zero do not count.

    Args:
        teacher: T, (n, D).
        row_filter: h(L) of this side's graph, for the student's rows.
        projector: P.
        distance: squared or cosine.
    """

    def __init__(
        self, teacher: FloatMatrix, row_filter: RowFilter, projector: nn.Module, distance: Distance = "squared"
    ) -> None:
        self.row_filter = row_filter
        self.distance = distance
        self.device = row_filter.device
        self.target = torch.from_numpy(np.ascontiguousarray(row_filter.whole(teacher), np.float32)).to(self.device)
        self.energies = self.target.square().sum(1)
        self.projector = projector.to(self.device)

    def parameters(self) -> Iterable[nn.Parameter]:
        """Those of the projector."""
        return self.projector.parameters()

    def fit_projector(self, student: FloatMatrix) -> None:
        """Start a linear projector at its optimum for the student's present features, (n, d)."""
        if isinstance(self.projector, LinearProjector):
            rows = np.ascontiguousarray(self.row_filter.whole(student), np.float32)
            self.projector.fit(torch.from_numpy(rows).to(self.device), self.target)

    def loss(self, gather: RowLookup, rows: Tensor, shares: Tensor, rng: np.random.Generator) -> Tensor:
        """Weighted sum of the rows' losses.

        Args:
            gather: the student's rows by their numbers.
            rows: (r,) distinct.
            shares: (r,) weight of each row.
            rng: of the neighbours drawn and of the edge dropout.
        """
        filtered = self.row_filter.rows(gather, rows, rng)
        energies = self.energies.index_select(0, rows)
        if self.distance == "squared" and isinstance(self.projector, LinearProjector) and self.device.type == "cpu":
            return fused_relative_squared_error(
                FeatureBatch(filtered, self.projector.weight, self.target, rows, energies, shares)
            )
        target, projected = self.target.index_select(0, rows), self.projector(filtered)
        if self.distance == "squared":
            return relative_squared_error(projected, target, energies, shares)
        return cosine_distance(projected, target, energies, shares)


def relative_squared_error(projected: Tensor, target: Tensor, energies: Tensor, shares: Tensor) -> Tensor:
    """Σ shares ‖t − p‖² / Σ shares ‖t‖²: the share of the teacher's energy that is not matched.

    Args:
        projected: p, (r, D).
        target: t, (r, D).
        energies: ‖t‖², (r,).
        shares: (r,).
    """
    part: Tensor = (shares * (target - projected).square().sum(1)).sum() / (shares * energies).sum().clamp_min(1e-30)
    return part


def cosine_distance(projected: Tensor, target: Tensor, energies: Tensor, shares: Tensor) -> Tensor:
    """Σ shares (1 − cos(t, p)) of the rows in which the teacher is not zero; arguments as of ``relative_squared_error``."""
    lengths = projected.square().sum(1).clamp_min(1e-24).sqrt() * energies.clamp_min(1e-24).sqrt()
    unlike = 1.0 - (target * projected).sum(1) / lengths
    total: Tensor = (shares * unlike * (energies > 0)).sum()
    return total


def unique_rows(*groups: Tensor) -> tuple[Tensor, Tensor]:
    """The distinct rows of several groups, and the mean over groups of each row's share 1/(distinct rows of its group).

    For users there is one group; for items two, so that the sum of losses is (positive + negative)/2.

    Args:
        groups: each (b,) int64.

    Returns:
        rows (r,) int64 ascending, shares (r,) float32 that sum to 1.
    """
    if groups[0].device.type == "cpu":
        found, parts = _occurring(tuple(group.numpy() for group in groups))
        return torch.from_numpy(found), torch.from_numpy(parts)
    return unique_rows_by_torch(*groups)


def unique_rows_by_torch(*groups: Tensor) -> tuple[Tensor, Tensor]:
    """``unique_rows`` on any device: several calls, and none of them leaves it."""
    distinct = [torch.unique(group) for group in groups]
    each = torch.cat([torch.full_like(rows, 1.0 / (len(rows) * len(groups)), dtype=torch.float32) for rows in distinct])
    if len(groups) == 1:
        return distinct[0], each
    rows, places = torch.unique(torch.cat(distinct), return_inverse=True)
    return rows, torch.zeros_like(rows, dtype=torch.float32).index_add_(0, places, each)


@njit(cache=True, nogil=True)
def _occurring(groups: tuple[LongArray, ...]) -> tuple[LongArray, FloatArray]:
    """``unique_rows`` in one call: calls are what it costs on a CPU."""
    rows, shares = np.empty(0, np.int64), np.empty(0, np.float32)
    for group in groups:
        ordered = np.sort(group)
        distinct = min(len(ordered), 1)
        for n in range(1, len(ordered)):
            if ordered[n] != ordered[n - 1]:
                ordered[distinct] = ordered[n]
                distinct += 1
        share = np.float32(1.0 / (distinct * len(groups)))
        merged, parts = np.empty(len(rows) + distinct, np.int64), np.empty(len(rows) + distinct, np.float32)
        a, b, end = 0, 0, 0
        while a < len(rows) or b < distinct:
            mine = b == distinct or (a < len(rows) and rows[a] <= ordered[b])
            both = a < len(rows) and b < distinct and rows[a] == ordered[b]
            merged[end] = rows[a] if mine else ordered[b]
            parts[end] = (shares[a] if mine else np.float32(0.0)) + (share if both or not mine else np.float32(0.0))
            a += 1 if mine else 0
            b += 1 if both or not mine else 0
            end += 1
        rows, shares = merged[:end], parts[:end]
    return rows, shares
