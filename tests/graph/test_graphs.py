from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from freqd.config import GraphConfig
from freqd.data.interactions import Interactions
from freqd.embeddings import Embeddings
from freqd.graph import Graph, Graphs, build_graphs
from freqd.storage.store import Store
from tests.oracles import dense_cooccurrence, dense_cosine, dense_norm_adj, dense_spectrum, grocery_like

TRAIN = grocery_like(3, n_users=120, n_items=90)


def assert_valid(graph: Graph) -> None:
    adjacency = graph.adjacency
    assert adjacency.dtype == np.float32
    assert adjacency.has_sorted_indices
    assert (adjacency.data > 0).all()
    assert not adjacency.diagonal().any()
    dense = adjacency.toarray()
    np.testing.assert_array_equal(dense, dense.T)
    norm = graph.norm_adj.toarray()
    np.testing.assert_array_equal(norm, norm.T)
    values, _ = dense_spectrum(graph.norm_adj)
    assert values[0] > -1e-6
    assert values[-1] < 2.0 + 1e-6


def test_cooccurrence_graphs_equal_dense_reference():
    graphs = build_graphs(TRAIN, GraphConfig(user_neighbours=4, item_neighbours=7))
    incidence = TRAIN.matrix().toarray()
    for graph, rows, k in ((graphs.user, incidence, 4), (graphs.item, incidence.T, 7)):
        assert_valid(graph)
        chosen = dense_cooccurrence(rows, k)
        expected = (chosen + chosen.T) / 2
        np.testing.assert_array_equal(graph.adjacency.toarray(), expected)
        np.testing.assert_allclose(graph.norm_adj.toarray(), dense_norm_adj(expected), rtol=1e-6)
    assert graphs.bipartite is None
    assert (graphs.user.kind, graphs.item.kind) == ("user", "item")


def test_feature_graphs_equal_dense_reference():
    rng = np.random.default_rng(0)
    features = Embeddings(rng.normal(size=(120, 6)).astype(np.float32), rng.normal(size=(90, 6)).astype(np.float32))
    graphs = build_graphs(TRAIN, GraphConfig(kind="features", user_neighbours=3, item_neighbours=5), features)
    for graph, rows, k in ((graphs.user, features.users, 3), (graphs.item, features.items, 5)):
        assert_valid(graph)
        chosen = dense_cosine(rows, k)
        np.testing.assert_allclose(graph.adjacency.toarray(), (chosen + chosen.T) / 2, rtol=1e-5, atol=1e-6)


def test_feature_graphs_need_features_that_fit():
    config = GraphConfig(kind="features")
    with pytest.raises(ValueError, match="needs features"):
        build_graphs(TRAIN, config)
    small = Embeddings(np.ones((119, 2), np.float32), np.ones((90, 2), np.float32))
    with pytest.raises(ValueError, match="119 users"):
        build_graphs(TRAIN, config, small)


def test_bipartite_graph_is_users_then_items_and_has_a_symmetric_spectrum():
    graphs = build_graphs(TRAIN, GraphConfig(kind="bipartite"))
    assert graphs.bipartite is not None
    assert_valid(graphs.bipartite)
    dense = graphs.bipartite.adjacency.toarray()
    np.testing.assert_array_equal(dense[:120, 120:], TRAIN.matrix().toarray())
    assert not dense[:120, :120].any()
    assert not dense[120:, 120:].any()
    values, _ = dense_spectrum(graphs.bipartite.norm_adj)
    np.testing.assert_allclose(values, 2.0 - values[::-1], atol=1e-6)
    np.testing.assert_array_equal(
        graphs.user.adjacency.toarray(), build_graphs(TRAIN, GraphConfig()).user.adjacency.toarray()
    )


def test_isolated_nodes_have_zero_rows_so_that_the_laplacian_is_one():
    graphs = build_graphs(TRAIN, GraphConfig())
    laplacian = np.eye(graphs.user.n) - graphs.user.norm_adj.toarray()
    for node in range(117, 120):
        np.testing.assert_array_equal(laplacian[node], np.eye(120)[node])
    assert np.isfinite(graphs.user.norm_adj.data).all()


@pytest.mark.parametrize("kind", ["cooccurrence", "bipartite"])
def test_no_interactions_give_empty_graphs(kind):
    nothing = Interactions(np.zeros(0, np.int32), np.zeros(0, np.int32), 5, 3)
    graphs = build_graphs(nothing, GraphConfig(kind=kind))
    assert (graphs.user.n, graphs.item.n) == (5, 3)
    assert graphs.user.norm_adj.nnz == graphs.item.norm_adj.nnz == 0


def test_one_user_and_one_item():
    graphs = build_graphs(Interactions(np.zeros(1, np.int32), np.zeros(1, np.int32), 1, 1), GraphConfig())
    assert graphs.user.adjacency.nnz == 0


@settings(max_examples=20)
@given(st.integers(0, 1000))
def test_relabelling_users_relabels_the_item_graph_not_at_all(seed):
    rng = np.random.default_rng(seed)
    order = rng.permutation(TRAIN.n_users).astype(np.int32)
    moved = Interactions(order[TRAIN.user], TRAIN.item, TRAIN.n_users, TRAIN.n_items)
    before, after = build_graphs(TRAIN, GraphConfig()), build_graphs(moved, GraphConfig())
    np.testing.assert_array_equal(before.item.adjacency.toarray(), after.item.adjacency.toarray())
    # Without ties cut off (K above all degrees) the user graph is the same but for the names of the nodes.
    whole = GraphConfig(user_neighbours=TRAIN.n_users)
    before, after = build_graphs(TRAIN, whole), build_graphs(moved, whole)
    np.testing.assert_array_equal(before.user.norm_adj.toarray(), after.user.norm_adj.toarray()[np.ix_(order, order)])


def test_round_trip_and_trap_the_digest_follows_the_data(tmp_path):
    # A graph cached under a name goes stale on the next data set; ours is addressed by its content.
    store = Store(tmp_path)
    graphs = build_graphs(TRAIN, GraphConfig(kind="bipartite"))
    ref = store.save(graphs)
    back = store.open(ref, Graphs)
    for name in ("user", "item", "bipartite"):
        np.testing.assert_array_equal(
            getattr(graphs, name).adjacency.toarray(), getattr(back, name).adjacency.toarray()
        )
        assert getattr(back, name).kind == name
    assert store.save(build_graphs(TRAIN, GraphConfig(kind="bipartite"))).digest == ref.digest
    assert store.save(build_graphs(grocery_like(4, 120, 90), GraphConfig(kind="bipartite"))).digest != ref.digest


def test_a_matrix_that_is_no_adjacency_is_refused():
    with pytest.raises(ValueError, match="square float32 CSR"):
        Graph("user", sparse.csr_array(np.ones((2, 3), np.float32)))
    with pytest.raises(ValueError, match="square float32 CSR"):
        Graph("user", sparse.csr_array(np.ones((2, 2))))
