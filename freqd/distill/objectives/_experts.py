"""What the objectives with distillation experts share: experts of users and of items, and the loss that trains them."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from torch import Tensor, nn

from freqd.distill.context import DistillContext
from freqd.distill.experts import ExpertSettings, SideExperts
from freqd.distill.feature_loss import unique_rows
from freqd.distill.objectives._sampled import SampledObjective, SampledOptions
from freqd.embeddings import Embeddings
from freqd.training.interfaces import View
from freqd.training.sampling import Batch


class ExpertOptions(ExpertSettings, SampledOptions):
    """Options of every term with distillation experts."""


class ExpertObjective(SampledObjective):
    """A term with distillation experts on both sides."""

    def __init__(self, options: ExpertOptions, weight: float, context: DistillContext) -> None:
        super().__init__(options, weight, context)
        self.user, self.item = (
            SideExperts(teacher, context.dim, options, seed=context.seed + number, device=context.device)
            for number, teacher in enumerate((context.teacher.users, context.teacher.items))
        )

    def parameters(self) -> Iterable[nn.Parameter]:
        """Those of the experts and selections of both sides."""
        return (*self.user.parameters(), *self.item.parameters())

    def begin_epoch(self, epoch: int, student: Embeddings, rng: np.random.Generator) -> None:
        """Cool the selections down and give them their noise."""
        super().begin_epoch(epoch, student, rng)
        self.user.begin_epoch(epoch, rng)
        self.item.begin_epoch(epoch, rng)

    def rows(self, part: Batch) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
        """The distinct users and items of a part of a batch, (numbers, shares) each."""
        users = unique_rows(part.users)
        return users, unique_rows(part.positives, part.negatives)

    def unmatched(self, view: View, part: Batch) -> Tensor:
        """User term + (positive + negative item term)/2, each a mean over distinct rows."""
        (users, user_shares), (items, item_shares) = self.rows(part)
        user_term = self.user.unmatched(view.users(users), users, user_shares)
        return user_term + self.item.unmatched(view.items(items), items, item_shares)
