"""Matrix factorisation by a softmax over many negatives: the strongest teacher-free model of few numbers.

For each pair (u, i) of a batch, and M items N that the whole batch shares, drawn anew in each step with probabilities q,

    loss = mean of −s_ui + log(exp s_ui + Σ_{j ∈ N, j ≠ i} exp s_uj / (M q_j))

The sum is an unbiased estimate of Σ_{j ≠ i} exp s_uj (Bengio & Senécal, "Quick Training of Probabilistic Neural Nets by
Importance Sampling", AISTATS 2003), so this is the full softmax up to noise; where there are no more than M items it is the
full softmax itself. q is uniform, or in proportion to popularity^power: then −log q corrects for it. A user's other train
items are among the negatives, as they are in the full softmax: they compete for the user's probability.

A step is one product of (b, d) with (d, M), and two on the way back.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from scipy import sparse
from torch import Tensor, nn

from freqd.data.interactions import Split
from freqd.embeddings import Embeddings, ModelInfo, TrainedModel, Trial
from freqd.evaluate.spread import spread
from freqd.evaluate.validation import Validation
from freqd.models.mf import MatrixFactorization
from freqd.numerics import threads
from freqd.teachers.lowpass import item_degrees, lowpass_factors, lowpass_table
from freqd.teachers.search import SAMPLE_USERS
from freqd.training.environment import TrainingEnvironment
from freqd.training.interfaces import View
from freqd.training.loop import fit
from freqd.training.optim import OptimConfig
from freqd.training.sampling import Batch
from freqd.training.several import fit_best


class SoftmaxTerm:
    """The loss above, a ``LossTerm``; for use with ``OptimConfig.base_weight`` 0.

    Args:
        train: (n_users, n_items) CSR; gives the popularity.
        negatives: M.
        power: of the popularity in q; 0 is uniform. An item without an interaction counts as one with a single one.
        weight: factor in the loss.
    """

    name = "softmax"

    def __init__(self, train: sparse.csr_array, *, negatives: int, power: float = 0.0, weight: float = 1.0) -> None:
        if negatives < 1:
            raise ValueError(f"negatives must be at least 1, got {negatives}")
        self.weight = weight
        self._n_items = int(train.shape[1])
        self._negatives = negatives
        popularity = np.maximum(item_degrees(train), 1).astype(np.float64) ** power
        shares = popularity / popularity.sum()
        self._cumulated = np.cumsum(shares) / shares.sum()
        self._log_weights = -np.log(negatives * shares).astype(np.float32)
        self._rng = np.random.default_rng()

    def parameters(self) -> Iterable[nn.Parameter]:
        """Nothing beside the model."""
        return ()

    def state(self) -> Mapping[str, Tensor]:
        """Nothing lasts."""
        return {}

    def begin_epoch(self, epoch: int, student: Embeddings, rng: np.random.Generator) -> None:
        """The epoch's steps draw from ``rng``."""
        self._rng = rng

    def loss(self, view: View, batch: Batch) -> Tensor:
        """Mean over the batch's pairs."""
        drawn, log_weights = self._draw()
        negatives = torch.from_numpy(drawn).to(batch.positives.device)
        return sampled_softmax(
            view.users(batch.users),
            view.items(batch.positives),
            view.items(negatives),
            torch.from_numpy(log_weights).to(negatives.device),
            (batch.positives, negatives),
        )

    def _draw(self) -> tuple[np.ndarray, np.ndarray]:
        """Items (M,) int64 with repetition and −log(M q) of each; all items where there are no more than M."""
        if self._n_items <= self._negatives:
            return np.arange(self._n_items), np.zeros(self._n_items, np.float32)
        drawn = np.searchsorted(self._cumulated, self._rng.random(self._negatives), side="right")
        drawn = np.minimum(drawn, self._n_items - 1)
        return drawn, self._log_weights[drawn]


def sampled_softmax(
    users: Tensor, positives: Tensor, negatives: Tensor, log_weights: Tensor, items: tuple[Tensor, Tensor]
) -> Tensor:
    """Mean of −s_ui + log(exp s_ui + Σ_j w_j exp s_uj), without the pair's own item in the sum.

    Both ways are gone at once, for some pairs at a time, on a CPU by several threads, whose number does not change the result.

    Args:
        users, positives: (b, d) rows of each pair.
        negatives: (M, d).
        log_weights: (M,) log w.
        items: which items the positives (b,) and the negatives (M,) are.
    """
    loss: Tensor = _SampledSoftmax.apply(users, positives, negatives, log_weights, *items)  # type: ignore[no-untyped-call]
    return loss


PAIRS_AT_ONCE = 1024
"""Half of a batch: with fewer a step is bound by the number of its operations, with more a second core has nothing to do."""


class _SampledSoftmax(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *given: Tensor) -> Tensor:
        users, positives, negatives, log_weights, own, others = (tensor.detach() for tensor in given)
        places = torch.sort(others)
        size = PAIRS_AT_ONCE if users.device.type == "cpu" else len(users)
        losses, for_users, for_positives, for_negatives = zip(
            *threads.run(
                lambda rows: _of_pairs(users[rows], positives[rows], negatives, log_weights, own[rows], *places),
                threads.blocks_of(len(users), size),
            ),
            strict=True,
        )
        ctx.slopes = torch.cat(for_users), torch.cat(for_positives), torch.stack(for_negatives).sum(0)
        return torch.stack(losses).sum() / len(users)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        factor = gradients[0] / len(ctx.slopes[0])
        return *(slope * factor for slope in ctx.slopes), None, None, None


def _of_pairs(
    users: Tensor,
    positives: Tensor,
    negatives: Tensor,
    log_weights: Tensor,
    own: Tensor,
    others: Tensor,
    order: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Sum of the losses of some pairs, and its gradients by users, positives and negatives.

    Args:
        own: items of the positives.
        others: items of the negatives, ascending.
        order: which negative each of them is.
    """
    scores = torch.addmm(log_weights, users, negatives.T)
    first = torch.searchsorted(others, own)
    count = torch.searchsorted(others, own, right=True) - first
    pair = torch.repeat_interleave(count)  # as often as its item is among the negatives
    scores[
        pair, order[torch.arange(len(pair), device=pair.device) - (count.cumsum(0) - count - first)[pair]]
    ] = -torch.inf
    score = (users * positives).sum(1)
    highest = torch.maximum(scores.amax(1), score)
    odds = scores.sub_(highest[:, None]).exp_()
    miss = odds.sum(1)  # unlike 1 − share of the positive, exact where that is near 1
    total = miss + (score - highest).exp()
    weight = (miss / total)[:, None]
    for_users = (odds @ negatives).div_(total[:, None]).sub_(weight * positives)
    for_negatives = odds.T @ (users / total[:, None])
    return (total.log() + highest - score).sum(), for_users, -weight * users, for_negatives


STRENGTHS, FEW_INTERACTIONS = (0.06, 0.1, 0.2), 300_000
"""L2 that is tried on up to so many interactions."""


@dataclass(frozen=True)
class SoftmaxGrid:
    """What to train.

    Attributes:
        learning_rate, weight_decay: the values; every pair is trained. Of L2 0, .01, .03 and .1 the last is the best on the
            validation of Gowalla; on that of MovieLens 100K .2 is better than .01 to .1.
        negatives: M.
        power: of the popularity in q.
        start_spread: spread of the scores of the start; the softmax sees them as logits.
        optim: all else; its ``base_weight`` does not count. ``max_seconds`` is the time of all trainings together.
    """

    learning_rate: Sequence[float] = (5e-3,)
    weight_decay: Sequence[float] = (0.1,)
    negatives: int = 1024
    power: float = 0.0
    start_spread: float = 1.0
    optim: OptimConfig = field(
        default_factory=lambda: OptimConfig(epochs=24, batch_size=2048, eval_every=2, patience=5, decay=1.0)
    )

    @classmethod
    def of(cls, split: Split) -> Self:
        """With several strengths where that costs little."""
        return cls(weight_decay=STRENGTHS) if len(split.train) <= FEW_INTERACTIONS else cls()


def softmax_start(train: sparse.csr_array, dim: int, *, seed: int) -> Embeddings:
    """The low-pass table of so many numbers; columns of zeros where the data have fewer."""
    there = min(dim, *train.shape)
    table = lowpass_table(lowpass_factors(train, there, seed=seed), there)
    pad = ((0, 0), (0, dim - there))
    return Embeddings(np.pad(table.users, pad), np.pad(table.items, pad))


def scaled(features: Embeddings, train: sparse.csr_array, *, start_spread: float, seed: int) -> Embeddings:
    """The same ranking with scores of that spread; both tables take half of the factor."""
    root = np.float32(math.sqrt(start_spread / spread(features, train, seed=seed)))
    return Embeddings(features.users * root, features.items * root)


def train_softmax(
    split: Split, dim: int, grid: SoftmaxGrid, environment: TrainingEnvironment, start: Embeddings | None = None
) -> TrainedModel:
    """Train for each step size and L2 strength; the best on validation is kept.

    Args:
        split: trained on its train part, chosen by its validation part.
        dim: embedding dimension.
        grid: the values.
        environment: its ``checkpoint`` is a folder; each training has a file of its own there.
        start: (n_users, dim) and (n_items, dim) to start from, as of ALS, brought to ``grid.start_spread``; None: ``softmax_start``.

    Returns:
        The best; ``info["valid_ndcg_at_10"]`` is over all validation users, ``info["trials"]`` lists all trainings, over
        ``search_users`` of them: factors, learning_rate, weight_decay, valid_ndcg_at_10, best_epoch, seconds, stopped.
    """
    every = Validation.of(split, limit=None, seed=environment.seed)
    sample = Validation.of(split, limit=SAMPLE_USERS, seed=environment.seed)
    pairs = list(product(grid.learning_rate, grid.weight_decay))
    budget = grid.optim.max_seconds
    best = fit_best(
        _maker(sample.train, dim, grid, environment.seed, start),
        sample,
        [
            replace(
                grid.optim,
                learning_rate=rate,
                weight_decay=decay,
                base_weight=0.0,
                max_seconds=None if budget is None else budget / len(pairs),
            )
            for rate, decay in pairs
        ],
        replace(environment, checkpoint=_folder(environment.checkpoint, dim)),
    )
    trials: list[Trial] = [{"factors": dim, **trial} for trial in best.info["trials"]]
    best.info.update(
        ModelInfo(
            kind="softmax",
            method="softmax",
            factors=dim,
            valid_ndcg_at_10=every(best.features),
            search_users=len(sample.users),
            seconds=round(sum(trial["seconds"] for trial in trials), 3),
            trials=trials,
        )
    )
    return best


def refit_softmax(
    split: Split, grid: SoftmaxGrid, judged: TrainedModel, environment: TrainingEnvironment
) -> TrainedModel:
    """Train the judged model again, from a start of its own and up to the best epoch, on data without a validation part."""
    data = Validation.of(split, limit=None, seed=environment.seed)
    model, terms = _maker(data.train, judged.info["factors"], grid, environment.seed)()
    return fit(model, terms, data, replace(grid.optim, base_weight=0.0).again(judged.info), environment)


def _maker(
    train: sparse.csr_array, dim: int, grid: SoftmaxGrid, seed: int, start: Embeddings | None = None
) -> Callable[[], tuple[MatrixFactorization, list[SoftmaxTerm]]]:
    """Makes the model and its loss at their start."""
    start = start or softmax_start(train, dim, seed=seed)
    start = scaled(start, train, start_spread=grid.start_spread, seed=seed)
    return lambda: (
        MatrixFactorization((*train.shape, dim), init=start, seed=seed),
        [SoftmaxTerm(train, negatives=grid.negatives, power=grid.power)],
    )


def _folder(place: Path | None, dim: int) -> Path | None:
    if place is None:
        return None
    folder = place / f"softmax-{dim}"
    folder.mkdir(exist_ok=True)
    return folder
