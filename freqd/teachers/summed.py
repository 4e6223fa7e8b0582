"""Which teachers to add up, and with what weights: a greedy search on validation that takes only what is beyond chance.

The best candidate alone is the start. Every other one is tried beside it, with weights w = .1 to .9 (and 1 − w for what is
there), all at unit spread of scores; the one with the largest gain is taken if that gain is beyond chance, and so on:

- the gain is measured by cross-validation over the users: w is chosen on nine tenths of them and measured on the tenth that
  is left, so that the best of nine weights does not look better than it is;
- it must exceed ``ERRORS`` standard errors of the paired difference over the users.

Where a sum is taken, its weights are then made as even as validation allows: of all mixtures with equal weights, candidates that were
not taken among them if they are good alone, the most even one whose loss is within ``ERRORS`` standard errors. Averages of more and
unlike models hold better where the data to come differ from those of validation, which fitted weights follow too closely: on Gowalla's
given test part .5 ALS and .5 graph filter have .1316, even weights with a low-pass table .1390, and validation does not tell them apart.

Scores are linear in the weights, so NDCG under any of them is a small matrix product once the scores of the items that can
get to the top are known: the union of each candidate's best ``band_weights.DEPTH`` of each user, as for the weights of bands.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt

from freqd.data.interactions import IdArray
from freqd.embeddings import as_table
from freqd.evaluate.ranking import top_k
from freqd.evaluate.spread import spread
from freqd.evaluate.validation import Validation
from freqd.scorer import Scorer, SumScorer
from freqd.spectral.band_weights import DEPTH, FOLDS, MIN_USERS, ListedBands

STEPS = tuple(round(0.1 * step, 1) for step in range(1, 10))
"""Weights of what is added."""

ERRORS = 2.0
"""Standard errors that a gain must have; with one, every sixth candidate that adds nothing would be taken."""

WORTH = 0.9
"""Share of the best candidate's NDCG@10 that one must have alone to be part of even weights though it was not taken."""

LOWEST = np.float32(-1e30)
"""Stands for the −inf of an item that is never recommended, which no weight of 0 could undo."""

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class SumTrial:
    """One candidate beside what had been chosen before.

    Attributes:
        candidate: its name.
        beside: names of what it was added to; none for a candidate alone.
        weight: the best of ``STEPS`` over all users.
        valid_ndcg_at_10: with that weight.
        gain: mean gain with weights that were chosen on the other users.
        error: its standard error over the users.
        taken: whether it was.
    """

    candidate: str
    beside: tuple[str, ...]
    weight: float
    valid_ndcg_at_10: float
    gain: float
    error: float
    taken: bool


@dataclass(frozen=True, eq=False)
class SumFit:
    """What the search chose.

    Attributes:
        scorer: the sum; of one candidate where nothing is worth adding.
        weights: by name, of what is in it; they add up to 1.
        trials: what was tried, in order; the candidates alone first.
        valid_ndcg_at_10: of the sum, by the full ranking.
        reason: a sentence or two.
    """

    scorer: SumScorer
    weights: dict[str, float]
    trials: tuple[SumTrial, ...]
    valid_ndcg_at_10: float
    reason: str


def fit_sum(candidates: Mapping[str, Scorer], validation: Validation, *, seed: int) -> SumFit:
    """Choose weights on the validation's users; with fewer than four of them the best alone.

    Cost: a ranking of each candidate, then little. Memory: 4 · DEPTH · c² bytes a validation user for c candidates.

    Args:
        candidates: by name; at equal values the earlier one is preferred.
        validation: its ``users`` are those that are looked at; some thousands are enough.
        seed: of the folds and of the samples that tell the spreads.

    Raises:
        ValueError: there is no candidate, or no user has a validation item.
    """
    names = list(candidates)
    if not names:
        raise ValueError("there is no candidate")
    search = _Search(candidates, validation, seed)
    alone = [validation(scorer) for scorer in candidates.values()]
    first = int(np.argmax(alone))
    trials = [
        SumTrial(name, (), 1.0, value, 0.0, 0.0, number == first)
        for number, (name, value) in enumerate(zip(names, alone, strict=True))
    ]
    weights, added = search.climb(names, np.eye(len(names))[first])
    if np.count_nonzero(weights) > 1:
        weights = search.even(weights, np.array(alone) >= WORTH * alone[first])
    kept = [number for number in range(len(names)) if weights[number] > 0]
    scorer = SumScorer(
        tuple(candidates[names[number]] for number in kept),
        tuple(float(weights[number]) for number in kept),
        tuple(search.spreads[number] for number in kept),
    )
    chosen = dict(zip((names[number] for number in kept), scorer.weights, strict=True))
    value = validation(as_table(scorer) or scorer)
    return SumFit(scorer, chosen, (*trials, *added), value, _reason(names[first], alone[first], value, chosen, added))


class _Search:
    """The candidates' scores of the items that can get to the top, and the folds of the users."""

    def __init__(self, candidates: Mapping[str, Scorer], validation: Validation, seed: int) -> None:
        scorers = list(candidates.values())
        self.spreads = [spread(scorer, validation.train, seed=seed) for scorer in scorers]
        users = validation.users
        lists = _union([top_k(scorer, validation.train, DEPTH, users=users)[0] for scorer in scorers])
        scores = [
            np.maximum(scorer.listed(users, lists) / np.float32(sigma), LOWEST)
            for scorer, sigma in zip(scorers, self.spreads, strict=True)
        ]
        self.listed = ListedBands.of_parts(scores, lists, validation)
        self.fold = np.random.default_rng(seed).permutation(len(users)) % FOLDS

    def climb(self, names: list[str], start: FloatArray) -> tuple[FloatArray, list[SumTrial]]:
        """The weights (c,) that additions beyond chance lead to, and what was tried."""
        weights, trials = start, list[SumTrial]()
        if len(self.fold) < MIN_USERS:
            return weights, trials
        base = self.listed.ndcg(weights)
        while (weights == 0).any():
            beside = tuple(name for name, weight in zip(names, weights, strict=True) if weight > 0)
            options, tried = [], []
            for number in np.flatnonzero(weights == 0):
                mixed = [(1 - w) * weights + w * np.eye(len(names))[number] for w in STEPS]
                values = np.stack([self.listed.ndcg(mix) for mix in mixed])
                best = int(values.mean(axis=1).argmax())
                gain, error = held_out_gain(values, base, self.fold)
                options.append((gain, mixed[best], values[best]))
                tried.append((names[number], beside, STEPS[best], float(values[best].mean()), gain, error))
            top = max(range(len(options)), key=lambda n: options[n][0])
            beyond = tried[top][4] > ERRORS * tried[top][5]
            trials += [SumTrial(*row, taken=beyond and number == top) for number, row in enumerate(tried)]
            if not beyond:
                break
            _, weights, base = options[top]
        return weights, trials

    def even(self, weights: FloatArray, good: npt.NDArray[np.bool_]) -> FloatArray:
        """The most even weights (c,) that validation does not tell from ``weights``, among the ``good`` candidates and those in it."""
        base, members = self.listed.ndcg(weights), weights > 0
        others = np.flatnonzero(good & ~members)
        found = weights
        for count in range(len(others) + 1):
            for more in combinations(others, count):
                equal = members.astype(np.float64)
                equal[list(more)] = 1.0
                equal /= equal.sum()
                for share in reversed((*STEPS, 1.0)):
                    mixed = (1 - share) * weights + share * equal
                    loss = base - self.listed.ndcg(mixed)
                    if loss.mean() <= ERRORS * loss.std(ddof=1) / len(loss) ** 0.5:
                        found = max(found, mixed, key=entropy)
                        break
        return found


def entropy(weights: FloatArray) -> float:
    """−Σ w log w: the larger, the more even."""
    there = weights[weights > 0]
    return float(-(there * np.log(there)).sum())


def held_out_gain(values: FloatArray, base: FloatArray, fold: npt.NDArray[np.integer]) -> tuple[float, float]:
    """Mean gain of the option that is best for the users of all other folds, and its standard error over the users.

    Args:
        values: (options, n) of each user.
        base: (n,) what it is a gain over.
        fold: (n,) the part that each user is in.
    """
    gain = np.zeros(len(base))
    for part in np.unique(fold):
        there = fold == part
        best = values[:, ~there].mean(axis=1).argmax() if not there.all() else 0
        gain[there] = values[best, there] - base[there]
    return float(gain.mean()), float(gain.std(ddof=1) / len(gain) ** 0.5)


def _union(lists: list[IdArray]) -> IdArray:
    """All items of several lists a user, each once; −1 where there are no more."""
    joined = np.sort(np.concatenate(lists, axis=1), axis=1)
    joined[:, 1:][joined[:, 1:] == joined[:, :-1]] = -1
    return np.ascontiguousarray(joined)


def _reason(first: str, alone: float, value: float, weights: Mapping[str, float], trials: list[SumTrial]) -> str:
    best = f"{first} alone has the best NDCG@10 on validation, {alone:.4f}"
    taken = [trial for trial in trials if trial.taken]
    if not taken:
        last = max(trials, key=lambda trial: trial.gain, default=None)
        if last is None:
            return f"{best}; there was nothing to add or too few users to tell gain from chance."
        return (
            f"{best}; nothing is added, since the best addition, {last.candidate}, gains no more than chance "
            f"({last.gain:+.4f}, standard error {last.error:.4f})."
        )
    shares = ", ".join(f"{weight:.2f} {name}" for name, weight in weights.items())
    gains = ", ".join(f"{trial.candidate} {trial.gain:+.4f} (standard error {trial.error:.4f})" for trial in taken)
    return f"{best}; the sum {shares}, as even as validation allows, has {value:.4f}. Gains on users that the weights were not fitted to: {gains}."
