"""Ranking cross-entropy on the items that matter: the teacher's best, the student's own best, and random ones.

For every user u a list 𝓛_u = teacher's top T ∪ student's present top S ∪ R random items, train items left out:

    loss = mean over u of −Σ_{j ∈ 𝓛_u} p_uj · log softmax_𝓛(s_u)_j,    p_u = softmax_𝓛(t_u / (τ σ))

t are the scores of the (filtered) teacher and s those of the student; σ is the teacher's spread (``start.spread``),
so that τ means the same for every teacher. The student's own top items are what
keeps it from ranking items high that the teacher would not: without them a plain cross-entropy over the teacher's
list bounds nothing outside of it. The idea is that of Zhu & Zhang, "Rejuvenating Cross-Entropy Loss in Knowledge
Distillation for Recommender Systems" (RCE-KD), 2025; one softmax over one list replaces their two-part split.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from freqd.config import Settings
from freqd.distill.context import DistillContext
from freqd.distill.listed_scores import listed_scores
from freqd.distill.objectives._ranking import RankedObjective
from freqd.distill.objectives.base import objective
from freqd.embeddings import Embeddings
from freqd.evaluate.ranking import top_k
from freqd.numerics.listed_scores import NO_ITEM, drop_repeated, fill_in, known_scores, random_items
from freqd.training.interfaces import View
from freqd.training.sampling import Batch


class RceOptions(Settings):
    """Options of ``rce``."""

    top: int = Field(50, ge=1, le=10_000, description="T: the teacher's best items in a user's list.")
    student_top: int = Field(50, ge=0, le=10_000, description="S: the student's present best items in it.")
    random: int = Field(100, ge=0, le=10_000, description="R: random items in it, drawn anew every epoch.")
    temperature: float = Field(1.0, gt=0.0, description="τ, in units of the teacher's spread of scores.")
    refresh: int = Field(1, ge=1, description="Epochs between two rankings of the student's best items.")
    filtered: bool = Field(True, description="Imitate the filtered teacher that the spectral analysis chose.")


@objective("rce")
class RankingCrossEntropy(RankedObjective):
    """−Σ p log softmax(s) over the list of each of the batch's ranking users."""

    Options = RceOptions

    def __init__(self, options: RceOptions, weight: float, context: DistillContext) -> None:
        super().__init__(options, weight, context, top=options.top)
        width = min(options.student_top, context.n_items)
        self.student_top = torch.full((context.n_users, width), NO_ITEM, dtype=torch.int32)
        self.factor = np.float32(1.0 / (options.temperature * context.spread))
        by_item = np.argsort(self.best, axis=1)
        best = np.take_along_axis(self.best, by_item, axis=1)
        self.known = best, np.take_along_axis(self.best_scores, by_item, axis=1) * self.factor
        self.logits = torch.empty(0)

    def state(self) -> Mapping[str, Tensor]:
        """The student's best items, if they outlast an epoch."""
        return {"student_top": self.student_top} if self.options.refresh > 1 else {}

    def begin_epoch(self, epoch: int, student: Embeddings, rng: np.random.Generator) -> None:
        """Make the lists of this epoch, and ask the teacher for the scores of the items that were not in the last ones."""
        options, context = self.options, self.context
        width = self.student_top.shape[1]
        if width and (epoch - 1) % options.refresh == 0:
            best, _ = top_k(student, context.train, width, hint=self.student_top.numpy())
            self.student_top.copy_(torch.from_numpy(best))
        drawn = random_items(context.train, options.random, rng)
        lists = np.concatenate([self.best, self.student_top.numpy(), drawn], axis=1)
        drop_repeated(lists)
        logits = np.full(lists.shape, -np.inf, np.float32)
        lacking = known_scores(lists, logits, *self.known)
        fill_in(lists, logits, lacking, self.teacher.listed(context.users, lacking) * self.factor)
        self.known = lists, logits
        self.lists, self.logits = (torch.from_numpy(array).to(context.device) for array in self.known)

    def loss(self, view: View, batch: Batch) -> Tensor:
        """Mean over the batch's ranking users."""
        lists = self.lists[batch.rank_users]  # (r, L)
        scores = listed_scores(view, batch.rank_users, lists)
        # A user who has every item has an empty list, on which a softmax is not defined: no target, no loss.
        targets = torch.softmax(self.logits[batch.rank_users], dim=1).nan_to_num_(0.0)
        return listed_cross_entropy(scores, targets, lists < 0)


def listed_cross_entropy(scores: Tensor, targets: Tensor, missing: Tensor) -> Tensor:
    """Mean over lists of −Σ p log softmax(s).

    Args:
        scores: s, (r, L).
        targets: p, (r, L); 0 where an item is missing.
        missing: (r, L) bool, where a list has ended.
    """
    log_shares = torch.log_softmax(scores.masked_fill(missing, -torch.inf), dim=1).masked_fill(missing, 0.0)
    return -(targets * log_shares).sum(1).mean()
