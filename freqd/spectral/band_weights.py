"""A filter with per-band weights, fitted to the ranking on validation.

No single α can weigh up one band and down its neighbours; one weight w_b a band can:

    h(λ) = Σ_b w_b φ_b(λ),    φ_b: 1 at the middle of band b, falling linearly to 0 at the middles of its neighbours

(beyond the first and the last middle h stays as it is there). The φ_b add up to 1, each is followed by a polynomial, and so
h is one too. Since scores are linear in the weights of one side,

    s_uj(w) = Σ_b w_b s_uj^b,    s^b: the scores with only φ_b(L) applied to that side,

NDCG under any weights is a small matrix product once s^b is known for the items that can get to the top: the present best
``DEPTH`` of each validation user. (Targets from further below must not be added: with nothing but the best to pass, they
would rise under any weights that upset the order.) A hundred weightings cost less than one full ranking.

The weights climb, band by band, from equal ones or from what the bands' importance suggests (the better of them); a step
counts only if it gains more than its standard error over the users. How much of the gain is real is told by cross-validation
over the users: weights that were fitted to nine tenths of them, measured on the tenth that is left.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from freqd.data.interactions import IdArray
from freqd.embeddings import Embeddings
from freqd.evaluate import metrics as accuracy
from freqd.evaluate.ranking import top_k
from freqd.evaluate.validation import Validation
from freqd.graph import Graph
from freqd.numerics.listed_scores import table_scores
from freqd.scorer import Scorer
from freqd.spectral.chebyshev import apply_bands, split_bands
from freqd.spectral.filters import Filter
from freqd.spectral.spectrum import SideSpectrum

FloatArray = npt.NDArray[np.float64]

DEPTH = 200
"""Items of a user's list: what ranks below has no way into the first ten under mild weights."""

MIN_ENERGY = 1e-3
"""A band with a smaller share of the energy keeps its weight."""

STEPS = (1.15, 1.05)
"""Factors by which a weight moves, up or down; the smaller one once the larger gains no more."""

ROUNDS = 4
"""Rounds over the bands for each of the factors, at the most."""

EXPONENTS = (0.25, 0.5, 1.0)
"""How far a start goes towards the bands' importance."""

BOUND = 2.0
"""Steps take no weight beyond this, or below one over it."""

FOLDS = 10
"""Parts of the users; weights that are fitted to all others are near those fitted to everybody, which fits to a half are not."""

MIN_USERS = 4
"""Three to fit to, one to measure."""

GRID = 401
"""Points on [0, 2] at which a polynomial is fitted."""


def importance(spectrum: SideSpectrum, base_ndcg: float) -> FloatArray:
    """What each band is worth for the ranking, (bands,): the mean of its NDCG alone and of what its removal costs.

    v_b = max(0, (only_b + base − without_b) / 2), in NDCG@10 on validation.
    """
    worth: FloatArray = np.maximum(0.0, (spectrum.importance_only + base_ndcg - spectrum.importance_without) / 2.0)
    return worth


def importance_weights(spectrum: SideSpectrum, base_ndcg: float, exponent: float) -> FloatArray:
    """Weights (bands,) under which the energy goes where the worth is: √(v_b / e_b)^exponent, the mean 1.

    With exponent 1 the filtered energy e_b w_b² is in proportion to the worth v_b. Bands without energy get 1, and so do all
    bands if none is worth anything.
    """
    worth, there = importance(spectrum, base_ndcg), spectrum.energies >= MIN_ENERGY
    weights = np.ones(len(worth))
    if worth[there].sum() > 0.0:
        raw = (worth[there] / spectrum.energies[there]) ** (exponent / 2.0)
        weights[there] = raw / raw.mean()
    return weights


def hat_coefficients(edges: FloatArray, degree: int) -> FloatArray:
    """Chebyshev coefficients of the φ_b, (bands, degree + 1) float64; the least squares fit on a grid over [0, 2]."""
    middles = (edges[:-1] + edges[1:]) / 2.0
    grid = np.linspace(0.0, 2.0, GRID)
    hats = np.stack([np.interp(grid, middles, row) for row in np.eye(len(middles))], axis=1)
    coefficients: FloatArray = np.asarray(np.polynomial.chebyshev.chebfit(grid - 1.0, hats, degree).T, np.float64)
    return coefficients


def weighted_filter(weights: npt.ArrayLike, edges: FloatArray, degree: int) -> Filter:
    """The polynomial Σ_b w_b φ_b."""
    chosen = np.asarray(weights, np.float64)
    series = chosen @ hat_coefficients(edges, degree)
    return Filter(form="chebyshev", coefficients=tuple(series.tolist()), weights=tuple(chosen.tolist()))


@dataclass(frozen=True, eq=False)
class ListedBands:
    """Validation users' lists, scored band by band.

    Attributes:
        scores: (n, L, bands) float32.
        there: (n, L) whether the list has an item at this place.
        hits: (n, L) whether it is a target.
        n_targets: (n,) of each user.
        rest: (n, L) float32, what no weight changes; None: nothing.
    """

    scores: npt.NDArray[np.float32]
    there: npt.NDArray[np.bool_]
    hits: npt.NDArray[np.bool_]
    n_targets: npt.NDArray[np.int64]
    rest: npt.NDArray[np.float32] | None = None

    @classmethod
    def of_users(
        cls, table: Embeddings, graph: Graph, validation: Validation, coefficients: FloatArray, lists: IdArray
    ) -> ListedBands:
        """Bands of the user side of ``table``, on its ``best_lists``."""
        _, parts = split_bands(graph.norm_adj, table.users, coefficients, rows=validation.users)
        return cls.of_parts([table_scores(part, table.items, lists) for part in parts], lists, validation)

    @classmethod
    def of_items(
        cls, table: Embeddings, graph: Graph, validation: Validation, coefficients: FloatArray, lists: IdArray
    ) -> ListedBands:
        """Bands of the item side of ``table``, on its ``best_lists``."""
        parts = apply_bands(graph.norm_adj, table.items, coefficients)
        users = table.users[validation.users]
        return cls.of_parts([table_scores(users, part, lists) for part in parts], lists, validation)

    @classmethod
    def of_parts(cls, scores: list[npt.NDArray[np.float32]], lists: IdArray, validation: Validation) -> ListedBands:
        """Of the scores of each part on the validation users' lists, (n, L) each."""
        targets = np.diff(validation.valid.indptr)[validation.users].astype(np.int64)
        hits = accuracy.hits(lists, validation.valid, validation.users)
        return cls(np.stack(scores, axis=2), lists >= 0, hits, targets)

    def rows(self, chosen: npt.NDArray[np.integer]) -> ListedBands:
        """The lists of some of the users."""
        rest = None if self.rest is None else self.rest[chosen]
        return ListedBands(self.scores[chosen], self.there[chosen], self.hits[chosen], self.n_targets[chosen], rest)

    def ndcg(self, weights: FloatArray) -> FloatArray:
        """NDCG@10 of each user with these weights of the bands, (n,) float64."""
        weighted = self.scores @ weights.astype(np.float32)
        scores = np.where(self.there, weighted if self.rest is None else weighted + self.rest, -np.inf)
        depth = min(10, scores.shape[1])
        best = np.argpartition(-scores, depth - 1, axis=1)[:, :depth]
        order = np.argsort(-np.take_along_axis(scores, best, axis=1), axis=1, kind="stable")
        ranked = np.take_along_axis(best, order, axis=1)
        hits = np.zeros((len(scores), 10), np.bool_)
        hits[:, :depth] = np.take_along_axis(self.hits, ranked, axis=1)
        values: FloatArray = accuracy.ndcg(hits, self.n_targets, 10).astype(np.float64)
        return values


def best_lists(scorer: Scorer, validation: Validation) -> IdArray:
    """(n, L) best items of each validation user, train items left out; −1 where a list has ended."""
    depth = min(DEPTH, scorer.n_items)
    return np.ascontiguousarray(top_k(scorer, validation.train, depth, users=validation.users)[0])


@dataclass(frozen=True, eq=False)
class ListedRest:
    """What a model scores its validation users' best items beyond what a table does that comes near it.

    Attributes:
        lists: (n, L) the model's ``best_lists``.
        rest: (n, L) float32, its scores minus the table's.
        validation: whose users they are.
    """

    lists: IdArray
    rest: npt.NDArray[np.float32]
    validation: Validation

    @classmethod
    def of(cls, full: Scorer, table: Embeddings, validation: Validation) -> ListedRest:
        """Of a model and the raw table."""
        lists, users = best_lists(full, validation), validation.users
        return cls(lists, full.listed(users, lists) - table.listed(users, lists), validation)

    def ndcg(self, filtered: Embeddings) -> FloatArray:
        """NDCG@10 of each user, (n,), with the filtered table instead of the raw one; items outside of the lists stay outside."""
        scores = filtered.listed(self.validation.users, self.lists)
        return self.beside(ListedBands.of_parts([scores], self.lists, self.validation)).ndcg(np.ones(1))

    def beside(self, bands: ListedBands) -> ListedBands:
        """The bands of a table on these lists, with the rest."""
        return replace(bands, rest=self.rest)


@dataclass(frozen=True, eq=False)
class Fitted:
    """Weights and what they gain.

    Attributes:
        weights: (bands,).
        gain: mean gain in NDCG@10, over equal weights, of weights that were fitted to the other folds of the users.
        error: its standard error over the users.
    """

    weights: FloatArray
    gain: float
    error: float


def fit_weights(listed: ListedBands, spectrum: SideSpectrum, base_ndcg: float, rng: np.random.Generator) -> Fitted:
    """Fit the weights to all users; the gain is that of weights fitted to all folds but one and measured on that one.

    With fewer than four users there is nothing to tell gain from chance by: equal weights, no gain.

    Args:
        listed: the users' lists, scored band by band.
        spectrum: of the side; its importances give starts, its energies the order of the bands.
        base_ndcg: of the raw teacher, with which the importances were measured.
        rng: draws the folds.
    """
    if len(listed.n_targets) < MIN_USERS:
        return Fitted(np.ones(len(spectrum.energies)), 0.0, 0.0)
    starts = [importance_weights(spectrum, base_ndcg, exponent) for exponent in EXPONENTS]
    order = [int(b) for b in np.argsort(-spectrum.energies, kind="stable") if spectrum.energies[b] >= MIN_ENERGY]
    equal = np.ones(len(spectrum.energies))
    gain = np.zeros(len(listed.n_targets))
    fold = rng.permutation(len(gain)) % FOLDS
    for part in range(min(FOLDS, len(gain))):
        rest, there = np.flatnonzero(fold != part), np.flatnonzero(fold == part)
        weights, measured = _climb(listed.rows(rest), starts, order), listed.rows(there)
        gain[there] = measured.ndcg(weights) - measured.ndcg(equal)
    error = float(gain.std(ddof=1) / len(gain) ** 0.5)
    return Fitted(_climb(listed, starts, order), float(gain.mean()), error)


def _climb(listed: ListedBands, starts: Sequence[FloatArray], order: Sequence[int]) -> FloatArray:
    """The weights of the highest NDCG that steps of one band at a time reach."""
    best = np.ones(listed.scores.shape[2])
    value = listed.ndcg(best)

    def better(candidate: FloatArray) -> bool:
        nonlocal best, value
        reached = listed.ndcg(candidate)
        gain = reached - value
        if not gain.mean() > gain.std(ddof=1) / len(gain) ** 0.5:
            return False
        best, value = candidate, reached
        return True

    for start in starts:
        better(start)
    for factor in STEPS:
        for _ in range(ROUNDS):
            before = best
            for band, step in itertools.product(order, (factor, 1.0 / factor)):
                while better(_moved(best, band, step)):
                    pass
            if best is before:
                break
    return best


def _moved(weights: FloatArray, band: int, step: float) -> FloatArray:
    moved = weights.copy()
    moved[band] = np.clip(moved[band] * step, 1.0 / BOUND, BOUND)
    return moved
