"""HTD, hierarchical topology distillation: who is near to whom, within groups and towards the groups.

    A_ij = cos(e_i, e_j),    H_gj = cos(p_g, e_j),    p_g = mean of the e_i in group g

    topology = [ Σ_{i, j in one group} (A^T_ij − A^S_ij)² + Σ_{g, j} (H^T_gj − H^S_gj)² ] / number of terms
    loss = balance · topology + (1 − balance) · assignment

over the distinct users and items of ``sample`` interactions of a batch. A group is the expert that the teacher's row
selects most probably, users and items apart; the selection is learnt by the assignment loss, which is that of ``de``.
Kang et al., "Topology Distillation for Recommender System", KDD 2021, with the group-level topology of groups to
entities, Group(P, e), the one that the authors' own example uses.

Where this differs: that program (github.com/SeongKu-Kang/Topology_Distillation_KDD21) keeps, of the pairs within
a group, only those of positive teacher cosine, treats the groups' means as constants, and sums; here every pair of a
group counts, the gradient goes through the student's means, as the equations read, and sums are means, so that a
weight does not depend on the batch. Its temperature stays at 0.1; ``start_temperature = end_temperature = 0.1`` gives
that. Rows in which the teacher is zero have no direction and do not count.

Cost: with unit rows, Σ_ij (⟨t_i, t_j⟩ − ⟨s_i, s_j⟩)² = ‖TᵀT‖² − 2 ‖TᵀS‖² + ‖SᵀS‖² for each group. So what has a
gradient costs O(rows · D · d), and no matrix of all pairs is formed where a group has more rows than D.
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor, nn

from freqd.distill.objectives._experts import ExpertObjective, ExpertOptions
from freqd.distill.objectives.base import objective
from freqd.training.interfaces import View
from freqd.training.sampling import Batch

_SHORT = 1e-6
"""Rows shorter than this are not scaled up to length 1: their gradient would be without bound."""


class HtdOptions(ExpertOptions):
    """Options of ``htd``; an expert is a group."""

    balance: float = Field(0.5, ge=0.0, le=1.0, description="Share of the topology in the loss; the rest: assignment.")


def unit(rows: Tensor) -> Tensor:
    """Rows of length 1."""
    return nn.functional.normalize(rows, dim=1, eps=_SHORT)


def topology_loss(teacher: Tensor, student: Tensor, groups: Tensor) -> Tensor:
    """Mean squared difference of cosines, of all pairs within a group and of all groups with all rows.

    Args:
        teacher: (r, D), no row zero. student: (r, d).
        groups: (r,) int64 group of each row, any numbers >= 0.
    """
    if len(groups) == 0:
        return student.sum()
    order = torch.argsort(groups, stable=True)
    teacher, student = teacher[order], student[order]
    _, group, sizes = torch.unique_consecutive(groups[order], return_inverse=True, return_counts=True)
    unit_teacher, unit_student = unit(teacher), unit(student)

    within = student.new_zeros(())
    lengths = sizes.tolist()
    for t, s in zip(torch.split(unit_teacher, lengths), torch.split(unit_student, lengths), strict=True):
        own = t @ t.T if len(t) < t.shape[1] else t.T @ t
        within = within + own.square().sum() - 2.0 * (t.T @ s).square().sum() + (s.T @ s).square().sum()

    def to_groups(rows: Tensor, units: Tensor) -> Tensor:
        means = rows.new_zeros(len(sizes), rows.shape[1]).index_add(0, group, rows) / sizes[:, None]
        return unit(means) @ units.T  # (groups, r)

    across = (to_groups(teacher, unit_teacher) - to_groups(student, unit_student)).square().sum()
    mean: Tensor = (within + across) / (sizes.square().sum() + len(sizes) * len(groups))
    return mean


@objective("htd")
class HierarchicalTopology(ExpertObjective):
    """Cosines within groups and towards groups, and the loss by which the groups are learnt."""

    Options = HtdOptions

    def part_loss(self, view: View, part: Batch) -> Tensor:
        """``balance`` · topology + (1 − ``balance``) · assignment."""
        (users, _), (items, _) = self.rows(part)
        groups = torch.cat([self.user.groups(users), self.item.groups(items) + self.options.experts])
        teacher = torch.cat([self.user.target[users], self.item.target[items]])
        directed = torch.cat([self.user.energies[users], self.item.energies[items]]) > 0
        student = torch.cat([view.users(users), view.items(items)])
        topology = topology_loss(teacher[directed], student[directed], groups[directed])
        balance = float(self.options.balance)
        return balance * topology + (1.0 - balance) * self.unmatched(view, part)
