"""The places of the targets are those of the full ranking, however little of it is looked at."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from freqd.data.interactions import Split
from freqd.embeddings import Embeddings
from freqd.evaluate import metrics, target_ranks, top_k
from freqd.evaluate.target_ranks import ndcg_of_users, target_hits
from freqd.numerics import threads


def pattern(rng: np.random.Generator, shape: tuple[int, int], density: float) -> sparse.csr_array:
    return sparse.csr_array((rng.random(shape) < density).astype(np.float32))


def from_lists(
    features: Embeddings, seen: sparse.csr_array, wanted: sparse.csr_array, k: int, users: np.ndarray
) -> metrics.Hits:
    return metrics.hits(top_k(features, seen, k, users=users)[0], wanted, users)


@settings(max_examples=80)
@given(
    seed=st.integers(0, 2**32 - 1),
    n_items=st.integers(1, 60),
    k=st.integers(1, 70),
    seen_share=st.sampled_from([0.0, 0.2, 1.0]),
    target_share=st.sampled_from([0.0, 0.05, 0.6]),
    block=st.integers(1, 17),
    scores=st.integers(1, 90),
)
def test_equals_the_full_ranking_for_any_tiling(
    seed: int, n_items: int, k: int, seen_share: float, target_share: float, block: int, scores: int
) -> None:
    rng = np.random.default_rng(seed)
    # whole numbers: inner products are exact, and many are equal; the last item is far longer than the others
    items = rng.integers(-2, 3, (n_items, 3)).astype(np.float32)
    items[-1] *= 5
    features = Embeddings(rng.integers(-2, 3, (30, 3)).astype(np.float32), items)
    seen, wanted = pattern(rng, (30, n_items), seen_share), pattern(rng, (30, n_items), target_share)
    users = rng.permutation(30)[:21].astype(np.int32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(target_ranks, "USER_BLOCK", block)
        patch.setattr(target_ranks, "TILE_SCORES", scores)
        found = target_hits(features, seen, wanted, k, users)
    np.testing.assert_array_equal(found, from_lists(features, seen, wanted, k, users))


@pytest.mark.parametrize("workers", [1, 3])
def test_real_valued_scores_of_a_recommender(
    grocery_split: Split, grocery_features: Embeddings, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threads, "count", lambda: workers)
    seen, wanted = grocery_split.train.matrix(), grocery_split.valid.matrix()
    users = np.flatnonzero(np.diff(wanted.indptr)).astype(np.int32)
    found = target_hits(grocery_features, seen, wanted, 10, users)
    np.testing.assert_array_equal(found, from_lists(grocery_features, seen, wanted, 10, users))
    assert found.any()


def test_equal_items_are_told_apart_by_their_id_and_not_by_rounding() -> None:
    # a collapsed model: all items are the same, so the first ten unseen ones lead, and no target beyond them is found
    rng = np.random.default_rng(3)
    features = Embeddings(
        rng.normal(size=(50, 37)).astype(np.float32),
        np.repeat(rng.normal(size=(1, 37)).astype(np.float32), 900, axis=0),
    )
    nothing = sparse.csr_array((50, 900), dtype=np.float32)
    wanted = sparse.lil_array((50, 900), dtype=np.float32)
    wanted[:, [3, 700]] = 1.0
    found = target_hits(features, nothing, wanted.tocsr(), 10, np.arange(50, dtype=np.int32))
    assert (np.flatnonzero(found[0]) == [3]).all()
    assert (found == found[0]).all()


def test_users_leave_once_their_targets_are_beaten_or_safe(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    users, items = rng.normal(size=(200, 8)), rng.normal(size=(5000, 8)) * rng.exponential(size=(5000, 1))
    features = Embeddings(users.astype(np.float32), items.astype(np.float32))
    wanted = pattern(rng, (200, 5000), 0.001)
    asked = np.flatnonzero(np.diff(wanted.indptr)).astype(np.int32)
    looked_at = []
    look = target_ranks._Places.look

    def counted(self: target_ranks._Places, tile: np.ndarray, *rest: Any) -> None:
        looked_at.append(tile.size)
        look(self, tile, *rest)

    monkeypatch.setattr(target_ranks, "TILE_SCORES", 1 << 14)
    monkeypatch.setattr(target_ranks._Places, "look", counted)
    nothing = sparse.csr_array((200, 5000), dtype=np.float32)
    found = target_hits(features, nothing, wanted, 10, asked)
    np.testing.assert_array_equal(found, from_lists(features, nothing, wanted, 10, asked))
    assert sum(looked_at) < 0.2 * len(asked) * 5000


def test_refuses_numbers_that_cannot_be_ranked() -> None:
    one = sparse.csr_array(np.ones((2, 3), np.float32))
    none = sparse.csr_array((2, 3), dtype=np.float32)
    asked = np.arange(2, dtype=np.int32)
    broken = Embeddings(np.ones((2, 2), np.float32), np.full((3, 2), np.nan, np.float32))
    with pytest.raises(ValueError, match="item 0 are not finite"):
        target_hits(broken, none, one, 2, asked)
    huge = Embeddings(np.full((2, 2), 1e25, np.float32), np.full((3, 2), 1e25, np.float32))
    with pytest.raises(ValueError, match="too large for float32"):
        target_hits(huge, none, one, 2, asked)
    with pytest.raises(ValueError, match="no user has a validation item"):
        ndcg_of_users(huge, one, none)
