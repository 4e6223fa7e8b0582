"""Feature distillation of one side (users or items): filter a few rows, project them, compare with the teacher's."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Literal

import numpy as np
import torch
from scipy import sparse
from torch import Tensor, nn

from freqd.distill.fused_loss import FeatureBatch, fused_distance, fused_relative_squared_error
from freqd.distill.projectors import LinearProjector, NoProjector
from freqd.distill.sampled_filter import RowFilter
from freqd.embeddings import FloatMatrix
from freqd.models.readers import combined
from freqd.numerics.jit import njit
from freqd.training.interfaces import RowLookup, SparseRows
from freqd.training.row_kernels import FloatArray, LongArray

Distance = Literal["squared", "cosine"]


class SideDistillation:
    """‖h(L)(T − P(S))‖² on the rows of a batch, in the cheap order: h(L)T once, P(h(L)S) for the batch.

    The squared loss is divided by the teacher's energy Σ ‖h(L)T‖² of the same rows: it is the share of it that is not
    yet matched, so that one weight means the same for teachers of any scale and size.
    The cosine loss of a row is 1 − cos(h(L)T, P(h(L)S)); rows in which the teacher is zero do not count.
    Edge dropout leaves out the same edges on both sides, so that h(L)T of the batch's rows is then computed at each step.

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
        self.target = self._tensor(row_filter.whole(teacher))
        self.energies = self.target.square().sum(1)
        self.teacher = FixedRows(self._tensor(teacher)) if row_filter.drops_edges else None
        self.projector = projector.to(self.device)

    def parameters(self) -> Iterable[nn.Parameter]:
        """Those of the projector."""
        return self.projector.parameters()

    def filtered(self, student: FloatMatrix) -> tuple[Tensor, Tensor]:
        """All rows of h(L)S, (n, d), for the student's features, (n, d), and of h(L)T, (n, D)."""
        return self._tensor(self.row_filter.whole(student)), self.target

    def loss(self, gather: RowLookup, rows: Tensor, shares: Tensor, rng: np.random.Generator) -> Tensor:
        """Weighted sum of the rows' losses.

        Args:
            gather: the student's rows by their numbers.
            rows: (r,) distinct.
            shares: (r,) weight of each row.
            rng: of the neighbours drawn, of the edge dropout and of the projector's.
        """
        again = copy.deepcopy(rng) if self.teacher is not None else rng
        filtered = self.row_filter.rows(gather, rows, rng)
        if self.teacher is None:
            energies = self.energies.index_select(0, rows)
            if self.distance == "squared" and self.device.type == "cpu":
                if isinstance(self.projector, LinearProjector):
                    return fused_relative_squared_error(
                        FeatureBatch(filtered, self.projector.weight, self.target, rows, energies, shares)
                    )
                if isinstance(self.projector, NoProjector):
                    return fused_distance(filtered, self.target, rows, energies, shares)
            target = self.target.index_select(0, rows)
        else:
            target = self.row_filter.rows(self.teacher, rows, again)
            energies = target.square().sum(1)
        projected = self.projector(filtered, rng)
        if self.distance == "squared":
            return relative_squared_error(projected, target, energies, shares)
        return cosine_distance(projected, target, energies, shares)

    def _tensor(self, table: FloatMatrix) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(table, np.float32)).to(self.device)


class FixedRows:
    """Rows of a table that is not trained."""

    def __init__(self, table: Tensor) -> None:
        self._table = table

    def __call__(self, index: Tensor) -> Tensor:
        """Rows (*index.shape, D)."""
        return self._table[index]

    def combine(self, rows: SparseRows) -> Tensor:
        """M T: (r, D)."""
        if self._table.device.type != "cpu":
            return combined(self, rows)
        starts, columns, values = (tensor.numpy() for tensor in rows)
        part = sparse.csr_array((values, columns, starts), shape=(len(starts) - 1, len(self._table)))
        return torch.from_numpy(part @ self._table.numpy())


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
