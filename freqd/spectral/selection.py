"""Which filter: the ranking's is measured here, for the feature loss candidates are named that trials are made with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from freqd.config import SpectralConfig
from freqd.spectral.band_weights import importance_weights, weighted_filter
from freqd.spectral.filters import Filter, SideFilters
from freqd.spectral.spectrum import SideSpectrum

FloatArray = npt.NDArray[np.float64]
Side = Literal["user", "item"]
SIDE_WORD: dict[Side, str] = {"user": "Users", "item": "Items"}
OTHER: dict[Side, Side] = {"user": "item", "item": "user"}

MAX_MONOTONE = 0.5
"""Above this α the weight h² rises again towards λ = 2: such a filter is no low-pass."""

PATIENCE = 2
"""A scan over growing α ends after so many values in a row that are each below the one before."""

FEATURE_DEGREE = 4
"""Degree of the polynomial that follows the feature loss's weights of the bands."""

Scan = Sequence[Filter]
"""Filters of one kind in the order of their strength."""

Fit = Callable[[Side, SideFilters], Scan]
"""Fits a filter of one side to the ranking under the present filters (that side's own is replaced); empty if none holds."""


def low_passes(config: SpectralConfig) -> list[Scan]:
    """The low-pass filters that are tried, the mildest form first."""
    alphas = sorted(config.alphas)
    return [
        [Filter(form="linear", alpha=alpha) for alpha in alphas],
        [Filter(form="quadratic", alpha=alpha) for alpha in alphas],
    ]


def high_pass(config: SpectralConfig) -> Scan:
    """The high-pass filters that are tried."""
    return [Filter(form="linear", alpha=-alpha) for alpha in sorted(config.alphas)]


def fixed_filters(config: SpectralConfig) -> SideFilters:
    """The filter that the user set, on both sides; α = 0 is the identity."""
    if config.filter in ("linear", "quadratic") and config.alpha != 0.0:
        chosen = Filter(form=config.filter, alpha=config.alpha)
        return SideFilters(user=chosen, item=chosen)
    return SideFilters()


@dataclass
class Measured:
    """Validation NDCG@10 of filtered teachers, each pair of filters measured once.

    Attributes:
        measure: (n,) NDCG@10 of each validation user with the teacher behind these filters, always in the same order;
            a single number counts as certain.
        trials: what was measured, in order, as ``Spectrum.trials``.
    """

    measure: Callable[[SideFilters], npt.ArrayLike]
    trials: list[dict[str, Any]] = field(default_factory=list)
    _known: dict[SideFilters, FloatArray] = field(default_factory=dict)

    def know(self, filters: SideFilters, values: npt.ArrayLike) -> None:
        """Take values that were measured before."""
        self._known[filters] = np.atleast_1d(np.asarray(values, np.float64))

    def ndcg(self, side: Side, filters: SideFilters) -> float:
        """Measure, as a trial of ``side``; a pair that is known is not measured again."""
        if filters not in self._known:
            self.know(filters, self.measure(filters))
            varied: Filter = getattr(filters, side)
            self.trials.append(
                {
                    "side": side,
                    "form": varied.form,
                    "alpha": varied.alpha,
                    "weights": list(varied.weights),
                    "other": getattr(filters, OTHER[side]).label(),
                    "ndcg": self._mean(filters),
                }
            )
        return self._mean(filters)

    def gain(self, filters: SideFilters, over: SideFilters) -> tuple[float, float]:
        """Mean gain of known filters over others, and its standard error over the users, who are the same for both."""
        difference = self._known[filters] - self._known[over]
        error = difference.std(ddof=1) / len(difference) ** 0.5 if len(difference) > 1 else 0.0
        return float(difference.mean()), float(error)

    def _mean(self, filters: SideFilters) -> float:
        return float(self._known[filters].mean())


def choose_ranking_filters(
    measured: Measured, config: SpectralConfig, base_ndcg: float, fit: Fit | None = None
) -> tuple[SideFilters, str]:
    """Filters that make the teacher rank best on validation, and why.

    Coordinate search: the items' filter first (they gain most often), then the users' given it; if the users took
    one, the items' once more. A side's filter is replaced only by one that gains at least ``config.min_gain``, relative
    to what is there, and ``config.min_errors`` standard errors over the users, since the best of many trials looks
    better than it is, and with few users much better; among equals the mildest is kept. A scan over growing strength
    ends after two falls in a row, since a validation is what costs time here.
    Nothing is assumed about the sign: a low-pass that lifts one teacher hurts another on the same data.

    Args:
        measured: knows the value of the raw teacher, ``base_ndcg``.
        fit: gives filters with per-band weights, which are tried after the others.
    """
    current, value = SideFilters(), base_ndcg
    notes: dict[Side, str] = {}
    order: list[Side] = ["item", "user"]
    while order:
        side = order.pop(0)
        tried = [*low_passes(config), high_pass(config), fit(side, current) if fit else []]
        best, best_value = _best_of_side(measured, tried, side, current, value)
        gain = _relative_gain(best_value, value)
        difference, error = measured.gain(best, current)
        label = getattr(best, side).label()
        enough = gain >= config.min_gain and best_value > value
        if enough and difference >= config.min_errors * error:
            notes[side] = f"{label} lifts NDCG@10 on validation from {value:.4f} to {best_value:.4f} ({gain:+.1%})"
            current, value = best, best_value
            if side == "user":
                order.append("item")
        elif side not in notes:
            kept = getattr(current, side).label()
            verb = "hurts" if gain < 0 else "may gain by chance alone" if enough else "gains too little"
            notes[side] = f"{kept} is kept: the best filter, {label}, {verb} ({best_value:.4f}, {gain:+.1%})"
    sides: list[Side] = ["user", "item"]
    text = " ".join(f"{SIDE_WORD[side]}: {notes[side]}." for side in sides)
    return current, f"Ranking teacher, raw {base_ndcg:.4f}, with the chosen filters {value:.4f}. {text}"


def _best_of_side(
    measured: Measured, tried: Sequence[Scan], side: Side, current: SideFilters, value: float
) -> tuple[SideFilters, float]:
    """The best filter for one side, the other kept; a scan ends after ``PATIENCE`` values that fell."""
    best, best_value = current, -np.inf
    for scan in tried:
        falls, last = 0, value
        for each in scan:
            filters = current.model_copy(update={side: each})
            ndcg = measured.ndcg(side, filters)
            if ndcg > best_value:
                best, best_value = filters, ndcg
            falls = falls + 1 if ndcg < last else 0
            last = ndcg
            if falls == PATIENCE:
                break
    return best, best_value


def _relative_gain(value: float, base: float) -> float:
    if base > 0:
        return value / base - 1.0
    return 1.0 if value > 0 else 0.0


def feature_candidates(
    spectra: Mapping[Side, SideSpectrum], edges: FloatArray, config: SpectralConfig, base_ndcg: float
) -> tuple[SideFilters, ...]:
    """Filters of the feature loss to choose from by trials, none first; a filter that the user set is the only one.

    The loss weighs an error in band b by h(λ_b)². Candidates are the low-pass of the paper, α = 1/2, the high-pass of the same
    strength, and weights that bring the errors' weight from where the teacher's energy is to where the ranking is made
    (``importance_weights``), followed by a polynomial of low degree: a step filters the whole student with it.
    """
    if config.filter != "auto":
        return (fixed_filters(config),)
    weighed = {
        side: weighted_filter(importance_weights(found, base_ndcg, 1.0), edges, FEATURE_DEGREE)
        for side, found in spectra.items()
    }
    passes = [Filter(form="linear", alpha=alpha) for alpha in (MAX_MONOTONE, -MAX_MONOTONE)]
    return (
        SideFilters(),
        *(SideFilters(user=each, item=each) for each in passes),
        SideFilters(user=weighed["user"], item=weighed["item"]),
    )
