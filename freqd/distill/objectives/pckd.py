"""PCKD, preference-consistent distillation: a projector may not turn round what a user prefers.

    loss = (loss of ``de``) + consistency · R,    s_ui = ⟨S_u, S_i⟩,    ŝ_ui = ⟨P(S_u), P(S_i)⟩

    R_pair = mean of −log σ( (s_ui − s_uj)(ŝ_ui − ŝ_uj) ) over pairs i, j
    R_list = mean over u of −Σ_i softmax(s_u/τ)_i · log softmax(ŝ_u/τ)_i
    R_both = R_pair + R_list

on items drawn from a user's best with p(rank) ∝ e^{−rank/T}, since those are what a ranking is about. S is held
constant in R, which trains the projectors only. Zhu & Zhang, "Preference-Consistent Knowledge Distillation for
Recommender System", IEEE TKDE 37(4), 2025 (arXiv 2311.04549).

What is known and what is ours: the procedure (features through the experts of DE; items by the student's own ranking,
which is refreshed from time to time; a pair-wise, a list-wise and a hybrid regulariser) is that of the paper's
algorithm; the two formulas are read off the authors' program (github.com/woriazzc/KDs, class CPD, the method's name in
the paper's first version), as the paper's equations were not available. The program adds sums over the batch, where means
are taken here, and can also draw from the teacher's ranking (``guide = "teacher"``), as it is configured for CiteULike.
Ours are: that train items are left out, that the ranking is refreshed every epoch, that all pairs of a user's drawn
items count instead of one (``drawn = 2`` gives that), and R_both, the paper's hybrid being known to us only as a
combination of the two.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from freqd.distill.context import DistillContext
from freqd.distill.listed_scores import listed_scores, sample_listed
from freqd.distill.objectives._experts import ExpertObjective, ExpertOptions
from freqd.distill.objectives.base import objective
from freqd.embeddings import Embeddings
from freqd.evaluate.ranking import top_k
from freqd.training.interfaces import View
from freqd.training.sampling import Batch


class PckdOptions(ExpertOptions):
    """Options of ``pckd``."""

    consistency: float = Field(0.1, ge=0.0, description="Factor of R beside the loss of de.")
    form: Literal["pair", "list", "both"] = Field("both", description="R: by pairs, by lists, or their sum.")
    guide: Literal["student", "teacher"] = Field("student", description="Whose ranking the items are drawn from.")
    candidates: int = Field(100, ge=2, le=10_000, description="Best items of a user that are drawn from.")
    drawn: int = Field(5, ge=2, le=100, description="Items a user and epoch.")
    sharpness: float = Field(10.0, gt=0.0, description="T of the draw: small keeps to the very best.")
    softness: float = Field(1.0, gt=0.0, description="τ of the lists' softmax.")


def pair_consistency(before: Tensor, after: Tensor, there: Tensor) -> Tensor:
    """R_pair: mean over a user's pairs of −log σ of the product of both differences.

    Args:
        before: s, (b, Q). after: ŝ, (b, Q).
        there: (b, Q) which items exist.
    """
    i, j = torch.triu_indices(before.shape[1], before.shape[1], 1, device=before.device)
    both = there[:, i] & there[:, j]
    product = (before[:, i] - before[:, j]) * (after[:, i] - after[:, j])
    return (nn.functional.softplus(-product) * both).sum() / both.sum().clamp_min(1)


def list_consistency(before: Tensor, after: Tensor, there: Tensor) -> Tensor:
    """R_list: mean over users of the cross-entropy of the two softmaxes; arguments as in ``pair_consistency``.

    Users with no item at all do not count.
    """
    target = torch.softmax(before.masked_fill(~there, -torch.inf), dim=1).nan_to_num(0.0)
    shares = torch.log_softmax(after.masked_fill(~there, -1e9), dim=1)
    return -(target * shares).sum() / there.any(1).sum().clamp_min(1)


class _Constant:
    """A view whose rows have no gradient, through the experts if there are any."""

    def __init__(self, view: View, term: PreferenceConsistency, *, projected: bool) -> None:
        self.view, self.term, self.projected = view, term, projected

    def users(self, index: Tensor) -> Tensor:
        rows = self.view.users(index).detach()
        return self.term.user.project(rows, index) if self.projected else rows

    def items(self, index: Tensor) -> Tensor:
        rows = self.view.items(index).detach()
        return self.term.item.project(rows, index) if self.projected else rows


@objective("pckd")
class PreferenceConsistency(ExpertObjective):
    """The loss of ``de`` and the consistency of preferences before and after the experts."""

    Options = PckdOptions

    def __init__(self, options: PckdOptions, weight: float, context: DistillContext) -> None:
        super().__init__(options, weight, context)
        self.width = min(options.candidates, context.n_items)
        if options.guide == "teacher":
            self.best, _ = top_k(context.raw_teacher, context.train, self.width)
        self.lists = torch.empty(0)

    def begin_epoch(self, epoch: int, student: Embeddings, rng: np.random.Generator) -> None:
        """Cool the selections down, look at the guide's best items, and draw."""
        super().begin_epoch(epoch, student, rng)
        if self.options.guide == "student":
            self.best, _ = top_k(student, self.context.train, self.width)
        ranks = np.arange(1, self.width + 1)
        lists = sample_listed(self.best, -ranks / self.options.sharpness, min(self.options.drawn, self.width), rng)
        self.lists = torch.from_numpy(lists).to(self.context.device)

    def part_loss(self, view: View, part: Batch) -> Tensor:
        """The loss of ``de`` on the part's rows + ``consistency`` · R on its ranking users."""
        lists = self.lists[part.rank_users]
        there = lists >= 0
        before = listed_scores(_Constant(view, self, projected=False), part.rank_users, lists)
        after = listed_scores(_Constant(view, self, projected=True), part.rank_users, lists)
        loss = self.unmatched(view, part)
        if self.options.form in ("pair", "both"):
            loss = loss + self.options.consistency * pair_consistency(before, after, there)
        if self.options.form in ("list", "both"):
            softness = self.options.softness
            loss = loss + self.options.consistency * list_consistency(before / softness, after / softness, there)
        return loss
