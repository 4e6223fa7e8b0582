"""DCD, dual correction: raise what the student underestimates above what it overestimates.

    underestimated: p(i) ∝ tanh( max((rank_S(i) − rank_T(i))/T, 0) )
    overestimated:  p(i) ∝ tanh( max((rank_T(i) − rank_S(i))/T, 0) )
    loss = relaxed ranking loss of the underestimated (in the teacher's order) above the overestimated

Lee & Kim, "Dual Correction Strategy for Ranking Distillation in Top-N Recommender System", CIKM 2021, the correction on
the user's side. Candidates are the teacher's and the student's best M; a rank beyond M counts as M, where the tanh is
saturated anyway. Drawn anew every epoch; train items left out.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field

from freqd.config import Settings
from freqd.distill.context import DistillContext
from freqd.distill.listed_scores import sample_listed
from freqd.distill.objectives._ranking import RelaxedRankingObjective
from freqd.distill.objectives.base import objective
from freqd.embeddings import Embeddings
from freqd.evaluate.ranking import top_k
from freqd.numerics.jit import njit


class DcdOptions(Settings):
    """Options of ``dcd``."""

    candidates: int = Field(100, ge=1, le=10_000, description="M: best items of the teacher and of the student.")
    drawn: int = Field(40, ge=1, le=10_000, description="Underestimated and overestimated items a user, each.")
    sharpness: float = Field(10.0, gt=0.0, description="T: difference of ranks that matters.")
    filtered: bool = Field(False, description="Imitate the filtered teacher instead of the raw one.")


@njit(cache=True, nogil=True)
def rank_among(items: Any, others: Any) -> Any:
    """Position of each item in the row of ``others``, or the row's length where it is not there."""
    ranks = np.empty(items.shape, np.int64)
    for row in range(items.shape[0]):
        order = np.argsort(others[row])
        ordered = others[row][order]
        for column in range(items.shape[1]):
            at = np.searchsorted(ordered, items[row, column])
            found = at < len(ordered) and ordered[at] == items[row, column]
            ranks[row, column] = order[at] if found else len(ordered)
    return ranks


@objective("dcd")
class DualCorrection(RelaxedRankingObjective):
    """Relaxed ranking loss of underestimated above overestimated items."""

    Options = DcdOptions
    by_user = True

    def __init__(self, options: DcdOptions, weight: float, context: DistillContext) -> None:
        super().__init__(options, weight, context, top=options.candidates, drawn=options.drawn)

    def begin_epoch(self, epoch: int, student: Embeddings, rng: np.random.Generator) -> None:
        """Compare the two rankings and draw the items to correct."""
        own, _ = top_k(student, self.context.train, self.best.shape[1])
        under = self._draw(self.best, own, rng)
        over = self._draw(own, self.best, rng)
        self.lists = torch.from_numpy(np.concatenate([under, over], axis=1)).to(self.context.device)

    def _draw(self, ranked: npt.NDArray[np.int32], other: npt.NDArray[np.int32], rng: np.random.Generator) -> Any:
        """Items of ``ranked`` that stand lower in ``other``."""
        lower = rank_among(ranked, other) - np.arange(ranked.shape[1])
        with np.errstate(divide="ignore"):
            log_weights = np.log(np.tanh(np.maximum(lower / self.options.sharpness, 0.0)))
        return sample_listed(ranked, log_weights, self.width, rng)
