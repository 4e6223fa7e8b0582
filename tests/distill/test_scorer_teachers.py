"""Teachers that are no pair of tables: students learn from their scores as from those of a table."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import sparse

from freqd.config import DistillConfig, ObjectiveConfig
from freqd.data.interactions import Split
from freqd.distill import DistillSources, distill
from freqd.distill.distillation import context_of, ranking_teacher
from freqd.distill.objectives import build_objectives
from freqd.embeddings import Embeddings, TrainedModel
from freqd.evaluate import Validation
from freqd.scorer import ItemScorer, ListScorer, SumScorer
from freqd.spectral import SideFilters, SideSpectrum, Spectrum, apply_filters
from freqd.spectral.filters import Filter
from freqd.training.environment import TrainingEnvironment

HERE = TrainingEnvironment(seed=1, device="cpu")
BANDS = np.full(2, 0.5)
SIDE = SideSpectrum("exact", BANDS, BANDS, BANDS, BANDS, BANDS)
SPECTRUM = Spectrum(np.array([0.0, 1.0, 2.0]), SIDE, SIDE, 0.5, [], (SideFilters(),), SideFilters(), "")
RANKING = ("rce", "rrd", "cd", "dcd", "unkd")


@pytest.fixture(scope="module")
def both(choices: tuple[Split, Embeddings]) -> tuple[ItemScorer, Embeddings]:
    """An item-item model, and its scores as a table of as many columns as there are items."""
    split, truth = choices
    train = split.train.matrix()
    target = truth.users @ truth.items.T
    weights = np.linalg.lstsq(train.toarray(), target, rcond=None)[0].astype(np.float32)
    table = Embeddings(train.toarray().astype(np.float32), np.ascontiguousarray(weights.T))
    return ItemScorer(train, sparse.csr_array(weights)), table


def student(split: Split, context, teacher: TrainedModel, *terms: str) -> TrainedModel:
    config = DistillConfig(
        dim=6,
        epochs=4,
        batch_size=256,
        eval_every=2,
        objectives=tuple(ObjectiveConfig(name=name) for name in terms),
    )
    return distill(DistillSources(split, teacher, context.graphs, SPECTRUM), config, HERE)


@pytest.mark.parametrize("term", RANKING)
def test_a_student_of_an_item_item_model_is_that_of_the_same_scores_in_a_table(
    choices, both, new_context, term: str
) -> None:
    split, _ = choices
    scorer, table = both
    context = new_context(split, table, 6)
    one = student(split, context, TrainedModel(table), term)
    other = student(split, context, TrainedModel(table, full=scorer), term)
    np.testing.assert_allclose(one.features.users, other.features.users, atol=2e-3)
    np.testing.assert_allclose(one.features.items, other.features.items, atol=2e-3)
    assert one.info["valid_ndcg_at_10"] == pytest.approx(other.info["valid_ndcg_at_10"], abs=1e-3)


@pytest.mark.parametrize("term", RANKING)
def test_the_scores_are_asked_of_the_model_and_not_of_the_table_beside_it(choices, both, new_context, term) -> None:
    split, _ = choices
    scorer, table = both
    wrong = Embeddings(table.users, -table.items)
    context = new_context(split, table, 6)
    good = replace(context, teacher=wrong, raw_teacher=scorer, ranking_teacher=scorer)
    lists = []
    for own in (context, good):
        (built,) = build_objectives([ObjectiveConfig(name=term)], own)
        built.begin_epoch(1, wrong, np.random.default_rng(0))
        lists.append(built.lists.numpy())
    assert (lists[0] == lists[1]).mean() > 0.99  # float32 may exchange items of almost equal scores


def test_a_filter_changes_a_models_scores_by_as_much_as_its_tables(choices, both, new_context) -> None:
    split, truth = choices
    scorer, table = both
    graphs = new_context(split, truth, 6).graphs
    filters = SideFilters(item=Filter(form="linear", alpha=0.4))
    filtered = apply_filters(truth, graphs, filters)
    model = TrainedModel(truth, full=scorer)
    assert ranking_teacher(model, truth, SideFilters()) is scorer
    found = ranking_teacher(model, filtered, filters)
    change = filtered.users @ filtered.items.T - truth.users @ truth.items.T
    users = np.arange(split.n_users, dtype=np.int32)
    np.testing.assert_allclose(found.block(users), table.users @ table.items.T + change, atol=1e-3)
    assert ranking_teacher(TrainedModel(truth), filtered, filters) is filtered


def test_the_start_and_the_scores_of_a_filtered_model(choices, both, new_context) -> None:
    split, truth = choices
    scorer, _ = both
    filters = SideFilters(item=Filter(form="linear", alpha=0.4))
    graphs = new_context(split, truth, 6).graphs
    sources = DistillSources(
        split, TrainedModel(truth, full=scorer), graphs, replace(SPECTRUM, ranking_filters=filters)
    )
    context = context_of(sources, DistillConfig(dim=6), HERE)
    np.testing.assert_array_equal(context.ranking_table.items, apply_filters(truth, graphs, filters).items)
    assert isinstance(context.ranking_teacher, SumScorer)
    assert context.raw_teacher is scorer


@pytest.mark.parametrize("term", RANKING)
def test_a_student_of_lists_ranks_what_is_in_them_above_the_rest(choices, new_context, term: str) -> None:
    """Lists of the ten best: nothing is known of other items, and some users have no list at all."""
    split, truth = choices
    scores = truth.users @ truth.items.T
    scores[split.train.matrix().toarray() > 0] = -np.inf
    lists = np.argsort(-scores, axis=1)[:, :10].astype(np.int32)
    lists[::10] = -1
    ranks = np.broadcast_to(np.log(11 / np.arange(1, 11)).astype(np.float32), lists.shape)
    scorer = ListScorer(lists, np.ascontiguousarray(ranks), split.n_items)
    users = np.repeat(np.arange(split.n_users), 10)[lists.ravel() >= 0]
    dense = np.zeros((split.n_users, split.n_items), np.float32)
    dense[users, lists.ravel()[lists.ravel() >= 0]] = ranks.ravel()[lists.ravel() >= 0]
    left, sizes, right = np.linalg.svd(dense, full_matrices=False)
    table = Embeddings(np.ascontiguousarray(left[:, :20] * sizes[:20]), np.ascontiguousarray(right[:20].T))
    found = student(split, new_context(split, table, 6), TrainedModel(table, full=scorer), term)
    assert np.isfinite(found.features.users).all()
    assert np.isfinite(found.features.items).all()
    learnt = found.features.users @ found.features.items.T
    unseen = split.train.matrix().toarray() == 0
    listed = dense > 0
    with_list = listed.any(axis=1)
    inside = np.nanmean(np.where(listed, learnt, np.nan)[with_list], axis=1)
    outside = np.nanmean(np.where(unseen & ~listed, learnt, np.nan)[with_list], axis=1)
    assert (inside > outside).mean() > 0.9
    chance = Validation.of(split, limit=None, seed=0)(Embeddings(truth.users * 0, truth.items))
    assert found.info["valid_ndcg_at_10"] > chance
