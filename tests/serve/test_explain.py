"""A score taken apart: the parts sum to it, and they are those of the dense definition."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from freqd.config import SpectralConfig
from freqd.embeddings import Embeddings
from freqd.graph import Graph, Graphs
from freqd.serve.explain import Explained, explain, total
from freqd.spectral import band_edges


def graph(kind: str, n: int, rng: np.random.Generator) -> Graph:
    upper = np.triu(rng.random((n, n)) < 0.15, 1) * rng.random((n, n))
    return Graph(kind, sparse.csr_array((upper + upper.T).astype(np.float32)))  # type: ignore[arg-type]


RNG = np.random.default_rng(0)
GRAPHS = Graphs(graph("user", 40, RNG), graph("item", 60, RNG))
FEATURES = Embeddings(RNG.standard_normal((40, 6)).astype(np.float32), RNG.standard_normal((60, 6)).astype(np.float32))
SEEN = sparse.csr_array((RNG.random((40, 60)) < 0.2).astype(np.float32))
EDGES = band_edges(8)
EXACT = SpectralConfig(method="exact")


def dense_bands(found: Graph) -> list[np.ndarray]:
    values, vectors = np.linalg.eigh(np.eye(found.n) - found.norm_adj.toarray().astype(np.float64))
    band = np.searchsorted(EDGES[1:-1], values)
    return [vectors[:, band == b] @ vectors[:, band == b].T for b in range(8)]


@pytest.mark.parametrize("method", ["exact", "chebyshev"])
@pytest.mark.parametrize(("user", "item"), [(0, 0), (17, 42), (39, 59)])
def test_the_bands_sum_to_the_score(method: str, user: int, item: int) -> None:
    config = SpectralConfig(method=method)  # type: ignore[arg-type]
    found = explain(Explained(FEATURES, GRAPHS, EDGES, config, SEEN), user, item)
    score = float(FEATURES.users[user] @ FEATURES.items[item])
    assert found.score == pytest.approx(score, rel=1e-5)
    for bands in (found.user.bands, found.item.bands, found.both):
        assert bands.sum() == pytest.approx(score, rel=1e-4, abs=1e-4)
    np.testing.assert_allclose(found.both.sum(axis=1), found.user.bands, atol=1e-4)
    np.testing.assert_allclose(found.both.sum(axis=0), found.item.bands, atol=1e-4)
    kinds = [total(found.item, found.taste, kind) for kind in ("shared", "middle", "niche")]
    assert sum(kinds) == pytest.approx(score, rel=1e-4, abs=1e-4)
    assert found.seen == bool(SEEN[user, item])


def test_the_bands_are_those_of_the_dense_filters() -> None:
    found = explain(Explained(FEATURES, GRAPHS, EDGES, EXACT, SEEN), 3, 11)
    of_items = [FEATURES.users[3] @ (part @ FEATURES.items)[11] for part in dense_bands(GRAPHS.item)]
    of_users = [(part @ FEATURES.users)[3] @ FEATURES.items[11] for part in dense_bands(GRAPHS.user)]
    np.testing.assert_allclose(found.item.bands, of_items, atol=1e-4)
    np.testing.assert_allclose(found.user.bands, of_users, atol=1e-4)


def test_neighbours_and_the_node_itself_sum_to_the_shared_part() -> None:
    found = explain(Explained(FEATURES, GRAPHS, EDGES, EXACT, SEEN), 3, 11, top=60)
    low = sum(part for part, kind in zip(dense_bands(GRAPHS.item), found.taste, strict=True) if kind == "shared")
    warm_start_info = low[11] * (FEATURES.items @ FEATURES.users[3])
    assert warm_start_info.sum() == pytest.approx(total(found.item, found.taste, "shared"), abs=1e-4)
    expected = [int(row) for row in np.argsort(-warm_start_info) if row != 11 and warm_start_info[row] > 0]
    assert [entry.row for entry in found.item.neighbours] == expected
    np.testing.assert_allclose([entry.share for entry in found.item.neighbours], warm_start_info[expected], atol=1e-4)
    met = SEEN.toarray() > 0
    assert [entry.met for entry in found.item.neighbours] == met[3, expected].tolist()
    users = [entry.row for entry in found.user.neighbours]
    assert 3 not in users
    assert [entry.met for entry in found.user.neighbours] == met[users, 11].tolist()
    assert len(explain(Explained(FEATURES, GRAPHS, EDGES, EXACT, SEEN), 3, 11, top=2).item.neighbours) == 2


def test_taste_follows_the_edges() -> None:
    found = explain(Explained(FEATURES, GRAPHS, EDGES, EXACT, SEEN), 0, 0)
    assert found.taste == ["shared"] * 4 + ["middle"] + ["niche"] * 3
    for low, high, kind in zip(EDGES[:-1], EDGES[1:], found.taste, strict=True):
        assert kind == ("shared" if high <= 1 else "niche" if low >= 1 else "middle")


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="item 60 is out of range"):
        explain(Explained(FEATURES, GRAPHS, EDGES, EXACT, SEEN), 0, 60)
    with pytest.raises(ValueError, match="user -1"):
        explain(Explained(FEATURES, GRAPHS, EDGES, EXACT, SEEN), -1, 0)
    other = Graphs(GRAPHS.user, graph("item", 50, RNG))
    with pytest.raises(ValueError, match="graph of 50 nodes"):
        explain(Explained(FEATURES, other, EDGES, EXACT, SEEN), 0, 0)
