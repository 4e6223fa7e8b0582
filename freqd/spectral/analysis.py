"""The spectral stage: energy, density and importance of each band, and the filters that follow from them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from freqd.config import SpectralConfig
from freqd.data.interactions import IdArray
from freqd.embeddings import Embeddings, FloatMatrix
from freqd.evaluate.validation import Validation
from freqd.graph import Graphs
from freqd.progress import Progress, silent
from freqd.spectral.band_weights import ListedBands, best_lists, fit_weights, hat_coefficients, weighted_filter
from freqd.spectral.bands import band_edges, resolve_bands
from freqd.spectral.filters import Filter, SideFilters, apply_filters
from freqd.spectral.selection import (
    SIDE_WORD,
    Fit,
    Measured,
    Scan,
    Side,
    choose_feature_filter,
    choose_ranking_filters,
    fixed_filters,
)
from freqd.spectral.spectrum import SideSpectrum, Spectrum

FloatArray = npt.NDArray[np.float64]
Validate = Callable[[Embeddings], float | npt.NDArray[np.floating[Any]]]
SIDES: tuple[Side, ...] = ("user", "item")


def analyse(
    graphs: Graphs,
    teacher: Embeddings,
    validate: Validate,
    config: SpectralConfig,
    *,
    rng: np.random.Generator,
    validation: Validation | None = None,
    progress: Progress = silent,
) -> Spectrum:
    """See the teacher by graph frequency, on validation only, and choose the filters of the distillation.

    Importance of a band of one side: NDCG@10 of the teacher with only that band kept, and with only that band
    removed, the other side raw. ``filter = auto``: see ``choose_ranking_filters`` and ``choose_feature_filter``; a
    fixed filter is taken for both, measured once and reported, never overruled.

    Cost: 1 + 4·bands validations for the importance, and for ``auto`` at most 6·len(alphas) + 2 for the choice (half as
    many more if the users take a filter), so that ``validate`` may well use a sample of the users; the spectral work is
    O(degree · (nnz + bands · n) · D) a side, or O(n³) where exact. Memory: 512 MiB of bands at a time, or one band
    where that is more.

    Args:
        graphs: user and item graph; a bipartite one is not looked at.
        teacher: features with as many rows as the graphs have nodes.
        validate: (n,) NDCG@10 of each validation user, train items masked, always the same users in the same order; a
            single number counts as certain.
        rng: for the density of states and the folds of the users.
        validation: whose interactions per-band weights are fitted to; None leaves that out, as ``config.band_weights`` does.

    Raises:
        ValueError: features and graphs do not fit.
    """
    for side in SIDES:
        if len(_features(teacher, side)) != getattr(graphs, side).n:
            raise ValueError(
                f"{len(_features(teacher, side))} rows of {side} features do not fit a graph of "
                f"{getattr(graphs, side).n} nodes"
            )
    edges = band_edges(config.bands)
    n_trials = 2 * (3 * len(config.alphas) + 1) if config.filter == "auto" else 1
    steps = _Steps(1 + len(SIDES) * (1 + config.bands) + n_trials, progress)
    base = np.atleast_1d(np.asarray(validate(teacher), np.float64))
    base_ndcg = float(base.mean())
    steps.done("teacher validated")
    found = {side: _side_spectrum(side, graphs, teacher, validate, edges, config, rng, steps) for side in SIDES}

    def measure(filters: SideFilters) -> float | npt.NDArray[np.floating[Any]]:
        values = validate(apply_filters(teacher, graphs, filters))
        steps.done(f"filter {filters.user.label()} / {filters.item.label()}: NDCG@10 {np.mean(values):.4f}")
        return values

    measured = Measured(measure)
    measured.know(SideFilters(), base)
    if config.filter == "auto":
        fit = (
            _band_fit(graphs, teacher, validation, found, edges, base_ndcg, config, rng)
            if validation and config.band_weights
            else None
        )
        ranking, ranking_reason = choose_ranking_filters(measured, config, base_ndcg, fit)
        chosen = {side: choose_feature_filter(side, found[side], edges, config, base_ndcg) for side in SIDES}
        feature = SideFilters(user=chosen["user"][0], item=chosen["item"][0])
        reason = f"{ranking_reason} Feature loss. {chosen['user'][1]} {chosen['item'][1]}"
    else:
        ranking = feature = fixed_filters(config)
        value = measured.ndcg("item", ranking)
        reason = (
            f"The filter was set by hand: {ranking.item.label()} on both sides. "
            f"NDCG@10 on validation: raw teacher {base_ndcg:.4f}, filtered {value:.4f}."
        )
    progress(1.0, "filters chosen")
    return Spectrum(
        edges=edges,
        user=found["user"],
        item=found["item"],
        base_ndcg=base_ndcg,
        trials=measured.trials,
        feature_filters=feature,
        ranking_filters=ranking,
        reason=reason,
    )


def _band_fit(
    graphs: Graphs,
    teacher: Embeddings,
    validation: Validation,
    found: Mapping[Side, SideSpectrum],
    edges: FloatArray,
    base_ndcg: float,
    config: SpectralConfig,
    rng: np.random.Generator,
) -> Fit:
    """Filters with per-band weights, where their gain on users they were not fitted to is beyond its standard error."""
    coefficients = hat_coefficients(edges, config.weights_degree)
    known: dict[SideFilters, IdArray] = {}

    def fit(side: Side, current: SideFilters) -> Scan:
        others = current.model_copy(update={side: Filter()})
        table = apply_filters(teacher, graphs, others)
        if others not in known:  # both sides start from the raw teacher
            known[others] = best_lists(table, validation)
        listed_of = ListedBands.of_users if side == "user" else ListedBands.of_items
        listed = listed_of(table, getattr(graphs, side), validation, coefficients, known[others])
        fitted = fit_weights(listed, found[side], base_ndcg, rng)
        return [weighted_filter(fitted.weights, edges, config.weights_degree)] if fitted.gain > fitted.error else []

    return fit


def _side_spectrum(
    side: Side,
    graphs: Graphs,
    teacher: Embeddings,
    validate: Validate,
    edges: FloatArray,
    config: SpectralConfig,
    rng: np.random.Generator,
    steps: _Steps,
) -> SideSpectrum:
    bands = resolve_bands(getattr(graphs, side), edges, config)
    signal = _features(teacher, side)
    energies, parts = bands.split(signal)
    density = bands.density(config.probes, rng)
    steps.done(f"{SIDE_WORD[side]}: band energies")
    only, without, part_energies = _importance(side, edges, parts, teacher, validate, steps)
    total = energies.sum()
    return SideSpectrum(
        method=bands.method,
        energies=energies / total if total > 0 else np.zeros_like(energies),
        density=density,
        importance_only=only,
        importance_without=without,
        part_energies=part_energies,
    )


def _importance(
    side: Side,
    edges: FloatArray,
    parts: Iterator[FloatMatrix],
    teacher: Embeddings,
    validate: Validate,
    steps: _Steps,
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Validation NDCG@10 with only each band kept, and with only each band removed; the energy of each part."""
    signal = _features(teacher, side)
    only, without, energies = [], [], []
    for band, part in enumerate(parts):
        only.append(float(np.mean(validate(_with_side(teacher, side, part)))))
        without.append(float(np.mean(validate(_with_side(teacher, side, signal - part)))))
        energies.append(float(np.einsum("nd,nd->", signal, part, dtype=np.float64)))
        steps.done(
            f"{SIDE_WORD[side]}, λ {edges[band]:.2f} to {edges[band + 1]:.2f}: "
            f"NDCG@10 {only[-1]:.4f} alone, {without[-1]:.4f} without"
        )
    return np.array(only), np.array(without), np.array(energies)


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
