"""CD, collaborative distillation: the teacher's scores as soft labels of items that are drawn by their rank.

    loss = −mean_{k} [ q_k log σ(s_k) + (1 − q_k) log(1 − σ(s_k)) ],    q = σ(t/(τσ_T) + b)

for K items a user, drawn from the teacher's best M with p(rank) ∝ e^{−rank/(λM)}, train items left out; drawn anew
every epoch. The teacher's scores t are measured in its spread σ_T, since those of a teacher such as ALS are no logits.
Lee et al., "Collaborative Distillation for Top-N Recommendation", ICDM 2019.
"""

from __future__ import annotations

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from freqd.config import Settings
from freqd.distill.context import DistillContext
from freqd.distill.listed_scores import listed_scores, sample_listed
from freqd.distill.objectives._ranking import RankedObjective
from freqd.distill.objectives.base import objective
from freqd.embeddings import Embeddings
from freqd.training.interfaces import View
from freqd.training.sampling import Batch


class CdOptions(Settings):
    """Options of ``cd``."""

    candidates: int = Field(100, ge=1, le=10_000, description="M: the teacher's best items that are drawn from.")
    drawn: int = Field(50, ge=1, le=10_000, description="K: items a user and epoch.")
    sharpness: float = Field(0.5, gt=0.0, description="λ of the draw: small keeps to the very best.")
    temperature: float = Field(1.0, gt=0.0, description="τ, in units of the teacher's spread of scores.")
    shift: float = Field(0.0, description="b, added to the teacher's logits.")
    filtered: bool = Field(False, description="Imitate the filtered teacher instead of the raw one.")


@objective("cd")
class CollaborativeDistillation(RankedObjective):
    """Binary cross-entropy with the teacher's soft labels."""

    Options = CdOptions
    by_user = True

    def __init__(self, options: CdOptions, weight: float, context: DistillContext) -> None:
        super().__init__(options, weight, context, top=options.candidates)
        self.factor = np.float32(1.0 / (options.temperature * context.spread))
        self.labels = torch.empty(0)

    def begin_epoch(self, epoch: int, student: Embeddings, rng: np.random.Generator) -> None:
        """Draw the items of this epoch and gather their soft labels."""
        ranks = np.arange(1, self.best.shape[1] + 1)
        slope = self.options.sharpness * self.best.shape[1]
        lists = sample_listed(self.best, -ranks / slope, min(self.options.drawn, self.best.shape[1]), rng)
        logits = self.teacher.listed(self.context.users, lists) * self.factor + self.options.shift
        self.lists = torch.from_numpy(lists).to(self.context.device)
        self.labels = torch.sigmoid(torch.from_numpy(logits.astype(np.float32))).to(self.context.device)

    def loss(self, view: View, batch: Batch) -> Tensor:
        """Mean over the drawn items of the batch's ranking users."""
        lists = self.lists[batch.rank_users]
        there = (lists >= 0).float()
        scores = listed_scores(view, batch.rank_users, lists)
        each = torch.nn.functional.binary_cross_entropy_with_logits(
            scores, self.labels[batch.rank_users], weight=there, reduction="sum"
        )
        return each / there.sum().clamp_min(1.0)
