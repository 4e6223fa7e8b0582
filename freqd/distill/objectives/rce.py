"""Ranking cross-entropy on the items that matter: the teacher's best, the student's own best, and random ones.

For every user u a list 𝓛_u = teacher's top T ∪ student's present top S ∪ R random items, train items left out:

    loss = mean over u of −Σ_{j ∈ 𝓛_u} p_uj · log softmax_𝓛(s_u)_j,    p_u = softmax_𝓛(t_u / (τ σ))

t are the scores of the (filtered) teacher and s those of the student; σ is the teacher's spread (``start.spread``),
so that τ means the same for every teacher. The student's own top items are what
keeps it from ranking items high that the teacher would not: without them a plain cross-entropy over the teacher's
list bounds nothing outside of it. The idea is that of Zhu & Zhang, "Rejuvenating Cross-Entropy Loss in Knowledge
Distillation for Recommender Systems" (RCE-KD), 2025; one softmax over one list replaces their two-part split.

To rank all items for all users in every epoch is what takes most time on large data, and their lists take most memory. So users
can take turns: ``share`` of them have lists in an epoch. Whoever has none is stood in for by one of them, so that the term has as many
lists to learn from in an epoch as ever: without that a quarter of Gowalla's users gave 5 % less, with it 1 %.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field
from torch import Tensor

from freqd.config import Settings
from freqd.data.interactions import IdArray
from freqd.distill.context import DistillContext
from freqd.distill.listed_scores import listed_scores
from freqd.distill.objectives._ranking import imitated
from freqd.distill.objectives.base import Objective, objective
from freqd.embeddings import Embeddings, FloatMatrix
from freqd.evaluate import faiss_index
from freqd.evaluate.faiss_index import MeasuredIvfIndex
from freqd.evaluate.ranking_blocks import top_k_by
from freqd.numerics.listed_scores import NO_ITEM, Lists, drop_repeated, fill_in, known_scores, random_items
from freqd.scorer import Scorer
from freqd.training.interfaces import View
from freqd.training.sampling import Batch

HELD = 1 << 31
"""Bytes of lists that ``share = "auto"`` allows, and up to which they are kept until it is their users' turn again; beyond that the teacher's
best items are, while they take no more."""

ITEM_BYTES = 8
"""Of an item in a list: its number and its score."""

BYTES = 2 * ITEM_BYTES
"""Of each item of a list while the next lists are made."""


class RceOptions(Settings):
    """Options of ``rce``."""

    top: int = Field(50, ge=1, le=10_000, description="T: the teacher's best items in a user's list.")
    student_top: int = Field(50, ge=0, le=10_000, description="S: the student's present best items in it.")
    random: int = Field(100, ge=0, le=10_000, description="R: random items in it, drawn anew every epoch.")
    temperature: float = Field(1.0, gt=0.0, description="τ, in units of the teacher's spread of scores.")
    share: Annotated[float, Field(gt=0.0, le=1.0)] | Literal["auto"] = Field(
        "auto",
        description="Share of the users that have lists in an epoch; they take turns. auto: all of them, on data of more than "
        "some 670,000 users as many.",
    )
    filtered: bool = Field(True, description="Imitate the filtered teacher that the spectral analysis chose.")


@dataclass(eq=False)
class _Turn:
    """The users of a turn, and what is known of their lists.

    Attributes:
        users: (n,) ascending.
        best: (n, T) the teacher's best items.
        student_best: (n, S) the student's when it last was their turn.
        lists: (n, L) the last lists, each ascending.
        logits: (n, L) the teacher's scores of them in units of τ σ.
    """

    users: IdArray
    best: Lists
    student_best: Lists
    lists: Lists
    logits: FloatMatrix


@objective("rce")
class RankingCrossEntropy(Objective):
    """−Σ p log softmax(s) over the list of each of the batch's ranking users."""

    Options = RceOptions
    by_user = True

    def __init__(self, options: RceOptions, weight: float, context: DistillContext) -> None:
        super().__init__(options, weight, context)
        self.teacher = imitated(context, options.filtered)
        self.shared = context.engine.share(self.teacher), context.engine.share(context.train)
        self.cells = context.teacher_cells(options.filtered)
        self.factor = np.float32(1.0 / (options.temperature * context.spread))
        needed = BYTES * (options.top + options.student_top + options.random) * context.n_users / context.share
        turns = math.ceil(needed / HELD) if options.share == "auto" else round(1 / options.share)
        order = np.random.default_rng(context.seed).permutation(context.n_users).astype(np.int32)
        self.users = [np.sort(order[turn::turns]) for turn in range(turns)]
        self.kept: dict[int, _Turn] | None = {} if needed <= HELD else None
        fitting = ITEM_BYTES * options.top * context.n_users / context.share <= HELD
        self.best: dict[int, tuple[IdArray, FloatMatrix]] | None = {} if fitting else None
        self.row = torch.arange(context.n_users, device=context.device)
        self.listed_users = torch.arange(context.n_users, device=context.device)
        self.lists = self.logits = torch.empty(0)

    @classmethod
    def prepare(cls, options: RceOptions, context: DistillContext) -> None:
        """Put the teacher's items into cells, for all parts."""
        context.teacher_cells(options.filtered)

    def begin_epoch(self, epoch: int, student: Embeddings, rng: np.random.Generator) -> None:
        """Make the lists of this epoch, and ask the teacher for the scores of the items that were not in the last ones."""
        options, context = self.options, self.context
        turn = self._turn((epoch - 1) % len(self.users))
        if turn.student_best.shape[1]:
            k, hint = turn.student_best.shape[1], turn.student_best
            many = faiss_index.wanted(context.index, student.n_items)
            cells = faiss_index.build(student, context.index, seed=context.seed) if many else None
            turn.student_best, _ = self._ranked(student, student, cells, k, turn.users, hint)
        drawn = random_items(context.train[turn.users], options.random, rng)
        lists = np.concatenate([turn.best, turn.student_best, drawn], axis=1)
        drop_repeated(lists)
        logits = np.full(lists.shape, -np.inf, np.float32)
        lacking = known_scores(lists, logits, turn.lists, turn.logits)
        fill_in(lists, logits, lacking, self.teacher.listed(turn.users, lacking) * self.factor)
        turn.lists, turn.logits = lists, logits
        if len(self.users) > 1:
            self.listed_users = torch.from_numpy(turn.users).long().to(context.device)
            self.row = torch.from_numpy(_stand_ins(turn.users, context.n_users, rng)).to(context.device)
        self.lists, self.logits = (torch.from_numpy(array).to(context.device) for array in (lists, logits))

    def _turn(self, number: int) -> _Turn:
        """The users of a turn with the teacher's best items for them, kept from the last time if there is room."""
        if self.kept is not None and number in self.kept:
            return self.kept[number]
        users, context, options = self.users[number], self.context, self.options
        if self.best is not None and number in self.best:
            best, scores = self.best[number]
        else:
            k = min(options.top, context.n_items)
            best, scores = self._ranked(self.teacher, self.shared[0], self.cells, k, users)
            if self.best is not None:
                self.best[number] = best, scores
        order = np.argsort(best, axis=1)
        turn = _Turn(
            users=users,
            best=best,
            student_best=np.full((len(users), min(options.student_top, context.n_items)), NO_ITEM, np.int32),
            lists=np.take_along_axis(best, order, axis=1),
            logits=np.take_along_axis(scores, order, axis=1) * self.factor,
        )
        if self.kept is not None:
            self.kept[number] = turn
        return turn

    def _ranked(
        self,
        scorer: Scorer,
        shared: object,
        cells: MeasuredIvfIndex | None,
        k: int,
        users: IdArray,
        hint: IdArray | None = None,
    ) -> tuple[IdArray, FloatMatrix]:
        """The best items of some users: of the cells if there are any, of all items otherwise."""
        if cells is not None and isinstance(scorer, Embeddings):
            return cells.top_k(scorer, self.context.train, k, users)
        return top_k_by(self.context.engine, shared, self.shared[1], k, users=users, hint=hint)  # type: ignore[arg-type]

    def loss(self, view: View, batch: Batch) -> Tensor:
        """Mean over the batch's ranking users, or those who stand in for them."""
        users = rows = batch.rank_users
        if len(self.users) > 1:
            rows = torch.unique(self.row[rows])
            users = self.listed_users[rows]
        lists = self.lists[rows]  # (r, L)
        scores = listed_scores(view, users, lists)
        # A user who has every item has an empty list, on which a softmax is not defined: no target, no loss.
        targets = torch.softmax(self.logits[rows], dim=1).nan_to_num_(0.0)
        return listed_cross_entropy(scores, targets, lists < 0)


def _stand_ins(users: IdArray, n_users: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """For each of all users the row in ``users`` of itself, or of who stands in: each for about as many others."""
    row = np.full(n_users, -1)
    row[users] = np.arange(len(users))
    others = np.flatnonzero(row < 0)
    row[others] = rng.permutation(len(others)) % len(users)
    return row


def listed_cross_entropy(scores: Tensor, targets: Tensor, missing: Tensor) -> Tensor:
    """Mean over lists of −Σ p log softmax(s).

    Args:
        scores: s, (r, L).
        targets: p, (r, L); 0 where an item is missing.
        missing: (r, L) bool, where a list has ended.
    """
    log_shares = torch.log_softmax(scores.masked_fill(missing, -torch.inf), dim=1).masked_fill(missing, 0.0)
    return -(targets * log_shares).sum(1).mean()
