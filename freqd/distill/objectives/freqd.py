"""FreqD: feature distillation re-weighted by graph frequency.

    ‖h(L)(T − P(S))‖_F² = Σ_k h(λ_k)² ‖q_kᵀ (T − P(S))‖²,   user term + (positive + negative item term)/2

Zhu & Zhang, "Exploring Feature-based Knowledge Distillation for Recommender System: A Frequency Perspective",
KDD 2025. The identity is exact for the squared loss; the row-cosine loss, the authors' shipped setting, is an
approximation of it. For a projector that is not linear, filtering comes before projecting, as in their program.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

import numpy as np
from pydantic import Field
from torch import Tensor, nn

from freqd.distill.context import DistillContext
from freqd.distill.feature_loss import Distance, SideDistillation, occurring
from freqd.distill.fused_loss import unmatched
from freqd.distill.objectives._sampled import SampledObjective, SampledOptions
from freqd.distill.objectives.base import objective
from freqd.distill.projectors import ProjectorKind
from freqd.embeddings import Embeddings
from freqd.spectral.filters import Filter, SideFilters
from freqd.training.loop import Batch, View


class FeatureOptions(SampledOptions):
    """Options of every feature term."""

    distance: Distance = Field("squared", description="squared: exact in frequency; cosine: 1 − cos of the rows.")
    projector: ProjectorKind = Field("linear", description="linear, mlp or mixture of mlp experts.")
    experts: int = Field(5, ge=1, le=64, description="Experts of the mixture.")


class FreqdOptions(FeatureOptions):
    """Options of ``freqd``."""

    form: Literal["auto", "identity", "linear", "quadratic"] = Field(
        "auto", description="Filter of both sides; auto: what the spectral analysis chose per side."
    )
    alpha: float = Field(
        0.2, ge=-1.0, le=1.0, description="Strength of a filter whose form is given here; below 0 it is a high-pass."
    )
    keep_prob: float = Field(1.0, gt=0.0, le=1.0, description="Edge dropout: share of a node's neighbours kept a step.")
    neighbours: int = Field(
        4,
        ge=1,
        description="Neighbours that a row reads at the most; of one with more, so many are drawn at each step of the term, "
        "with the weight of all.",
    )


class FeatureObjective(SampledObjective):
    """Feature distillation of users and items, each with its filter and its projector."""

    def __init__(
        self,
        options: Any,
        weight: float,
        context: DistillContext,
        *,
        filters: SideFilters,
        keep_prob: float = 1.0,
        neighbours: int | None = None,
    ) -> None:
        super().__init__(options, weight, context)
        sides = (
            (context.teacher.users, context.graphs.user.norm_adj, filters.user),
            (context.teacher.items, context.graphs.item.norm_adj, filters.item),
        )
        self.user, self.item = (
            SideDistillation(
                teacher,
                norm_adj,
                filter,
                context.dim,
                distance=options.distance,
                projector=options.projector,
                experts=options.experts,
                keep_prob=keep_prob,
                neighbours=neighbours,
                seed=context.seed + number,
                device=context.device,
            )
            for number, (teacher, norm_adj, filter) in enumerate(sides)
        )
        self.rng = np.random.default_rng(context.seed)

    def parameters(self) -> Iterable[nn.Parameter]:
        """Those of both projectors."""
        return (*self.user.parameters(), *self.item.parameters())

    def begin_epoch(self, epoch: int, student: Embeddings, rng: np.random.Generator) -> None:
        """Start the linear projectors of a warm student at least squares; give the draws of neighbours and edges their randomness."""
        super().begin_epoch(epoch, student, rng)
        if epoch == 1 and self.context.warm:
            self.user.fit_projector(student.users)
            self.item.fit_projector(student.items)
        self.rng = np.random.default_rng(rng.integers(2**63))

    def part_loss(self, view: View, part: Batch) -> Tensor:
        """User term + (positive + negative item term)/2, each a mean over the distinct rows."""
        sides = (
            (self.user, view.users, *occurring(part.users)),
            (self.item, view.items, *occurring(part.positives, part.negatives)),
        )
        looks, losses = [], []
        for side, gather, rows, shares in sides:
            look = side.look(gather, rows, shares, self.rng)
            if look is not None:
                looks.append(look)
            else:
                losses.append(side.loss(gather, rows, shares, self.rng))
        if looks:
            losses.append(unmatched(*looks))
        return sum(losses[1:], losses[0])


@objective("freqd")
class FreqD(FeatureObjective):
    """‖h(L)(T − P(S))‖² with the filter of the spectral analysis, or the one named in the options."""

    Options = FreqdOptions

    def __init__(self, options: FreqdOptions, weight: float, context: DistillContext) -> None:
        filters = context.feature_filters
        if options.form != "auto":
            fixed = Filter(form=options.form, alpha=0.0 if options.form == "identity" else options.alpha)
            filters = SideFilters(user=fixed, item=fixed)
        super().__init__(
            options,
            weight,
            context,
            filters=filters,
            keep_prob=options.keep_prob,
            neighbours=options.neighbours,
        )
