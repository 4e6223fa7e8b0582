"""Scorers against dense scores; sums; lists from outside."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

from freqd.config import EvaluateConfig
from freqd.data.interactions import Split
from freqd.embeddings import Embeddings, TrainedModel, as_table, side_by_side
from freqd.evaluate import evaluate, ranking, scoring_latency
from freqd.evaluate.ranking import top_k
from freqd.evaluate.spread import spread
from freqd.evaluate.subset import among
from freqd.evaluate.validation import Validation
from freqd.numerics import threads
from freqd.scorer import ItemScorer, ListScorer, Scorer, SumScorer
from tests.teachers.conftest import shelf_split


def random_table(train, dim: int, seed: int, scale: float = 1.0) -> Embeddings:
    rng = np.random.default_rng(seed)
    return Embeddings(*(scale * rng.standard_normal((n, dim), dtype=np.float32) for n in train.shape))


def random_weights(n: int, seed: int) -> sparse.csr_array:
    return sparse.random_array((n, n), density=0.1, rng=np.random.default_rng(seed), dtype=np.float32).tocsr()


@pytest.fixture(scope="module")
def split() -> Split:
    return shelf_split()


@pytest.fixture(scope="module")
def train(split: Split) -> sparse.csr_array:
    return split.train.matrix()


@pytest.fixture(scope="module")
def validation(split: Split) -> Validation:
    return Validation.of(split, limit=None, seed=0)


class Opaque:
    """A table that does not say so."""

    def __init__(self, features: Embeddings) -> None:
        self._inner = features
        self.n_users, self.n_items = self._inner.n_users, self._inner.n_items
        self.block, self.listed = self._inner.block, self._inner.listed


@pytest.fixture(scope="module")
def scorers(train) -> dict[str, tuple[Scorer, np.ndarray]]:
    """One of each kind, and its scores as a dense matrix."""
    one, other = random_table(train, 5, 0), random_table(train, 3, 1, scale=4.0)
    weights = random_weights(train.shape[1], 2)
    dense_weights = np.random.default_rng(3).standard_normal(weights.shape, dtype=np.float32)
    rng = np.random.default_rng(4)
    lists = np.stack([rng.choice(train.shape[1], 30, replace=False) for _ in range(train.shape[0])]).astype(np.int32)
    lists[rng.random(lists.shape) < 0.1] = -1
    scores = rng.standard_normal(lists.shape, dtype=np.float32)
    of_lists = np.full(train.shape, -np.inf, np.float32)
    for user, items in enumerate(lists):
        for item, score in zip(items, scores[user], strict=True):
            if item >= 0:
                of_lists[user, item] = score
    table, items = one, ItemScorer(train, weights)
    return {
        "table": (table, one.users @ one.items.T),
        "sparse": (items, train.toarray() @ weights.toarray()),
        "dense": (ItemScorer(train, dense_weights), train.toarray() @ dense_weights),
        "lists": (ListScorer(lists, scores, train.shape[1]), of_lists),
        "sum": (
            SumScorer((table, items), (0.3, 0.7), (2.0, 0.5)),
            0.15 * (one.users @ one.items.T) + 1.4 * (train.toarray() @ weights.toarray()),
        ),
        "tables": (
            SumScorer((table, other), (0.3, 0.7), (2.0, 0.5)),
            0.15 * (one.users @ one.items.T) + 1.4 * (other.users @ other.items.T),
        ),
    }


KINDS = ["table", "sparse", "dense", "lists", "sum", "tables"]


@pytest.mark.parametrize("kind", KINDS)
def test_blocks_and_listed_scores_are_the_dense_ones(scorers, train, kind: str) -> None:
    scorer, dense = scorers[kind]
    assert (scorer.n_users, scorer.n_items) == train.shape
    rng = np.random.default_rng(0)
    users = rng.permutation(train.shape[0])[:170].astype(np.int32)
    np.testing.assert_allclose(scorer.block(users), dense[users], rtol=1e-4, atol=1e-4)
    lists = rng.integers(-1, train.shape[1], (170, 12), dtype=np.int32)
    lists[:, 7] = lists[:, 2]
    wanted = np.where(lists >= 0, np.take_along_axis(dense[users], np.maximum(lists, 0), axis=1), 0)
    np.testing.assert_allclose(scorer.listed(users, lists), wanted, rtol=1e-4, atol=1e-4)
    total = rng.standard_normal((len(users), train.shape[1]), dtype=np.float32)
    wanted = total + 2.5 * dense[users]
    scorer.add_block(users, np.float32(2.5), total)
    np.testing.assert_allclose(total, wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_the_best_items_are_those_of_the_dense_scores_whatever_the_threads(scorers, train, kind: str) -> None:
    scorer, dense = scorers[kind]
    masked = np.where(train.toarray() > 0, -np.inf, dense)
    users = np.arange(train.shape[0], dtype=np.int32)[::-1].copy()
    with threads.limited(1):
        items, scores = top_k(scorer, train, 60, users=users)
    with threads.limited(2):
        again, _ = top_k(scorer, train, 60, users=users)
    np.testing.assert_array_equal(items, again)
    for row, user in enumerate(users):
        order = sorted(np.flatnonzero(masked[user] > -np.inf), key=lambda item: (-masked[user, item], item))[:60]
        assert (items[row] >= 0).sum() == len(order)
        np.testing.assert_allclose(scores[row, : len(order)], masked[user, order], rtol=1e-4, atol=1e-4)
        assert len(set(items[row, : len(order)]) & set(order)) >= len(order) - 1  # float32 may exchange the last


def test_among_equal_scores_the_lower_id_is_first_and_a_short_list_is_filled(train) -> None:
    class Flat(Opaque):
        pass

    flat = Flat(Embeddings(np.ones((train.shape[0], 1), np.float32), np.ones((train.shape[1], 1), np.float32)))
    items, scores = top_k(flat, train, train.shape[1] + 3)
    for user in (0, 7, train.shape[0] - 1):
        own = set(train.indices[train.indptr[user] : train.indptr[user + 1]])
        rest = [item for item in range(train.shape[1]) if item not in own]
        assert items[user, : len(rest)].tolist() == rest
        assert (items[user, len(rest) :] == -1).all()
        assert (scores[user, len(rest) :] == -np.inf).all()


def test_for_a_table_the_ranking_is_that_of_tables_and_the_general_way_agrees(train, validation: Validation) -> None:
    table = random_table(train, 6, 9)
    for scorer in (table, Opaque(table)):
        items, _ = top_k(scorer, train, 20)
        np.testing.assert_array_equal(items, ranking.top_k(table, train, 20)[0])
        np.testing.assert_array_equal(validation.per_user(scorer), validation.per_user(table))
        assert validation(scorer) == validation(table)


def test_a_model_that_is_no_table_is_evaluated_as_the_same_scores_in_a_table(train, split: Split) -> None:
    table = random_table(train, 6, 9)
    whole, again = (evaluate(scorer, split, EvaluateConfig()) for scorer in (table, Opaque(table)))
    assert whole.metrics == again.metrics
    np.testing.assert_array_equal(whole.per_user["ndcg_at_10"], again.per_user["ndcg_at_10"])
    with pytest.raises(ValueError, match="do not fit"):
        evaluate(Opaque(random_table(sparse.csr_array((4, 5)), 2, 0)), split, EvaluateConfig())


def test_the_latency_of_a_model_that_is_no_table_is_that_of_its_scores(scorers) -> None:
    assert 0 < scoring_latency({"sparse": scorers["sparse"][0]}, repetitions=2, requests=5)["sparse"].median_ms < 1000


def test_the_spread_is_that_of_tables(train) -> None:
    table = random_table(train, 6, 9, scale=3.0)
    wanted = spread(table, train, seed=4, users=120)
    assert spread(Opaque(table), train, seed=4, users=120) == pytest.approx(wanted, rel=1e-5)
    flat = Embeddings(np.zeros((train.shape[0], 1), np.float32), np.zeros((train.shape[1], 1), np.float32))
    assert spread(flat, train, seed=0) == 1.0


def test_a_list_of_a_few_items_has_a_finite_spread(scorers, train) -> None:
    assert 0.5 < spread(scorers["lists"][0], train, seed=0) < 2.0


def test_a_sum_of_tables_is_one_table_with_the_same_scores(scorers, train) -> None:
    scorer, dense = scorers["tables"]
    nested = SumScorer((scorer, scorers["table"][0]), (0.5, 0.5), (1.0, 1.0))
    table = as_table(nested)
    assert table is not None
    assert table.dim == 5 + 3 + 5
    np.testing.assert_allclose(
        table.users @ table.items.T, 0.5 * dense + 0.5 * scorers["table"][1], rtol=1e-4, atol=1e-4
    )
    assert as_table(scorers["sum"][0]) is None
    assert as_table(SumScorer((scorers["sum"][0],), (1.0,), (1.0,))) is None


def test_the_tables_of_a_sum_can_stand_side_by_side(scorers) -> None:
    parts = [scorers[kind] for kind in ("table", "sparse", "tables", "dense")]
    scorer = SumScorer(tuple(part for part, _ in parts), (0.1, 0.2, 0.3, 0.4), (1.0, 2.0, 3.0, 4.0))
    joined = side_by_side(scorer)
    assert [type(part) for part in joined.scorers] == [Embeddings, ItemScorer, ItemScorer]
    users = np.array([4, 0, 9], np.int32)
    np.testing.assert_allclose(joined.block(users), scorer.block(users), rtol=1e-4, atol=1e-4)
    without = SumScorer(scorer.scorers[:2], (0.5, 0.5), (1.0, 1.0))
    assert side_by_side(without) is without


def test_an_unlisted_item_is_never_recommended_not_even_by_a_sum(scorers, train) -> None:
    listed, dense = scorers["lists"]
    items, _ = top_k(SumScorer((listed, scorers["sparse"][0]), (0.1, 0.9), (1.0, 1.0)), train, 100)
    for user, row in enumerate(items):
        assert np.isfinite(dense[user, row[row >= 0]]).all()
        assert (row < 0).any()


@pytest.mark.parametrize("kind", KINDS)
def test_a_trained_model_keeps_it_in_files_that_hold_numbers_alone(scorers, train, tmp_path: Path, kind: str) -> None:
    scorer, _ = scorers[kind]
    model = TrainedModel(
        random_table(train, 2, 0), full=SumScorer((scorer, scorers["dense"][0]), (0.4, 0.6), (1.0, 2.0))
    )
    model.write(tmp_path)
    assert {path.suffix for path in tmp_path.iterdir()} == {".safetensors", ".json"}
    again = TrainedModel.read(tmp_path)
    users = np.array([3, 0, 31], np.int32)
    np.testing.assert_array_equal(again.scorer.block(users), model.scorer.block(users))
    assert (again.scorer.n_parameters, again.scorer.n_bytes) == (model.scorer.n_parameters, model.scorer.n_bytes)
    assert again.scorer.n_bytes >= 4 * again.scorer.n_parameters > 0


def test_a_model_that_is_a_table_has_no_further_file(train, tmp_path: Path) -> None:
    model = TrainedModel(random_table(train, 2, 0))
    model.write(tmp_path)
    assert model.scorer is model.features
    assert {path.name for path in tmp_path.iterdir()} == {"features.safetensors", "origin.json", "training.json"}
    assert TrainedModel.read(tmp_path).full is None


def test_scores_of_some_items_are_their_columns(scorers, train) -> None:
    items = np.array([40, 3, 17])
    for scorer, dense in scorers.values():
        part = among(scorer, items)
        assert (part.n_users, part.n_items) == (train.shape[0], 3)
        np.testing.assert_allclose(part.block(np.array([5, 2], np.int32)), dense[[5, 2]][:, items], atol=1e-4)


def test_what_cannot_be_right_is_refused(train) -> None:
    lists, scores = np.array([[0, 1]], np.int32), np.zeros((1, 2), np.float32)
    with pytest.raises(ValueError, match="twice"):
        ListScorer(np.array([[1, 1]], np.int32), scores, 3)
    with pytest.raises(ValueError, match="must lie in"):
        ListScorer(lists, scores, 1)
    with pytest.raises(ValueError, match="not finite"):
        ListScorer(lists, scores + np.inf, 3)
    with pytest.raises(ValueError, match="shape"):
        ListScorer(lists, scores[:, :1], 3)
    one = ListScorer(lists, scores, 3)
    with pytest.raises(ValueError, match="different users and items"):
        SumScorer((one, ListScorer(lists, scores, 4)), (1.0, 1.0), (1.0, 1.0))
    with pytest.raises(ValueError, match="above 0"):
        SumScorer((one,), (0.0,), (1.0,))
    broken = Opaque(
        Embeddings(np.full((train.shape[0], 1), np.nan, np.float32), np.ones((train.shape[1], 1), np.float32))
    )
    with pytest.raises(ValueError, match="NaN"):
        top_k(broken, train, 3)


def test_spread_is_proportional_to_the_scores() -> None:
    table = random_table(sparse.csr_array((30, 40)), 5, 0)
    nothing = sparse.csr_array((30, 40), dtype=np.float32)
    once = spread(table, nothing, seed=1)
    tripled = spread(Embeddings(table.users * np.float32(3), table.items), nothing, seed=1)
    np.testing.assert_allclose(tripled, 3 * once, rtol=1e-5)
    # All items are among the 50 best of 40, so the lists are the full rows.
    np.testing.assert_allclose(once, (table.users @ table.items.T).std(axis=1).mean(), rtol=1e-5)
