"""HetComp, easy to hard: the student follows the teacher's way, from its early rankings to its last one.

The teacher's rankings at several points of its training, π¹ … π^V, are what is to be learnt for a user, one after the
other. Every ``period`` epochs the distance to the *next* one is measured,

    D(own, π) = 1 − Σ_t y_π(own_t) / log₂(t + 2) / Σ_t (2^{e^{−t/10}} − 1) / log₂(t + 2),    t = 0 … K − 1,
    y_π(i) = 2^{e^{−rank_π(i)/10}} − 1 for the best K items of π, 0 for others

and a user goes on to π^{v+1} if D, measured when v was reached, is at least α·decay^n times what D is now (n: how
often it was measured), or less than it: a student that moves away has passed this point. What is learnt gets finer:

    before the last point:  mean over j of −log [ e^{s_j} / (e^{s_j} + Σ_r e^{s_r}) ],    j: observed and π^v, any order
    at the last point:      ½ [ relaxed(observed) + ½ (relaxed(best K/2 of π^V) + relaxed(best K/10 of π^V)) ]

with random unseen items r below all, and also the rest of π^V below its best; ``relaxed`` is that of ``rrd``. Observed
are the user's train items that the teacher ranks best. Kang et al., "Distillation from Heterogeneous Models for Top-K
Recommendation", WWW 2023, for one teacher instead of several.

What is known and what is ours: the paper's text was not available. Trajectory, dynamic construction by an NDCG distance
and the two stages are those of its abstract and of the program of the FreqD authors (github.com/woriazzc/KDs, class
HetComp), from which the rules above are read. It differs in this: its distance weighs an item by the student's rank
only; it changes to the finer loss for all users at once; below stand all other items instead of random ones (n_users ×
n_items scores); it sums, and takes observed items in no order of the teacher. A student that starts near the teacher
(``warm_start = "svd"``) has the easy part behind it, so a random start is the fairer test.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field
from scipy import sparse
from torch import Tensor, nn

from freqd.config import Settings
from freqd.distill.context import DistillContext
from freqd.distill.listed_scores import drop_listed, listed_scores
from freqd.distill.objectives._relaxed import relaxed_ranking_loss
from freqd.distill.objectives.base import Objective, objective, trajectory_needed
from freqd.distill.objectives.dcd import rank_among
from freqd.embeddings import Embeddings
from freqd.evaluate.ranking import top_k
from freqd.numerics.listed_scores import NO_ITEM, random_items
from freqd.training.interfaces import View
from freqd.training.sampling import Batch

FloatArray = npt.NDArray[np.float64]
IdLists = npt.NDArray[np.int32]


class HetcompOptions(Settings):
    """Options of ``hetcomp``."""

    top: int = Field(50, ge=2, le=10_000, description="K: items of each ranking, as far as the teacher kept them.")
    observed: int = Field(5, ge=0, le=1000, description="Train items of a user, those that the teacher ranks best.")
    random: int = Field(100, ge=1, le=10_000, description="Random items a user that stand below, anew every epoch.")
    period: int = Field(2, ge=1, description="Epochs between two checks of how near the next ranking is.")
    advance: float = Field(1.05, gt=0.0, description="α: how much nearer the next ranking has to have come.")
    decay: float = Field(0.995, gt=0.0, le=1.0, description="Factor of α at each check.")


def ranking_distance(own: IdLists, target: IdLists) -> FloatArray:
    """D(own, π) of every user.

    Args:
        own: (n, K) the student's best items, best first.
        target: (n, K) those of π.
    """
    width = target.shape[1]
    values = np.append(np.exp2(np.exp(-np.arange(width) / 10.0)) - 1.0, 0.0)
    discounts = 1.0 / np.log2(np.arange(width) + 2.0)
    gained = values[np.where(own < 0, width, rank_among(own, target))] @ discounts
    possible = np.where(target < 0, 0.0, values[:-1]) @ discounts
    similar: FloatArray = np.divide(gained, possible, out=np.ones_like(gained), where=possible > 0)
    return 1.0 - similar


def best_observed(teacher: Embeddings, train: sparse.csr_array, count: int) -> IdLists:
    """The ``count`` train items of every user that the teacher scores highest, best first: (n_users, count) int32."""
    users = np.repeat(np.arange(train.shape[0]), np.diff(train.indptr))
    scores = np.empty(len(users), np.float32)
    for start in range(0, len(users), 100_000):
        part = slice(start, start + 100_000)
        scores[part] = np.einsum("nd,nd->n", teacher.users[users[part]], teacher.items[train.indices[part]])
    order = np.lexsort((-scores, users))
    place = np.arange(len(users)) - train.indptr[users]
    lists = np.full((train.shape[0], count), NO_ITEM, np.int32)
    kept = place < count
    lists[users[kept], place[kept]] = train.indices[order][kept]
    return lists


@objective("hetcomp")
class HetComp(Objective):
    """The relaxed ranking loss of rankings that get harder as the student masters them."""

    Options = HetcompOptions
    needs_trajectory = True

    def __init__(self, options: HetcompOptions, weight: float, context: DistillContext) -> None:
        super().__init__(options, weight, context)
        if context.trajectory is None or len(context.trajectory) < 2:
            raise trajectory_needed(self.name)
        self.rankings = context.trajectory[:, :, : options.top]
        self.observed = best_observed(context.teacher, context.train, options.observed)
        self.level = torch.zeros(context.n_users, dtype=torch.int64)
        self.distance = torch.zeros(context.n_users, dtype=torch.float64)
        self.lists = torch.empty(0)
        self.last = torch.empty(0)

    def state(self) -> Mapping[str, Tensor]:
        """Where every user is on the way."""
        return {"level": self.level, "distance": self.distance}

    def begin_epoch(self, epoch: int, student: Embeddings, rng: np.random.Generator) -> None:
        """See who goes on, and draw the items that stand below."""
        if (epoch - 1) % self.options.period == 0:
            self._advance((epoch - 1) // self.options.period, student)
        level = self.level.numpy()
        target = self.rankings[level, np.arange(len(level))]
        below = random_items(self.context.train, self.options.random, rng)
        drop_listed(below, target)
        lists = np.concatenate([self.observed, target, below], axis=1)
        self.lists = torch.from_numpy(lists).to(self.context.device)
        self.last = torch.from_numpy(level == len(self.rankings) - 1).to(self.context.device)

    def _advance(self, look: int, student: Embeddings) -> None:
        """Take users that are near enough to the next ranking on to it; the first look only measures."""
        level, before = self.level.numpy(), self.distance.numpy()
        own, _ = top_k(student, self.context.train, self.rankings.shape[2])
        now = self._distance_to_next(own, level)
        if look > 0:
            threshold = self.options.advance * self.options.decay**look
            going = (level < len(self.rankings) - 1) & ((before >= threshold * now) | (before < now))
            level[going] += 1
            before[going] = self._distance_to_next(own, level)[going]
        else:
            before[:] = now

    def _distance_to_next(self, own: IdLists, level: npt.NDArray[np.int64]) -> FloatArray:
        following = np.minimum(level + 1, len(self.rankings) - 1)
        return ranking_distance(own, self.rankings[following, np.arange(len(level))])

    def loss(self, view: View, batch: Batch) -> Tensor:
        """Mean over the batch's ranking users, the coarse loss of some and the fine one of the others."""
        lists = self.lists[batch.rank_users]
        scores = listed_scores(view, batch.rank_users, lists)
        there, last = lists >= 0, self.last[batch.rank_users]
        share = last.float().mean()
        coarse, fine = there & ~last[:, None], there & last[:, None]
        return (1.0 - share) * self._coarse(scores, coarse) + share * self._fine(scores, fine)

    def _coarse(self, scores: Tensor, there: Tensor) -> Tensor:
        """Every observed and ranked item above the random ones."""
        first = self.observed.shape[1] + self.rankings.shape[2]
        below = torch.logsumexp(scores[:, first:].masked_fill(~there[:, first:], -1e9), dim=1, keepdim=True)
        terms = nn.functional.softplus(below - scores[:, :first]) * there[:, :first]
        return terms.sum() / there[:, :first].sum().clamp_min(1)

    def _fine(self, scores: Tensor, there: Tensor) -> Tensor:
        """The order of the observed and of the best ranked items."""
        n, width = self.observed.shape[1], self.rankings.shape[2]
        first = n + width
        observed = relaxed_ranking_loss(scores[:, :n], scores[:, first:], there[:, :n], there[:, first:])
        halves = []
        for size in (max(width // 2, 1), max(width // 10, 1)):
            cut = n + size
            halves.append(relaxed_ranking_loss(scores[:, n:cut], scores[:, cut:], there[:, n:cut], there[:, cut:]))
        return (observed + (halves[0] + halves[1]) / 2.0) / 2.0
