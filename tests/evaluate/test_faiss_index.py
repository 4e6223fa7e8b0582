"""Cells of items: exact where all are looked into, never a wrong item, and their recall is what is measured."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from freqd.config import IndexConfig
from freqd.embeddings import Embeddings
from freqd.errors import InputError
from freqd.evaluate import faiss_index, top_k
from freqd.evaluate.faiss_index import IvfIndex, MeasuredIvfIndex, build
from freqd.serve import TopKIndex, top_k_index

pytest.importorskip("faiss")

USERS, ITEMS, DIM = 40, 3000, 6


def table(seed: int = 0, n_items: int = ITEMS) -> Embeddings:
    """Items in clusters, with norms that differ as popularity does; users near the clusters."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((12, DIM))
    items = centres[rng.integers(0, 12, n_items)] + 0.3 * rng.standard_normal((n_items, DIM))
    items *= np.exp(0.6 * rng.standard_normal((n_items, 1)))
    users = centres[rng.integers(0, 12, USERS)] + 0.3 * rng.standard_normal((USERS, DIM))
    return Embeddings(users.astype(np.float32), items.astype(np.float32))


FEATURES = table()
SEEN = sparse.csr_array((np.random.default_rng(1).random((USERS, ITEMS)) < 0.02).astype(np.float32))
EXACT = TopKIndex(FEATURES, SEEN)
CELLS = IvfIndex(FEATURES.items)


def with_cells(probes: int, features: Embeddings = FEATURES, seen: sparse.csr_array | None = SEEN) -> TopKIndex:
    cells = CELLS if features is FEATURES else IvfIndex(features.items)
    cells.probes = min(probes, cells.count)
    found = TopKIndex(features, seen)
    found.approximate = MeasuredIvfIndex(cells, 1.0, 0, 0.0)
    return found


ids = st.lists(st.integers(0, ITEMS - 1), max_size=60)


@settings(max_examples=60)
@given(user=st.integers(0, USERS - 1), k=st.integers(1, 60), exclude=st.booleans(), deny=st.none() | ids)
def test_with_all_cells_the_answer_is_exact(user, k, exclude, deny) -> None:
    expected = EXACT.recommend(user, k, exclude_seen=exclude, deny=deny)
    found = with_cells(10**9).recommend(user, k, exclude_seen=exclude, deny=deny)
    np.testing.assert_array_equal(found.items, expected.items)
    np.testing.assert_allclose(found.scores, expected.scores, rtol=1e-4, atol=1e-5)


@settings(max_examples=100)
@given(
    user=st.integers(0, USERS - 1),
    k=st.integers(1, 60),
    probes=st.integers(1, 12),
    exclude=st.booleans(),
    allow=st.none() | ids,
    deny=st.none() | ids,
)
def test_with_few_cells_a_list_is_full_sorted_and_without_what_is_left_out(
    user, k, probes, exclude, allow, deny
) -> None:
    expected = EXACT.recommend(user, k, exclude_seen=exclude, allow=allow, deny=deny)
    found = with_cells(probes).recommend(user, k, exclude_seen=exclude, allow=allow, deny=deny)
    chosen = found.items.tolist()
    assert len(chosen) == len(set(chosen)) == len(expected.items)
    assert not set(chosen) & set(deny or [])
    assert allow is None or set(chosen) <= set(allow)
    assert not exclude or not set(chosen) & set(SEEN[[user], :].indices.tolist())
    np.testing.assert_allclose(found.scores, FEATURES.items[found.items] @ FEATURES.users[user], rtol=1e-5, atol=1e-6)
    assert (np.diff(found.scores) <= 0).all()
    assert (found.scores <= expected.scores + 1e-5).all(), "better than the best"
    if allow is not None:
        np.testing.assert_array_equal(found.items, expected.items)


def test_a_history_is_answered_by_the_cells_without_its_items() -> None:
    found, expected = (i.recommend_history([5, 700, 1999], 10) for i in (with_cells(10**9), EXACT))
    np.testing.assert_array_equal(found.items, expected.items)


def test_too_few_in_the_cells_or_too_many_left_out_asks_all_items(monkeypatch: pytest.MonkeyPatch) -> None:
    best = np.argsort(-(FEATURES.items @ FEATURES.users[0]))
    narrow = with_cells(1)
    assert narrow.approximate is not None
    held = len(narrow.approximate.best(FEATURES.users[0], ITEMS))
    assert held < 1000
    np.testing.assert_array_equal(narrow.recommend(0, held + 1, exclude_seen=False).items, best[: held + 1])

    def never(*_: object) -> None:
        raise AssertionError("the cells were asked")

    monkeypatch.setattr(MeasuredIvfIndex, "best", never)
    monkeypatch.setattr(top_k_index, "MOST_FETCHED", 100)
    found = narrow.recommend(0, 20, exclude_seen=False, deny=best[:90].tolist())
    np.testing.assert_array_equal(found.items, best[90:110])
    with pytest.raises(ValueError, match="k must be at least 1"):
        narrow.recommend(0, 0)


def test_who_is_unknown_gets_what_is_popular_all_the_same() -> None:
    features = table(2)
    features.users[3] = 0
    np.testing.assert_array_equal(
        with_cells(1, features).recommend(3, 5).items, TopKIndex(features, SEEN).recommend(3, 5).items
    )


@pytest.mark.parametrize("wanted", [0.5, 0.9, 1.0])
def test_as_many_cells_are_looked_into_as_the_recall_takes(wanted: float) -> None:
    features = table(3, 20_000)
    exact = np.argsort(-(features.users @ features.items.T), axis=1)[:, :20]
    found = build(features, IndexConfig(recall=wanted))
    hits = [np.isin(row, found.best(user, 20)).mean() for row, user in zip(exact, features.users, strict=True)]
    assert np.mean(hits) == pytest.approx(found.recall, abs=0.1)
    assert np.mean(hits) >= wanted - 0.1
    assert found.users == USERS // 2
    assert found.cells.probes <= found.cells.count
    if wanted < 0.95:
        assert found.cells.probes < found.cells.count / 4, "hardly better than to look at everything"


def test_the_same_seed_gives_the_same_cells() -> None:
    one, other = (build(FEATURES, IndexConfig(recall=0.9)) for _ in range(2))
    assert (one.cells.probes, one.recall) == (other.cells.probes, other.recall)
    np.testing.assert_array_equal(one.best(FEATURES.users[0], 30), other.best(FEATURES.users[0], 30))


@pytest.mark.parametrize(
    "items",
    [
        np.ones((1, 3), np.float32),
        np.zeros((70, 3), np.float32),
        np.repeat(np.eye(3, dtype=np.float32), 40, axis=0),
        np.vstack([np.full((1, 3), 1e6), np.random.default_rng(0).standard_normal((400, 3))]).astype(np.float32),
    ],
    ids=["one item", "all zero", "equal items", "one that dwarfs the others"],
)
def test_odd_items(items: np.ndarray) -> None:
    features = Embeddings(np.array([[1, 0, 0], [-1, 2, 0], [0, 0, 0]], np.float32), items)
    found = build(features, IndexConfig(recall=1.0))
    assert 0 <= found.recall <= 1
    found.cells.probes = found.cells.count
    ours, exact = TopKIndex(features), TopKIndex(features)
    ours.approximate = found
    for user in range(3):
        np.testing.assert_allclose(ours.recommend(user, 5).scores, exact.recommend(user, 5).scores, rtol=1e-5)


def test_without_faiss_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faiss_index.importlib.util, "find_spec", lambda name: None)
    assert not faiss_index.installed()
    with pytest.raises(InputError, match=r"faiss is not installed(.|\n)*freqd\[index\](.|\n)*--index exact"):
        build(FEATURES, IndexConfig())


@settings(max_examples=60)
@given(k=st.integers(1, 40), probes=st.sampled_from([1, 3, 10**9]), users=st.lists(st.integers(0, USERS - 1)))
def test_lists_of_many_users_are_full_and_exact_where_all_cells_are_searched(
    k: int, probes: int, users: list[int]
) -> None:
    asked = np.array(users, np.int32)
    index = with_cells(probes).approximate
    assert index is not None
    items, scores = index.top_k(FEATURES, SEEN, k, asked)
    expected, best = top_k(FEATURES, SEEN, k, users=asked)
    if probes > 1000:
        np.testing.assert_array_equal(items, expected)
        np.testing.assert_allclose(scores, best, rtol=1e-4, atol=1e-5)
    for row, user in enumerate(users):
        assert len(set(items[row].tolist())) == k
        assert not set(items[row].tolist()) & set(SEEN[[user], :].indices.tolist())
        np.testing.assert_allclose(scores[row], FEATURES.items[items[row]] @ FEATURES.users[user], atol=1e-4)
    assert (np.diff(scores, axis=1) <= 0).all()


def test_who_has_more_than_the_cells_give_is_asked_of_all_items(monkeypatch: pytest.MonkeyPatch) -> None:
    index = with_cells(1).approximate
    assert index is not None
    seen = SEEN.toarray()
    seen[3, :2990] = 1
    rows, users = sparse.csr_array(seen), np.array([2, 3], np.int32)
    monkeypatch.setattr(faiss_index, "MOST_FETCHED", 100)
    items, scores = index.top_k(FEATURES, rows, 20, users)
    np.testing.assert_array_equal(items[1], top_k(FEATURES, rows, 20, users=users[1:])[0][0])
    assert (items[1] < 0).sum() == 10
    assert (items[0] >= 0).all()
    assert np.isneginf(scores[1, 10:]).all()


@pytest.mark.parametrize(
    ("config", "items", "there", "expected"),
    [
        (IndexConfig(), 499_999, True, False),
        (IndexConfig(), 500_000, True, True),
        (IndexConfig(), 500_000, False, False),
        (IndexConfig(kind="exact"), 10**9, True, False),
        (IndexConfig(kind="faiss"), 1, True, True),
    ],
)
def test_very_many_items_are_put_into_cells(
    config: IndexConfig, items: int, there: bool, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(faiss_index, "installed", lambda: there)
    assert faiss_index.wanted(faiss_index.settled(config), items) == expected


def test_an_index_travels() -> None:
    found = with_cells(5)
    copy = pickle.loads(pickle.dumps(found))
    np.testing.assert_array_equal(copy.recommend(3, 20).items, found.recommend(3, 20).items)
