"""FitNet: plain feature distillation ‖T − P(S)‖_F², every frequency weighted alike.

Romero et al., "FitNets: Hints for Thin Deep Nets", ICLR 2015, with the student's own rows as the guided layer.
It is ``freqd`` with the identity as its filter: Σ_k ‖q_kᵀ (T − P(S))‖².
"""

from __future__ import annotations

from dataclasses import replace

from freqd.distill.context import DistillContext
from freqd.distill.objectives.base import objective
from freqd.distill.objectives.freqd import FeatureObjective, FeatureOptions
from freqd.distill.sampled_filter import RowFilter
from freqd.distill.warm_start import warm_start
from freqd.spectral.filters import Filter


@objective("fitnet")
class FitNet(FeatureObjective):
    """‖T − P(S)‖²: user term + (positive + negative item term)/2."""

    Options = FeatureOptions

    def __init__(self, options: FeatureOptions, weight: float, context: DistillContext) -> None:
        graphs, device, teacher = context.graphs, context.device, context.teacher
        users, items = (RowFilter(g.norm_adj, Filter(), device=device) for g in (graphs.user, graphs.item))
        if options.projector == "student-space":
            teacher = warm_start(replace(context, ranking_teacher=teacher, ranking_table=teacher))
        super().__init__(options, weight, context, teacher, (users, items))
