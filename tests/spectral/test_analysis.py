from __future__ import annotations

import json

import numpy as np
import pytest

from freqd.config import GraphConfig, SpectralConfig
from freqd.data.interactions import Interactions
from freqd.embeddings import Embeddings
from freqd.graph import build_graphs
from freqd.spectral import FeatureEvaluator, Filter, SideFilters, Spectrum, analyse
from freqd.storage.store import Store
from tests.oracles import dense_band_energies, dense_spectrum, grocery_like

WHOLE = grocery_like(7, 260, 160, mean=16)
HELD_OUT = np.random.default_rng(0).random(len(WHOLE)) < 0.25
TRAIN = Interactions(WHOLE.user[~HELD_OUT], WHOLE.item[~HELD_OUT], WHOLE.n_users, WHOLE.n_items)
VALID = Interactions(WHOLE.user[HELD_OUT], WHOLE.item[HELD_OUT], WHOLE.n_users, WHOLE.n_items)
GRAPHS = build_graphs(TRAIN, GraphConfig(user_neighbours=8, item_neighbours=8))
CONFIG = SpectralConfig(bands=4, degree=64)


def ndcg(table: Embeddings) -> float:
    """Plain NDCG@10 over users with a validation item."""
    seen, targets = TRAIN.matrix().toarray() > 0, VALID.matrix().toarray() > 0
    scores = np.where(seen, -np.inf, table.users @ table.items.T)
    best = np.argsort(-scores, axis=1, kind="stable")[:, :10]
    discount = 1 / np.log2(np.arange(2, 12))
    gained = (np.take_along_axis(targets, best, axis=1) * discount).sum(axis=1)
    count = targets.sum(axis=1)
    ideal = np.concatenate([[1.0], np.cumsum(discount)])[np.minimum(count, 10)]
    return float((gained / ideal)[count > 0].mean())


def teacher(noise: float) -> Embeddings:
    """Truncated SVD of the train matrix, with noise of all frequencies on the items."""
    u, s, vt = np.linalg.svd(TRAIN.matrix().toarray(), full_matrices=False)
    rng = np.random.default_rng(1)
    users = (u[:, :16] * np.sqrt(s[:16])).astype(np.float32)
    items = (vt[:16].T * np.sqrt(s[:16])).astype(np.float32)
    items += noise * items.std() * rng.normal(size=items.shape).astype(np.float32)
    return Embeddings(users, items)


def run(table: Embeddings, config: SpectralConfig = CONFIG, validate=ndcg, graphs=GRAPHS, **kwargs) -> Spectrum:
    return analyse(graphs, table, FeatureEvaluator(validate), config, rng=np.random.default_rng(0), **kwargs)


@pytest.mark.parametrize("method", ["exact", "chebyshev"])
def test_every_number_equals_its_definition(method):
    table = teacher(0.5)
    found = run(table, SpectralConfig(bands=4, method=method, degree=400))
    tolerance = 1e-5 if method == "exact" else 0.01
    assert found.base_ndcg == ndcg(table)
    for side, graph, signal in (
        (found.user, GRAPHS.user, table.users),
        (found.item, GRAPHS.item, table.items),
    ):
        assert side.method == method
        reference = dense_band_energies(graph.norm_adj, signal, found.edges)
        np.testing.assert_allclose(side.energies, reference / reference.sum(), atol=tolerance)
        assert side.energies.sum() == pytest.approx(1.0, abs=1e-5)
        np.testing.assert_allclose(side.part_energies / reference.sum(), side.energies, atol=tolerance)
        assert side.density.sum() == pytest.approx(1.0, abs=1e-5)
    values, vectors = dense_spectrum(GRAPHS.item.norm_adj)
    band = np.searchsorted(found.edges[1:-1], values, side="right")
    for b in range(4):
        kept = vectors[:, band == b]
        part = (kept @ (kept.T @ table.items)).astype(np.float32)
        slack = 1e-6 if method == "exact" else 0.03
        assert found.item.importance_only[b] == pytest.approx(ndcg(Embeddings(table.users, part)), abs=slack)
        without = ndcg(Embeddings(table.users, table.items - part))
        assert found.item.importance_without[b] == pytest.approx(without, abs=slack)


class Rest:
    """What a model that is more than its features reaches with filtered ones."""

    def __init__(self, reached) -> None:
        self.ndcg = lambda table: np.atleast_1d(reached(table))


def with_rest(table: Embeddings, reached, measure=ndcg) -> Spectrum:
    return analyse(GRAPHS, table, FeatureEvaluator(measure, rest=Rest(reached)), CONFIG, rng=np.random.default_rng(0))


def test_filters_of_a_model_that_is_more_than_its_features_are_judged_by_the_model():
    table = teacher(2.0)
    alone = run(table)
    assert not alone.ranking_filters.item.is_identity
    gains = with_rest(table, lambda own: 0.1 + ndcg(own))
    assert gains.ranking_filters == alone.ranking_filters
    assert gains.whole_ndcg == pytest.approx(0.1 + alone.base_ndcg)
    assert gains.base_ndcg == alone.base_ndcg
    np.testing.assert_array_equal(gains.item.importance_only, alone.item.importance_only)
    assert "The teacher is no pair of tables" in gains.reason
    loses = with_rest(table, lambda own: 0.5)
    assert loses.ranking_filters == SideFilters()
    assert "is kept" in loses.reason


def test_the_gain_of_such_a_model_must_be_beyond_chance_too():
    """The filtered model gains for half of the users and loses for the others: a little in the mean, which proves nothing."""
    table = teacher(2.0)
    signs = np.array([1.0, -1.0] * 20)
    found = with_rest(
        table, lambda own: 0.5 + (ndcg(own) - ndcg(table)) * (0.3 + 3 * signs), lambda own: np.full(40, ndcg(own))
    )
    assert found.ranking_filters == SideFilters()
    assert "may gain by chance alone" in found.reason


def test_what_the_model_itself_reaches_is_read_again(tmp_path):
    found = with_rest(teacher(0.5), lambda own: 0.9)
    found.write(tmp_path)
    assert Spectrum.read(tmp_path).whole_ndcg == 0.9


def test_a_noisy_teacher_is_smoothed_and_a_clean_one_is_left_alone():
    noisy = run(teacher(2.0))
    assert not noisy.ranking_filters.item.is_identity
    table = teacher(2.0)
    best = max(trial["ndcg"] for trial in noisy.trials)
    assert best >= noisy.base_ndcg * (1 + CONFIG.min_gain)
    assert f"with the chosen filters {best:.4f}" in noisy.reason
    # A measured ranking that only ever gets worse by filtering must keep the identity.
    raw = table.items
    untouched = run(table, validate=lambda t: 0.2 if t.items is raw and t.users is table.users else 0.1)
    assert untouched.ranking_filters == SideFilters()
    assert untouched.base_ndcg == 0.2


def test_the_same_input_gives_the_same_artifact(tmp_path):
    store = Store(tmp_path)
    assert store.save(run(teacher(1.0))).digest == store.save(run(teacher(1.0))).digest


def test_round_trip(tmp_path):
    before = run(teacher(1.0))
    store = Store(tmp_path)
    after = store.open(store.save(before), Spectrum)
    np.testing.assert_array_equal(before.edges, after.edges)
    for side in ("user", "item"):
        a, b = getattr(before, side), getattr(after, side)
        assert a.method == b.method
        for name in ("energies", "density", "importance_only", "importance_without", "part_energies"):
            np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
    for name in ("base_ndcg", "trials", "feature_candidates", "ranking_filters", "reason"):
        assert getattr(before, name) == getattr(after, name)


@pytest.mark.parametrize("form", ["linear", "quadratic"])
def test_a_fixed_filter_is_taken_and_measured_but_not_overruled(form):
    found = run(teacher(0.0), SpectralConfig(bands=2, filter=form, alpha=0.9))
    chosen = Filter(form=form, alpha=0.9)
    assert found.feature_candidates == (found.ranking_filters,)
    assert found.ranking_filters == SideFilters(user=chosen, item=chosen)
    assert [trial["form"] for trial in found.trials] == [form]
    assert f"{found.trials[0]['ndcg']:.4f}" in found.reason


def test_a_fixed_identity_costs_no_trial():
    found = run(teacher(0.0), SpectralConfig(bands=2, filter="identity"))
    assert found.feature_candidates == (found.ranking_filters,)
    assert found.ranking_filters == SideFilters()
    assert found.trials == []


def test_progress_rises_to_one():
    seen: list[tuple[float, str]] = []
    run(teacher(1.0), progress=lambda done, text: seen.append((done, text)))
    shares = [done for done, _ in seen]
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    assert max(shares[:-1]) < 1.0
    assert all(text for _, text in seen)


def test_graphs_without_edges_and_features_without_energy():
    nothing = Interactions(np.zeros(0, np.int32), np.zeros(0, np.int32), 20, 10)
    empty = build_graphs(nothing, GraphConfig())
    zero = Embeddings(np.zeros((20, 3), np.float32), np.zeros((10, 3), np.float32))
    for method in ("exact", "chebyshev"):
        config = SpectralConfig(bands=4, method=method)
        found = run(zero, config, validate=lambda t: 0.0, graphs=empty)
        assert found.ranking_filters == found.feature_candidates[0] == SideFilters()
        np.testing.assert_array_equal(found.user.energies, 0.0)
        json.dumps(found.user.energies.tolist(), allow_nan=False)


def test_features_that_do_not_fit_the_graphs_are_refused():
    with pytest.raises(ValueError, match="5 rows of user features"):
        run(Embeddings(np.ones((5, 2), np.float32), np.ones((160, 2), np.float32)))
