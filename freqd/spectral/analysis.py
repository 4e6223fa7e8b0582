"""The spectral stage: energy, density and importance of each band, and the filters that follow from them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from freqd.config import SpectralConfig
from freqd.data.interactions import IdArray
from freqd.embeddings import Embeddings, FloatMatrix, TrainedModel
from freqd.evaluate.validation import Validation
from freqd.graph import Graphs
from freqd.progress import Progress, silent
from freqd.spectral.band_weights import (
    ListedBands,
    ListedRest,
    best_lists,
    fit_weights,
    hat_coefficients,
    weighted_filter,
)
from freqd.spectral.bands import band_edges, resolve_bands
from freqd.spectral.filters import Filter, SideFilters, apply_filters, scattered
from freqd.spectral.selection import (
    SIDE_WORD,
    Fit,
    Measured,
    Scan,
    Side,
    choose_ranking_filters,
    feature_candidates,
    fixed_filters,
)
from freqd.spectral.spectrum import SideSpectrum, Spectrum

VALIDATION_USERS = 4000
"""The analysis asks for dozens of rankings: no more users than this are ranked for each, always the same ones."""

FloatArray = npt.NDArray[np.float64]
SIDES: tuple[Side, ...] = ("user", "item")


@dataclass(frozen=True, eq=False)
class FeatureEvaluator:
    """How the analysis measures a table of features.

    Attributes:
        measure: (n,) NDCG@10 of each validation user, train items masked, always the same users in the same order; a
            single number counts as certain.
        validation: of the users that are measured, and whose interactions per-band weights are fitted to; None leaves that out, as
            ``config.band_weights`` does.
        rest: of a teacher that is more than its features what it adds to them; with it filters are judged.
    """

    measure: Callable[[Embeddings], float | npt.NDArray[np.floating[Any]]]
    validation: Validation | None = None
    rest: ListedRest | None = None

    @classmethod
    def of(cls, validation: Validation, teacher: TrainedModel) -> FeatureEvaluator:
        """By all that a validation offers."""
        rest = None if teacher.full is None else ListedRest.of(teacher.full, teacher.features, validation)
        return cls(validation.per_user, validation, rest)


def analyse(
    graphs: Graphs,
    teacher: Embeddings,
    judge: FeatureEvaluator,
    config: SpectralConfig,
    *,
    rng: np.random.Generator,
    progress: Progress = silent,
) -> Spectrum:
    """See the teacher by graph frequency, on validation only, and choose the filters of the distillation.

    Importance of a band of one side: NDCG@10 of the teacher with only that band kept, and with only that band
    removed, the other side raw. ``filter = auto``: see ``choose_ranking_filters`` and ``feature_candidates``; a
    fixed filter is taken for both losses, measured once and reported, never overruled.

    Filters act on features. Of a teacher that is more than its features (``judge.rest``) the spectrum is that of the features,
    and a filter changes its scores by as much as it changes those of the features (``filtered_scorer``); so it is judged, on each
    user's ``band_weights.DEPTH`` best items.

    Cost: 1 + 4·bands validations for the importance, and for ``auto`` at most 6·len(alphas) + 2 for the choice (half as
    many more if the users take a filter), so that ``judge`` may well use a sample of the users; the spectral work is
    O(degree · (nnz + bands · n) · D) a side, or O(n³) where exact. Memory: 512 MiB of bands at a time, or one band
    where that is more.

    Args:
        graphs: user and item graph; a bipartite one is not looked at.
        teacher: features with as many rows as the graphs have nodes.
        judge: how a table is measured, and what per-band weights are fitted to.
        rng: for the density of states and the folds of the users.

    Raises:
        ValueError: features and graphs do not fit.
    """
    for side in SIDES:
        if len(_features(teacher, side)) != getattr(graphs, side).n:
            raise ValueError(
                f"{len(_features(teacher, side))} rows of {side} features do not fit a graph of "
                f"{getattr(graphs, side).n} nodes"
            )
    n_trials = 2 * (3 * len(config.alphas) + 1) if config.filter == "auto" else 1
    steps = _Steps(1 + len(SIDES) * (1 + config.bands) + n_trials, progress)
    return _Analysis(graphs, teacher, judge, config, rng, steps).run()


@dataclass(eq=False)
class _Analysis:
    """One analysis under way; see ``analyse``."""

    graphs: Graphs
    teacher: Embeddings
    judge: FeatureEvaluator
    config: SpectralConfig
    rng: np.random.Generator
    steps: _Steps

    def __post_init__(self) -> None:
        self.edges = band_edges(self.config.bands)
        self.base = np.atleast_1d(np.asarray(self.judge.measure(self.teacher), np.float64))
        self.base_ndcg = float(self.base.mean())
        rest = self.judge.rest
        self.unfiltered = self.base if rest is None else rest.ndcg(self.teacher)
        self.steps.done("teacher validated")

    def run(self) -> Spectrum:
        """Measure both sides, then choose."""
        config, base_ndcg, raw_ndcg = self.config, self.base_ndcg, float(self.unfiltered.mean())
        found = {side: self.side_spectrum(side) for side in SIDES}
        measured = Measured(self.filtered)
        measured.know(SideFilters(), self.unfiltered)
        if config.filter == "auto":
            ranking, reason = choose_ranking_filters(measured, config, raw_ndcg, self.band_fit(found))
        else:
            ranking = fixed_filters(config)
            value = measured.ndcg("item", ranking)
            reason = (
                f"The filter was set by hand: {ranking.item.label()} on both sides. "
                f"NDCG@10 on validation: raw teacher {raw_ndcg:.4f}, filtered {value:.4f}."
            )
        if self.judge.rest is not None:
            reason = (
                f"The teacher is no pair of tables (NDCG@10 on validation {raw_ndcg:.4f}): its frequencies are those of a table of "
                f"{self.teacher.dim} numbers that comes near it ({base_ndcg:.4f}), and a filter changes its scores by as much as that "
                f"table's. {reason}"
            )
        self.steps.progress(1.0, "filters chosen")
        return Spectrum(
            edges=self.edges,
            user=found["user"],
            item=found["item"],
            base_ndcg=base_ndcg,
            trials=measured.trials,
            feature_candidates=feature_candidates(found, self.edges, config, base_ndcg),
            ranking_filters=ranking,
            reason=reason,
            whole_ndcg=None if self.judge.rest is None else raw_ndcg,
        )

    def filtered(self, filters: SideFilters) -> float | npt.NDArray[np.floating[Any]]:
        """The filtered teacher, measured."""
        validation, rest = self.judge.validation, self.judge.rest
        table = apply_filters(self.teacher, self.graphs, filters, None if validation is None else validation.users)
        values = self.judge.measure(table) if rest is None else rest.ndcg(table)
        self.steps.done(f"filter {filters.user.label()} / {filters.item.label()}: NDCG@10 {np.mean(values):.4f}")
        return values

    def band_fit(self, found: Mapping[Side, SideSpectrum]) -> Fit | None:
        """Filters with per-band weights, where their gain on users they were not fitted to is beyond its standard error."""
        validation, edges, rest = self.judge.validation, self.edges, self.judge.rest
        if validation is None or not self.config.band_weights:
            return None
        coefficients = hat_coefficients(edges, self.config.weights_degree)
        known: dict[SideFilters, IdArray] = {}

        def fit(side: Side, current: SideFilters) -> Scan:
            others = current.model_copy(update={side: Filter()})
            table = apply_filters(self.teacher, self.graphs, others)
            if others not in known:  # both sides start from the raw teacher
                known[others] = best_lists(table, validation) if rest is None else rest.lists
            listed_of = ListedBands.of_users if side == "user" else ListedBands.of_items
            listed = listed_of(table, getattr(self.graphs, side), validation, coefficients, known[others])
            listed = listed if rest is None else rest.beside(listed)
            fitted = fit_weights(listed, found[side], self.base_ndcg, self.rng)
            if fitted.gain <= fitted.error:
                return []
            return [weighted_filter(fitted.weights, edges, self.config.weights_degree)]

        return fit

    def side_spectrum(self, side: Side) -> SideSpectrum:
        """Energy, density and importance of the bands of one side."""
        bands = resolve_bands(getattr(self.graphs, side), self.edges, self.config)
        validation = self.judge.validation
        rows = validation.users if side == "user" and validation is not None else None  # no other user is looked at
        energies, part_energies, parts = bands.split(_features(self.teacher, side), rows)
        density = bands.density(self.config.probes, self.rng)
        self.steps.done(f"{SIDE_WORD[side]}: band energies")
        only, without = self.importance(side, parts, rows)
        total = energies.sum()
        return SideSpectrum(
            method=bands.method,
            energies=energies / total if total > 0 else np.zeros_like(energies),
            density=density,
            importance_only=only,
            importance_without=without,
            part_energies=part_energies,
        )

    def importance(
        self, side: Side, parts: Iterator[FloatMatrix], rows: IdArray | None
    ) -> tuple[FloatArray, FloatArray]:
        """Validation NDCG@10 with only each band kept, and with only each band removed."""
        signal = _features(self.teacher, side)
        shown = signal if rows is None else signal[rows]
        only: list[float] = []
        without: list[float] = []
        for band, part in enumerate(parts):
            for found, features in ((only, part), (without, shown - part)):
                whole = features if rows is None else scattered(features, rows, signal)
                found.append(float(np.mean(self.judge.measure(_with_side(self.teacher, side, whole)))))
            self.steps.done(
                f"{SIDE_WORD[side]}, λ {self.edges[band]:.2f} to {self.edges[band + 1]:.2f}: "
                f"NDCG@10 {only[-1]:.4f} alone, {without[-1]:.4f} without"
            )
        return np.array(only), np.array(without)


def _features(table: Embeddings, side: Side) -> FloatMatrix:
    return table.users if side == "user" else table.items


def _with_side(table: Embeddings, side: Side, features: FloatMatrix) -> Embeddings:
    return replace(table, users=features) if side == "user" else replace(table, items=features)


@dataclass
class _Steps:
    """Counts finished steps for the progress display; steps beyond the plan leave it just short of full."""

    planned: int
    progress: Progress
    finished: int = 0

    def done(self, text: str) -> None:
        self.finished += 1
        self.progress(min(self.finished / self.planned, 0.99), text)
