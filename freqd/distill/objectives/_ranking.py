"""What the ranking objectives share: the teacher's best items of every user, and lists of items to learn from."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from freqd.distill.context import DistillContext
from freqd.distill.listed_scores import listed_scores
from freqd.distill.objectives._relaxed import relaxed_ranking_loss
from freqd.distill.objectives.base import Objective
from freqd.evaluate.ranking import top_k
from freqd.scorer import Scorer
from freqd.training.interfaces import View
from freqd.training.sampling import Batch


def imitated(context: DistillContext, filtered: bool) -> Scorer:
    """What gives the scores that a term imitates: those of the filtered teacher, or of the raw one."""
    return context.ranking_teacher if filtered else context.raw_teacher


class RankedObjective(Objective):
    """A term that learns from lists of items, drawn from the teacher's best of every user.

    Args:
        top: how many of the teacher's best items to keep, train items left out; all items at the most.

    Attributes:
        teacher: gives the scores of the filtered teacher if the option ``filtered`` asks for it, of the raw one otherwise.
        best, best_scores: (n_users, top) int32 and float32, the teacher's best items, best first, and their scores.
        lists: this epoch's lists, (n_users, L) int32 on the context's device.
    """

    def __init__(self, options: Any, weight: float, context: DistillContext, *, top: int) -> None:
        super().__init__(options, weight, context)
        self.teacher = imitated(context, options.filtered)
        self.best, self.best_scores = top_k(self.teacher, context.train, min(top, context.n_items))
        self.lists = torch.empty(0)


class RelaxedRankingObjective(RankedObjective):
    """The relaxed ranking loss of lists whose first ``width`` items are to stand above all others.

    Args:
        top: as in ``RankedObjective``.
        drawn: how many items to draw from the teacher's best.

    Attributes:
        width: items of a list that are interesting, in order; the rest of it is not.
    """

    def __init__(self, options: Any, weight: float, context: DistillContext, *, top: int, drawn: int) -> None:
        super().__init__(options, weight, context, top=top)
        self.width = min(drawn, self.best.shape[1])

    def loss(self, view: View, batch: Batch) -> Tensor:
        """Mean over the interesting items of the batch's ranking users."""
        lists = self.lists[batch.rank_users]
        scores = listed_scores(view, batch.rank_users, lists)
        there = lists >= 0
        k = self.width
        return relaxed_ranking_loss(scores[:, :k], scores[:, k:], there[:, :k], there[:, k:])
