"""DE, distillation experts: the student's row, through the expert that the teacher's row selects, is the teacher's row.

    loss = Σ ‖t − Σ_e z_e · MLP_e(s)‖² / Σ ‖t‖²,    user term + (positive + negative item term)/2

z is the selection of ``freqd.distill.experts``: a softmax over experts of a linear map of the *teacher's* row, with
Gumbel noise and a temperature that falls exponentially with the epochs. Kang et al., "DE-RRD: A Knowledge Distillation
Framework for Recommender System", CIKM 2020, section 3.1.

Where this differs: the paper is said to write the distance without a square; the program of the FreqD authors
(github.com/woriazzc/KDs) has one, as here. It sums over the batch; here the sum is over ``sample`` of its interactions,
since an expert costs about D² / 2 a row, and is divided by the teacher's energy on the same rows, as in ``freqd``, so
that a weight does not depend on batch or scale. It ends the annealing with its last epoch; here ``anneal_epochs`` does,
since training may stop early. Only the programs and summaries of the paper were available.
"""

from __future__ import annotations

from torch import Tensor

from freqd.distill.objectives._experts import ExpertObjective, ExpertOptions
from freqd.distill.objectives.base import objective
from freqd.training.interfaces import View
from freqd.training.sampling import Batch


@objective("de")
class DistillationExperts(ExpertObjective):
    """‖t − Σ_e z_e(t) MLP_e(s)‖² of users and items, relative to ‖t‖²."""

    Options = ExpertOptions

    def part_loss(self, view: View, part: Batch) -> Tensor:
        """User term + (positive + negative item term)/2, each a mean over the distinct rows."""
        return self.unmatched(view, part)
