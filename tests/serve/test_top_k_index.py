import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from freqd.embeddings import Embeddings
from freqd.serve import TopKIndex


def table(seed: int = 0, n_users: int = 7, n_items: int = 12, dim: int = 3, grid: bool = False) -> Embeddings:
    """Random features; with ``grid`` small integers, so that equal scores are frequent and exact."""
    rng = np.random.default_rng(seed)
    draw = (lambda shape: rng.integers(-1, 2, shape)) if grid else rng.standard_normal
    return Embeddings(draw((n_users, dim)).astype(np.float32), draw((n_items, dim)).astype(np.float32))


def pattern(seed: int = 1, n_users: int = 7, n_items: int = 12, share: float = 0.3) -> sparse.csr_array:
    return sparse.csr_array((np.random.default_rng(seed).random((n_users, n_items)) < share).astype(np.float32))


def by_hand(scores: np.ndarray, k: int, candidates: set[int]) -> list[int]:
    return sorted(candidates, key=lambda item: (-scores[item], item))[:k]


@settings(max_examples=60)
@given(
    seed=st.integers(0, 1000),
    k=st.integers(1, 15),
    exclude=st.booleans(),
    allow=st.none() | st.lists(st.integers(0, 11), max_size=12),
    deny=st.none() | st.lists(st.integers(0, 11), max_size=6),
)
def test_one_and_many_users_are_ranked_as_by_hand(seed, k, exclude, allow, deny) -> None:
    features, seen = table(seed, grid=True), pattern(seed)
    index = TopKIndex(features, seen)
    many, many_scores = index.recommend_many(range(7), k, exclude_seen=exclude, allow=allow, deny=deny)
    for user in range(7):
        candidates = set(range(12)) if allow is None else set(allow)
        candidates -= set(deny or [])
        if exclude:
            candidates -= set(seen.indices[seen.indptr[user] : seen.indptr[user + 1]].tolist())
        known = features.users[user].any()
        scores = features.items @ features.users[user] if known else seen.sum(axis=0)
        expected = by_hand(scores, k, candidates)
        found = index.recommend(user, k, exclude_seen=exclude, allow=allow, deny=deny)
        assert found.items.tolist() == expected
        np.testing.assert_allclose(found.scores, scores[expected])
        assert many[user].tolist() == expected + [-1] * (k - len(expected))
        assert np.isneginf(many_scores[user, len(expected) :]).all()


@pytest.mark.parametrize("allow", [None, [1, 2, 3, 5, 8, 11]])
@pytest.mark.parametrize("deny", [None, [2, 9]])
def test_a_model_that_is_more_than_its_features_ranks_for_users_it_knows(allow, deny) -> None:
    features, full, seen = table(0), table(1, dim=9), pattern()
    features.users[4] = 0.0
    index = TopKIndex(features, seen, full=full)
    many, _ = index.recommend_many(range(7), 4, allow=allow, deny=deny)
    for user in range(7):
        candidates = set(range(12) if allow is None else allow) - set(deny or []) - set(seen[[user]].indices.tolist())
        scores = seen.sum(axis=0) if user == 4 else full.items @ full.users[user]
        expected = by_hand(scores, 4, candidates)
        assert index.recommend(user, 4, allow=allow, deny=deny).items.tolist() == expected
        assert [item for item in many[user].tolist() if item >= 0] == expected
    stranger = index.recommend_history([1, 3], 4)
    np.testing.assert_array_equal(stranger.items, TopKIndex(features, seen).recommend_history([1, 3], 4).items)


def test_many_users_in_any_order_and_none() -> None:
    index = TopKIndex(table(), pattern())
    items, scores = index.recommend_many([5, 0, 5], 4)
    np.testing.assert_array_equal(items[0], items[2])
    np.testing.assert_array_equal(items[1], index.recommend(0, 4).items)
    np.testing.assert_allclose(scores[1], index.recommend(0, 4).scores, rtol=1e-5)
    assert index.recommend_many([], 4)[0].shape == (0, 4)


def test_without_seen_nothing_is_left_out() -> None:
    features = table()
    assert len(TopKIndex(features).recommend(0, 12).items) == 12


def test_who_met_an_item_twice_or_in_another_order_is_the_same() -> None:
    index = TopKIndex(table(n_items=30))
    np.testing.assert_array_equal(index.fold_in([2, 5, 17], alpha=4.0), index.fold_in([17, 2, 5, 5], alpha=4.0))
    assert index.fold_in([]).tolist() == [0.0] * 3


def test_fold_in_does_not_depend_on_the_scale_of_the_items() -> None:
    features = table(n_items=30)
    scaled = Embeddings(features.users, features.items * np.float32(100.0))
    first = TopKIndex(features).recommend_history([1, 2], 5)
    second = TopKIndex(scaled).recommend_history([1, 2], 5)
    assert first.items.tolist() == second.items.tolist()
    np.testing.assert_allclose(first.scores, second.scores, rtol=1e-4)


def test_a_new_user_with_the_taste_of_a_group_gets_that_group() -> None:
    group = np.arange(40) % 4
    items = np.eye(4, dtype=np.float32)[group] + 0.05 * np.random.default_rng(0).standard_normal((40, 4)).astype(
        np.float32
    )
    index = TopKIndex(Embeddings(np.zeros((1, 4), np.float32), items))
    found = index.recommend_history([3, 7, 11], 7)
    assert set(group[found.items]) == {3}
    assert not {3, 7, 11} & set(found.items.tolist())


def test_nothing_known_means_popular() -> None:
    seen = sparse.csr_array(np.array([[1, 0, 1, 0], [0, 0, 1, 0], [0, 1, 1, 0]], np.float32))
    features = table(n_users=3, n_items=4)
    features.users[1] = 0
    index = TopKIndex(features, seen)
    assert index.recommend_history([], 3).items.tolist() == [2, 0, 1]
    assert index.popular(2, deny=[2]).items.tolist() == [0, 1]
    assert index.popular(2, exclude=[0], allow=[0, 3]).items.tolist() == [3]
    assert index.recommend(1, 2).items.tolist() == [0, 1]  # item 2 is seen
    assert index.recommend(1, 1, exclude_seen=False).scores.tolist() == [3.0]
    given_counts = TopKIndex(features, popularity=np.array([0, 9, 1, 5]))
    assert given_counts.popular(2).items.tolist() == [1, 3]


def test_similar_items_by_cosine() -> None:
    features = table(n_items=20)
    features.items[4] = 0
    index = TopKIndex(features)
    unit = features.items / np.linalg.norm(features.items, axis=1, keepdims=True).clip(1e-30)
    cosine = unit @ unit[7]
    expected = by_hand(cosine, 5, set(range(20)) - {4, 7})
    found = index.similar(7, 5)
    assert found.items.tolist() == expected
    np.testing.assert_allclose(found.scores, cosine[expected], rtol=1e-5)
    assert len(index.similar(7, 20).items) == 18
    assert index.similar(7, 2, allow=[0, 1, 7]).items.tolist() == by_hand(cosine, 2, {0, 1})
    assert len(index.similar(4, 3).items) == 0


def test_the_questions_change_nothing() -> None:
    features, seen = table(), pattern()
    before = features.users.copy(), features.items.copy()
    index = TopKIndex(features, seen)
    popularity = index.popularity.copy()
    for _ in range(2):
        index.recommend(0, 3, deny=[1])
        index.popular(3, exclude=[0])
        index.similar(2, 3)
        index.recommend_history([1], 3)
    np.testing.assert_array_equal(features.users, before[0])
    np.testing.assert_array_equal(features.items, before[1])
    np.testing.assert_array_equal(index.popularity, popularity)


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda index: index.recommend(7), "user 7 is out of range: there are 7 users"),
        (lambda index: index.recommend(-1), "user -1"),
        (lambda index: index.recommend(0, 0), "k must be at least 1"),
        (lambda index: index.recommend_many([0], 0, allow=[1]), "k must be at least 1"),
        (lambda index: index.recommend_many([9]), "user 9"),
        (lambda index: index.recommend(0, allow=[12]), "item 12 is out of range"),
        (lambda index: index.recommend(0, deny=[-2]), "item -2"),
        (lambda index: index.recommend_history([99]), "item 99"),
        (lambda index: index.recommend_history([0.5]), "integers"),
        (lambda index: index.similar(12), "item 12"),
    ],
)
def test_what_is_out_of_range_is_refused(ask, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ask(TopKIndex(table(), pattern()))


def test_shapes_must_fit() -> None:
    with pytest.raises(ValueError, match="seen has shape"):
        TopKIndex(table(), pattern(n_items=11))
    with pytest.raises(ValueError, match="popularity has shape"):
        TopKIndex(table(), popularity=np.zeros(3, np.int64))


@settings(max_examples=40)
@given(
    seed=st.integers(0, 1000),
    n_items=st.sampled_from([2047, 2048, 2049, 5000]),
    k=st.sampled_from([1, 20, 300, 2000, 6000]),
    values=st.sampled_from([2, 50, 10**6]),
    excluded=st.sampled_from([0, 100, 2000]),
)
def test_many_items_are_ranked_as_by_a_full_sort(seed, n_items, k, values, excluded) -> None:
    rng = np.random.default_rng(seed)
    items = rng.integers(0, values, (n_items, 1)).astype(np.float32)
    index = TopKIndex(Embeddings(np.ones((1, 1), np.float32), items))
    left_out = rng.choice(n_items, excluded, replace=False)
    found = index.recommend_vector(np.ones(1, np.float32), k, exclude=left_out)
    expected = np.lexsort((np.arange(n_items), -items[:, 0]))
    expected = expected[~np.isin(expected, left_out)][:k]
    np.testing.assert_array_equal(found.items, expected)
    np.testing.assert_array_equal(found.scores, items[expected, 0])
