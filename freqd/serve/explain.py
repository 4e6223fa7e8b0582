"""Why an item is recommended to a user: the score by graph frequency, and the neighbours that carried it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import sparse

from freqd.config import SpectralConfig
from freqd.embeddings import Embeddings
from freqd.graph import Graph, Graphs
from freqd.spectral.bands import resolve_bands

FloatArray = npt.NDArray[np.float64]
Taste = Literal["shared", "middle", "niche"]


class Neighbour(NamedTuple):
    """A node whose features carried a part of the score.

    Attributes:
        row: of the node, an item on the item side and a user on the user side.
        share: its part of the shared score, signed; over all nodes they sum to the side's shared score.
        score: of the node itself in the place of the item (or user) that is asked about.
        met: whether the user has met that item, or that user has met the item.
    """

    row: int
    share: float
    score: float
    met: bool


@dataclass(frozen=True, eq=False)
class Side:
    """One side's view of the score; the bands sum to it.

    Attributes:
        bands: (bands,) part of the score in each frequency band, low to high.
        neighbours: those with the greatest part in the low bands, greatest first; the asked node itself is left out.
    """

    bands: FloatArray
    neighbours: list[Neighbour]


@dataclass(frozen=True, eq=False)
class Explanation:
    """One score, taken apart.

    Attributes:
        score: x_u · y_i.
        edges: (bands + 1,) of the bands on [0, 2].
        taste: for each band: below frequency 1 neighbours agree (shared), above it they differ (niche).
        user: the score split by frequencies of the user's features on the user graph.
        item: split by frequencies of the item's features on the item graph.
        both: (bands, bands) split by both, user bands down; its sums are the two splits.
        seen: whether the user has met the item already.
    """

    score: float
    edges: FloatArray
    taste: list[Taste]
    user: Side
    item: Side
    both: FloatArray
    seen: bool


@dataclass(frozen=True, eq=False)
class Explained:
    """A recommender, with what it takes to explain it.

    Attributes:
        features: of the recommender.
        graphs: of the data that it was trained on.
        edges: as ``Spectrum.edges``.
        config: how the bands are resolved.
        seen: (n_users, n_items) CSR of the interactions.
    """

    features: Embeddings
    graphs: Graphs
    edges: FloatArray
    config: SpectralConfig
    seen: sparse.csr_array


def explain(model: Explained, user: int, item: int, *, top: int = 5) -> Explanation:
    """Split the score of ``item`` for ``user`` by frequency.

    The bands' filters sum to the identity, so that with w_b = h_b(L) e_i (the filter's row of the item):

        x_u · y_i = Σ_b x_u · (h_b(L) Y)_i = Σ_b Σ_j w_b[j] (x_u · y_j)

    and the node j carried w_b[j] (x_u · y_j) of band b. The same holds for the user side. Only the rows of one user
    and one item are filtered: O(degree · nnz) for Chebyshev bands, O(n³) once for exact ones.

    Args:
        model: the recommender.
        user, item: rows.
        top: neighbours to list a side.

    Raises:
        ValueError: a row out of range, or graphs of another size than the features.
    """
    features, graphs, edges, seen = model.features, model.graphs, model.edges, model.seen
    for name, row, table, graph in (
        ("user", user, features.users, graphs.user),
        ("item", item, features.items, graphs.item),
    ):
        if not 0 <= row < len(table):
            raise ValueError(f"{name} {row} is out of range: there are {len(table)} {name}s")
        if graph.n != len(table):
            raise ValueError(f"a {name} graph of {graph.n} nodes does not fit features of {len(table)} rows")
    user_weights = _filter_rows(graphs.user, edges, model.config, user)
    item_weights = _filter_rows(graphs.item, edges, model.config, item)
    users, items = features.users.astype(np.float64), features.items.astype(np.float64)
    user_scores, item_scores = users @ items[item], items @ users[user]
    met_items = seen[[user], :].toarray()[0] > 0
    met_by = seen[:, [item]].toarray()[:, 0] > 0
    taste = [_taste(low, high) for low, high in pairwise(edges)]
    shared = np.array([kind == "shared" for kind in taste])
    return Explanation(
        score=float(item_scores[item]),
        edges=edges,
        taste=taste,
        user=_side(_View(user, user_weights, user_scores, met_by), shared, top),
        item=_side(_View(item, item_weights, item_scores, met_items), shared, top),
        both=(user_weights @ users) @ (item_weights @ items).T,
        seen=bool(met_items[item]),
    )


def _filter_rows(graph: Graph, edges: FloatArray, config: SpectralConfig, row: int) -> FloatArray:
    """Row ``row`` of each band's filter, (bands, n): a column by symmetry, the filter applied to a unit vector."""
    unit = np.zeros((graph.n, 1), np.float32)
    unit[row] = 1.0
    return np.stack([part[:, 0] for part in resolve_bands(graph, edges, config).parts(unit)]).astype(np.float64)


class _View(NamedTuple):
    """One side: the row that is asked about, its weights (bands, n), all nodes' scores (n,), and which were met (n,)."""

    own: int
    weights: FloatArray
    scores: FloatArray
    met: npt.NDArray[np.bool_]


def _side(view: _View, shared: npt.NDArray[np.bool_], top: int) -> Side:
    own, weights, scores, met = view
    warm_start_info = weights[shared].sum(axis=0) * scores
    order = [int(row) for row in np.argsort(-warm_start_info, kind="stable")[: top + 1] if row != own][:top]
    neighbours = [Neighbour(row, float(warm_start_info[row]), float(scores[row]), bool(met[row])) for row in order]
    return Side(weights @ scores, [entry for entry in neighbours if entry.share > 0])


def _taste(low: float, high: float) -> Taste:
    return "shared" if high <= 1.0 else "niche" if low >= 1.0 else "middle"


def total(side: Side, taste: Sequence[Taste], kind: Taste) -> float:
    """The part of the score in the bands of one kind."""
    return float(sum(part for part, found in zip(side.bands, taste, strict=True) if found == kind))
