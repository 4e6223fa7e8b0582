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
import torch
from pydantic import Field
from torch import Tensor, nn

from freqd.distill.context import DistillContext
from freqd.distill.feature_loss import Distance, SideDistillation, unique_rows
from freqd.distill.objectives._sampled import SampledObjective, SampledOptions
from freqd.distill.objectives.base import objective
from freqd.distill.projectors import LinearProjector, NoProjector, make_projector
from freqd.distill.sampled_filter import SLICED_FORMS, RowFilter
from freqd.distill.warm_start import warm_start
from freqd.embeddings import Embeddings
from freqd.spectral.filters import Filter, SideFilters
from freqd.training.interfaces import View
from freqd.training.sampling import Batch


class FeatureOptions(SampledOptions):
    """Options of every feature term."""

    sample: int = Field(
        512, ge=1, description="Interactions of a batch that the term samples: a user and two items of each."
    )
    every: int = Field(1, ge=1, description="Steps from one sample to the next; each counts for all of them.")
    distance: Literal["auto", "squared", "cosine"] = Field(
        "auto",
        description="squared: exact in frequency; cosine: 1 − cos of the rows; auto: squared in student space, where lengths are "
        "the student's own, else cosine.",
    )
    projector: Literal["experts", "mlp", "mixture", "linear", "tied", "student-space"] = Field(
        "experts",
        description="experts: the mean of MLPs; mlp: one; mixture: MLPs with a gate; linear: a matrix for each side; tied: one "
        "matrix for both; student-space: none, the target is the SVD student of the teacher (freqd: of the filtered one).",
    )
    experts: int = Field(5, ge=1, le=64, description="MLPs of experts and of the mixture.")
    dropout: float = Field(0.2, ge=0.0, lt=1.0, description="Share of the numbers that the projector's experts drop.")


class FreqdOptions(FeatureOptions):
    """Options of ``freqd``."""

    form: Literal["auto", "identity", "linear", "quadratic"] = Field(
        "linear", description="Filter of both sides; auto: the one that trains the best student in short trials."
    )
    alpha: float = Field(
        0.5, ge=-1.0, le=1.0, description="Strength of a filter whose form is given here; below 0 it is a high-pass."
    )
    keep_prob: float = Field(0.5, gt=0.0, le=1.0, description="Edge dropout: share of the edges kept a step.")
    neighbours: int | None = Field(
        None,
        ge=1,
        description="Neighbours that a row reads at the most; of one with more, so many are drawn at each step of the term, "
        "with the weight of all. Without it: all are read.",
    )


class FeatureObjective(SampledObjective):
    """Feature distillation of users and items, each with its filter and its projector.

    Args:
        teacher: whose rows are the target, before they are filtered.
        row_filters: of the users and of the items.
    """

    def __init__(
        self,
        options: Any,
        weight: float,
        context: DistillContext,
        teacher: Embeddings,
        row_filters: tuple[RowFilter, RowFilter],
    ) -> None:
        super().__init__(options, weight, context)
        projectors = _projectors(options, context, teacher.dim)
        own: Distance = "squared" if options.projector == "student-space" else "cosine"
        distance = own if options.distance == "auto" else options.distance
        self.user, self.item = (
            SideDistillation(table, row_filter, projector, distance)
            for table, row_filter, projector in zip(
                (teacher.users, teacher.items), row_filters, projectors, strict=True
            )
        )
        self.rng = np.random.default_rng(context.seed)

    def parameters(self) -> Iterable[nn.Parameter]:
        """Those of the projectors."""
        return dict.fromkeys((*self.user.parameters(), *self.item.parameters()))

    def begin_epoch(self, epoch: int, student: Embeddings, rng: np.random.Generator) -> None:
        """Start the linear projectors of a warm student at least squares; give the draws of neighbours and edges their randomness."""
        super().begin_epoch(epoch, student, rng)
        user, item = self.user.projector, self.item.projector
        if epoch == 1 and self.context.warm and isinstance(user, LinearProjector) and isinstance(item, LinearProjector):
            users, items = self.user.filtered(student.users), self.item.filtered(student.items)
            if user is item:
                user.fit(users, items)
            else:
                user.fit(users)
                item.fit(items)
        self.rng = np.random.default_rng(rng.integers(2**63))

    def part_loss(self, view: View, part: Batch) -> Tensor:
        """User term + (positive + negative item term)/2, each a mean over the distinct rows."""
        user_term = self.user.loss(view.users, *unique_rows(part.users), self.rng)
        return user_term + self.item.loss(view.items, *unique_rows(part.positives, part.negatives), self.rng)


def _projectors(options: FeatureOptions, context: DistillContext, dim: int) -> tuple[nn.Module, nn.Module]:
    """That of the users and that of the items, to ``dim`` numbers."""
    if options.projector == "student-space":
        return NoProjector(), NoProjector()
    kind = "linear" if options.projector == "tied" else options.projector
    user, item = (
        make_projector(
            kind,
            context.dim,
            dim,
            generator=torch.Generator().manual_seed(context.seed + number),
            experts=options.experts,
            dropout=options.dropout,
        )
        for number in range(2)
    )
    return (user, user) if options.projector == "tied" else (user, item)


@objective("freqd")
class FreqD(FeatureObjective):
    """‖h(L)(T − P(S))‖² with the filter that is named in the options, or the one that was measured."""

    Options = FreqdOptions

    @classmethod
    def needs_measured_filters(cls, options: FreqdOptions) -> bool:
        """Those of ``form = auto``."""
        return options.form == "auto" and options.projector != "student-space"

    def __init__(self, options: FreqdOptions, weight: float, context: DistillContext) -> None:
        teacher, self.filters = context.teacher, context.feature_filters
        if options.projector == "student-space":
            teacher, self.filters = warm_start(context), SideFilters()
        elif options.form != "auto":
            named = Filter(form=options.form, alpha=0.0 if options.form == "identity" else options.alpha)
            self.filters = SideFilters(user=named, item=named)
        graphs = context.graphs
        user, item = (
            RowFilter(
                graph.norm_adj,
                chosen,
                keep_prob=options.keep_prob if chosen.form in SLICED_FORMS else 1.0,
                neighbours=options.neighbours,
                device=context.device,
            )
            for graph, chosen in ((graphs.user, self.filters.user), (graphs.item, self.filters.item))
        )
        super().__init__(options, weight, context, teacher, (user, item))
