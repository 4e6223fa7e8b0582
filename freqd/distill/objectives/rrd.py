"""RRD, relaxed ranking distillation: the order of a few good items, and only "below them" for the rest.

    loss = −log Π_{k=1..K} e^{s_k} / ( Σ_{i=k..K} e^{s_i} + Σ_{j=1..L} e^{z_j} )

s: the student's scores of K interesting items in the teacher's order, drawn every epoch from the teacher's best with
p(rank) ∝ e^{−rank/T}; z: of L uninteresting items, uniform among all others. Train items are left out.
Kang et al., "DE-RRD: A Knowledge Distillation Framework for Recommender System", CIKM 2020, section 3.2.
"""

from __future__ import annotations

import numpy as np
import torch
from pydantic import Field

from freqd.config import Settings
from freqd.distill.context import DistillContext
from freqd.distill.listed_scores import drop_listed, sample_listed
from freqd.distill.objectives._ranking import RelaxedRankingObjective
from freqd.distill.objectives.base import objective
from freqd.embeddings import Embeddings
from freqd.numerics.listed_scores import random_items


class RrdOptions(Settings):
    """Options of ``rrd``."""

    candidates: int = Field(200, ge=1, le=10_000, description="The teacher's best items that are drawn from.")
    interesting: int = Field(40, ge=1, le=10_000, description="K: interesting items a user and epoch.")
    uninteresting: int = Field(40, ge=1, le=10_000, description="L: uninteresting items a user and epoch.")
    sharpness: float = Field(10.0, gt=0.0, description="T of the draw: small keeps to the very best.")
    filtered: bool = Field(False, description="Imitate the filtered teacher instead of the raw one.")


@objective("rrd")
class RelaxedRankingDistillation(RelaxedRankingObjective):
    """Relaxed ranking loss of drawn interesting items above drawn uninteresting ones."""

    Options = RrdOptions
    by_user = True

    def __init__(self, options: RrdOptions, weight: float, context: DistillContext) -> None:
        super().__init__(options, weight, context, top=options.candidates, drawn=options.interesting)

    def begin_epoch(self, epoch: int, student: Embeddings, rng: np.random.Generator) -> None:
        """Draw the items of this epoch."""
        ranks = np.arange(1, self.best.shape[1] + 1)
        interesting = sample_listed(self.best, -ranks / self.options.sharpness, self.width, rng)
        uninteresting = random_items(self.context.train, self.options.uninteresting, rng)
        drop_listed(uninteresting, self.best)
        lists = np.concatenate([interesting, uninteresting], axis=1)
        self.lists = torch.from_numpy(lists).to(self.context.device)
