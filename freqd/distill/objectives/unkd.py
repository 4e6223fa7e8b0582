"""UnKD, unbiased distillation: the teacher's order among items of like popularity, for the order across them is biased.

    loss = mean over (u, i⁺, i⁻) of −log σ(s_ui⁺ − s_ui⁻),    i⁺, i⁻ in one group of items, i⁺ above i⁻ for the teacher

Items are sorted by popularity and cut into groups of about equal total interactions. In each group a user's unseen
items are ranked by the teacher; of a pair the two ranks are drawn with p(rank) ∝ e^{−rank/μ}, the second one of what
the first leaves over, anew every epoch, as many pairs in each group. Chen et al., "Unbiased Knowledge Distillation for
Recommendation", WSDM 2023.

Where this differs: the program of the FreqD authors (github.com/woriazzc/KDs) draws both ranks independently, and again
where they are equal, and can give more pairs to some groups by a power of their popularity. The paper is known to us by
its loss and its draw; how a pair's second rank is drawn, it is said to leave open.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field
from scipy import sparse
from torch import Tensor, nn

from freqd.config import Settings
from freqd.distill.context import DistillContext
from freqd.distill.listed_scores import listed_scores
from freqd.distill.objectives.base import Objective, objective
from freqd.embeddings import Embeddings
from freqd.evaluate.ranking import top_k
from freqd.evaluate.strata import equal_groups
from freqd.evaluate.subset import among
from freqd.numerics.listed_scores import NO_ITEM
from freqd.training.interfaces import View
from freqd.training.sampling import Batch

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


class UnkdOptions(Settings):
    """Options of ``unkd``."""

    groups: int = Field(2, ge=1, le=100, description="Groups of items by popularity.")
    candidates: int = Field(200, ge=2, le=10_000, description="The teacher's best items of each group.")
    pairs: int = Field(15, ge=1, le=1000, description="Pairs a user, group and epoch.")
    sharpness: float = Field(20.0, gt=0.0, description="μ of the draw: small keeps to the very best.")
    filtered: bool = Field(False, description="Imitate the filtered teacher instead of the raw one.")


def groups_of_equal_interactions(train: sparse.csr_array, groups: int) -> list[npt.NDArray[np.intp]]:
    """Items in groups of falling popularity and about equal total interactions, each ascending.

    Args:
        train: (n_users, n_items) CSR; only the pattern counts.
        groups: how many at the most.
    """
    group = equal_groups(np.bincount(train.indices, minlength=train.shape[1]), groups)
    return [np.flatnonzero(group == number) for number in range(group.max(initial=-1) + 1)]


def draw_rank_pairs(sizes: npt.NDArray[Any], sharpness: float, rng: np.random.Generator) -> tuple[IntArray, IntArray]:
    """Two different ranks below each size, p(rank) ∝ e^{−rank/μ}, the second one without the first; lower rank first.

    By inversion: the mass of the ranks below r is (1 − q^r)/(1 − q), q = e^{−1/μ}, and for the second draw the first
    rank's piece of it is jumped over.

    Args:
        sizes: how many ranks there are, any shape.
        sharpness: μ.

    Returns:
        (first, second), int64, first < second; both 0 where a size is below 2.
    """
    slope = 1.0 / sharpness

    def mass(ranks: npt.NDArray[Any]) -> FloatArray:  # times (1 − q)
        return -np.expm1(-slope * ranks)

    def invert(value: FloatArray) -> IntArray:
        with np.errstate(divide="ignore"):
            ranks = np.floor(-np.log1p(-value) * sharpness)
        return np.clip(ranks, 0, np.maximum(sizes - 1, 0)).astype(np.int64)

    one = invert(rng.random(sizes.shape) * mass(sizes))
    below, piece = mass(one), mass(one + 1) - mass(one)
    value = rng.random(sizes.shape) * (mass(sizes) - piece)
    other = invert(np.where(value < below, value, value + piece))
    # Where so little mass is left that rounding returns the first rank, its neighbour is next in probability.
    other = np.where(other == one, np.where(one + 1 < sizes, one + 1, np.maximum(one - 1, 0)), other)
    return np.minimum(one, other), np.maximum(one, other)


@objective("unkd")
class UnbiasedDistillation(Objective):
    """−log σ(s_i⁺ − s_i⁻) of pairs within groups of like popularity."""

    Options = UnkdOptions

    def __init__(self, options: UnkdOptions, weight: float, context: DistillContext) -> None:
        super().__init__(options, weight, context)
        teacher = context.ranking_teacher if options.filtered else context.raw_teacher
        by_item = context.train.tocsc()
        ranked = []
        for items in groups_of_equal_interactions(context.train, options.groups):
            seen = sparse.csr_array(by_item[:, items])
            best, _ = top_k(among(teacher, items), seen, min(options.candidates, len(items)))
            lists = np.full((context.n_users, options.candidates), NO_ITEM, np.int32)
            lists[:, : best.shape[1]] = np.where(best < 0, NO_ITEM, items[best])
            ranked.append(lists)
        self.best = np.stack(ranked, axis=1)  # (n_users, groups, candidates)
        self.lists = torch.empty(0)

    def begin_epoch(self, epoch: int, student: Embeddings, rng: np.random.Generator) -> None:
        """Draw the pairs of this epoch; groups in which a user has fewer than two items give none."""
        n_users, groups, _ = self.best.shape
        sizes = np.broadcast_to((self.best >= 0).sum(2)[..., None], (n_users, groups, self.options.pairs))
        ranks = draw_rank_pairs(sizes, self.options.sharpness, rng)
        above, below = (np.where(sizes < 2, NO_ITEM, np.take_along_axis(self.best, rank, axis=2)) for rank in ranks)
        lists = np.concatenate([above.reshape(n_users, -1), below.reshape(n_users, -1)], axis=1)
        self.lists = torch.from_numpy(np.ascontiguousarray(lists, np.int32)).to(self.context.device)

    def loss(self, view: View, batch: Batch) -> Tensor:
        """Mean over the pairs of the batch's ranking users."""
        lists = self.lists[batch.rank_users]
        above, below = listed_scores(view, batch.rank_users, lists).chunk(2, dim=1)
        there = (lists >= 0).chunk(2, dim=1)[0]
        each = nn.functional.softplus(below - above) * there
        return each.sum() / there.sum().clamp_min(1)
