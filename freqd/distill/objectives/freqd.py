"""FreqD: feature distillation re-weighted by graph frequency.

    ‖h(L)(T − P(S))‖_F² = Σ_k h(λ_k)² ‖q_kᵀ (T − P(S))‖²,   user term + (positive + negative item term)/2

Zhu & Zhang, "Exploring Feature-based Knowledge Distillation for Recommender System: A Frequency Perspective",
KDD 2025. The identity is exact for the squared loss; the row-cosine loss, the authors' shipped setting, is an
approximation of it. For a projector that is not linear, filtering comes before projecting, as in their program.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from freqd.distill.context import DistillContext
from freqd.distill.feature_loss import Distance, SideDistillation, unique_rows
from freqd.distill.objectives._sampled import SampledObjective, SampledOptions
from freqd.distill.objectives.base import objective
from freqd.distill.projectors import ProjectorKind, make_projector
from freqd.distill.sampled_filter import RowFilter
from freqd.embeddings import Embeddings
from freqd.spectral.filters import Filter
from freqd.training.interfaces import View
from freqd.training.sampling import Batch


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
    """Feature distillation of users and items, each with its filter and its projector.

    Args:
        row_filters: of the users and of the items.
    """

    def __init__(
        self, options: Any, weight: float, context: DistillContext, row_filters: tuple[RowFilter, RowFilter]
    ) -> None:
        super().__init__(options, weight, context)
        self.user, self.item = (
            SideDistillation(
                teacher,
                row_filter,
                make_projector(
                    options.projector,
                    context.dim,
                    teacher.shape[1],
                    generator=torch.Generator().manual_seed(context.seed + number),
                    experts=options.experts,
                ),
                options.distance,
            )
            for number, (teacher, row_filter) in enumerate(
                zip((context.teacher.users, context.teacher.items), row_filters, strict=True)
            )
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
        user_term = self.user.loss(view.users, *unique_rows(part.users), self.rng)
        return user_term + self.item.loss(view.items, *unique_rows(part.positives, part.negatives), self.rng)


@objective("freqd")
class FreqD(FeatureObjective):
    """‖h(L)(T − P(S))‖² with the filter of the spectral analysis, or the one named in the options."""

    Options = FreqdOptions

    def __init__(self, options: FreqdOptions, weight: float, context: DistillContext) -> None:
        user, item = context.feature_filters.user, context.feature_filters.item
        if options.form != "auto":
            user = item = Filter(form=options.form, alpha=0.0 if options.form == "identity" else options.alpha)
        drawing = partial(RowFilter, keep_prob=options.keep_prob, neighbours=options.neighbours, device=context.device)
        graphs = context.graphs
        filters = drawing(graphs.user.norm_adj, user), drawing(graphs.item.norm_adj, item)
        super().__init__(options, weight, context, filters)
