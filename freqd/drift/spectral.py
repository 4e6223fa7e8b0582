"""Spectral drift: does the graph of new interactions still join those whom the model's features hold to be alike?

On a graph that fits the features, neighbours are alike: their energy lies at low frequencies. The mean frequency
⟨X, L X⟩ / ‖X‖² is 1 minus the likeness of neighbours, and where it stands between that of the model's own graph and
that of a graph of the same pairs drawn at random says how much of the structure is lost.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from freqd.config import GraphConfig, SpectralConfig
from freqd.data.interactions import Interactions
from freqd.embeddings import Embeddings, FloatMatrix
from freqd.graph import Graph, build_graphs
from freqd.spectral import band_edges
from freqd.spectral.bands import resolve_bands

FloatArray = npt.NDArray[np.float64]
Side = Literal["user", "item"]
SIDES: tuple[Side, ...] = ("user", "item")

LOTS = 8
"""Graphs drawn at random: their mean is what structure is measured from, their spread what chance alone does."""
CLEAR = 4.0
"""A difference of this many standard deviations between graphs drawn at random is beyond chance."""


@dataclass(frozen=True, eq=False)
class SpectralShift:
    """One side's features X on the model's own graph and on that of the new interactions.

    Attributes:
        nodes: users or items in each of the two graphs.
        before, after: (bands,) ⟨X, h_b(L) X⟩ / ‖X‖² on each; sums to 1, all 0 if the features are 0.
        frequency_before, frequency_after: ⟨X, L X⟩ / ‖X‖², in [0, 2].
        frequency_lot: mean of the same over graphs of the model's own pairs with their items drawn at random.
        spread: standard deviation over those graphs.
    """

    nodes: tuple[int, int]
    before: FloatArray
    after: FloatArray
    frequency_before: float
    frequency_after: float
    frequency_lot: float
    spread: float

    @property
    def moved(self) -> float:
        """Half of Σ_b |p_b − q_b|: the share of the energy that is in another band, in [0, 1]."""
        return float(0.5 * np.abs(self.before - self.after).sum())

    @property
    def telling(self) -> bool:
        """Whether the model's own graph differs from one drawn at random beyond chance; else nothing can be lost."""
        return self.frequency_lot - self.frequency_before > CLEAR * self.spread

    @property
    def lost(self) -> float:
        """Share of the structure that is lost: 0 as before, 1 as at random; below 0 where there is more than before."""
        return (self.frequency_after - self.frequency_before) / (self.frequency_lot - self.frequency_before)

    @property
    def beyond_chance(self) -> bool:
        """Whether the mean frequency rose by more than graphs drawn at random differ among themselves."""
        return self.frequency_after - self.frequency_before > CLEAR * self.spread


@dataclass(frozen=True, eq=False)
class SpectralModel:
    """A model, and how it is looked at by graph frequency.

    Attributes:
        features: the model's.
        graph: K of the graphs; its kind is not asked, for a graph of the features would not see the interactions.
        spectral: bands, method and degree.
    """

    features: Embeddings
    graph: GraphConfig
    spectral: SpectralConfig


def spectral_shift(
    before: Interactions, after: Interactions, model: SpectralModel, rng: np.random.Generator
) -> dict[Side, SpectralShift]:
    """Compare the features' energies on the co-occurrence graphs of two windows of interactions.

    Only users and items that occur in a window are nodes of its graph: one that is absent would be isolated, L_ii = 1,
    and a quiet week would look like a change of taste. The windows should be of the same size, and neither of them
    one that the features were trained on, which they fit too well. Before anything else the features are centred and
    scaled row by row to length 1: their common part is popularity, their length activity, and neither is taste.
    Both windows are resolved by the same method, exact or Chebyshev.

    Cost: that of 2 + ``LOTS`` graphs and of ``Bands.energies`` on two.

    Args:
        before: interactions of the model, over the rows of its features; not empty.
        after: new ones, over the same rows; not empty.
        model: its features, with the graphs and bands of its run.
        rng: source of the random graphs.
    """
    features, spectral = model.features, model.spectral
    signals = {"user": centred_unit_rows(features.users), "item": centred_unit_rows(features.items)}
    neighbours = model.graph.model_copy(update={"kind": "cooccurrence"})
    old, new = (_on_graphs(window, signals, neighbours) for window in (before, after))
    lots = []
    for _ in range(LOTS):
        drawn = _on_graphs(replace(before, item=rng.permutation(before.item), time=None), signals, neighbours)
        lots.append({side: _frequency(*drawn[side]) for side in SIDES})
    edges = band_edges(spectral.bands)
    result: dict[Side, SpectralShift] = {}
    for side in SIDES:
        pair = (old[side], new[side])
        small = all(each.n <= spectral.exact_below for each, _ in pair)
        method = spectral.method if spectral.method != "auto" else "exact" if small else "chebyshev"
        settings = spectral.model_copy(update={"method": method})
        by_lot = np.array([lot[side] for lot in lots])
        result[side] = SpectralShift(
            nodes=(pair[0][0].n, pair[1][0].n),
            before=_shares(*pair[0], edges, settings),
            after=_shares(*pair[1], edges, settings),
            frequency_before=_frequency(*pair[0]),
            frequency_after=_frequency(*pair[1]),
            frequency_lot=float(by_lot.mean()),
            spread=float(by_lot.std(ddof=1)),
        )
    return result


def centred_unit_rows(table: FloatMatrix) -> FloatMatrix:
    """(n, d) the rows minus their mean, scaled to length 1; rows that have no length stay 0."""
    centred = table.astype(np.float64) - table.mean(axis=0, dtype=np.float64)
    length = np.linalg.norm(centred, axis=1, keepdims=True)
    nothing = length <= 1e-6 * max(float(length.max(initial=0.0)), 1e-30)
    unit: FloatMatrix = np.where(nothing, 0.0, centred / np.where(nothing, 1.0, length)).astype(np.float32)
    return unit


def _on_graphs(
    window: Interactions, signals: dict[str, FloatMatrix], config: GraphConfig
) -> dict[Side, tuple[Graph, FloatMatrix]]:
    """The graphs of those that occur in the window, each with the signal of its nodes."""
    users, user = np.unique(window.user, return_inverse=True)
    items, item = np.unique(window.item, return_inverse=True)
    compact = Interactions(user.astype(np.int32), item.astype(np.int32), len(users), len(items))
    graphs = build_graphs(compact, config)
    return {"user": (graphs.user, signals["user"][users]), "item": (graphs.item, signals["item"][items])}


def _shares(graph: Graph, signal: FloatMatrix, edges: FloatArray, config: SpectralConfig) -> FloatArray:
    if not signal.any():
        return np.zeros(len(edges) - 1)
    energies = resolve_bands(graph, edges, config).energies(signal)
    shares: FloatArray = energies / energies.sum()
    return shares


def _frequency(graph: Graph, signal: FloatMatrix) -> float:
    total = float(np.vdot(signal.astype(np.float64), signal))
    return 1.0 - float(np.vdot(signal.astype(np.float64), graph.norm_adj @ signal)) / total if total else 0.0
