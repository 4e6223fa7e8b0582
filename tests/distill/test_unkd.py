from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from freqd.config import ObjectiveConfig
from freqd.distill import build_objectives
from freqd.distill.objectives.unkd import draw_rank_pairs, groups_of_equal_interactions
from freqd.embeddings import Embeddings
from freqd.numerics.listed_scores import NO_ITEM
from freqd.training.sampling import Batch

RANKING = Batch(*(torch.tensor([0]) for _ in range(3)), rank_users=torch.tensor([2, 0, 77]))


def build(context, **options):
    return build_objectives([ObjectiveConfig(name="unkd", options=options)], context)[0]


def with_counts(counts):
    columns = [np.arange(max(counts)) < count for count in counts]
    return sparse.csr_array(np.stack(columns, axis=1).astype(np.float32))


def test_groups_have_about_equal_interactions():
    groups = groups_of_equal_interactions(with_counts([1, 6, 2, 3, 0, 4, 2]), 3)
    assert [group.tolist() for group in groups] == [[1], [3, 5], [0, 2, 4, 6]]


def test_an_item_above_a_groups_share_leaves_fewer_groups():
    assert [group.tolist() for group in groups_of_equal_interactions(with_counts([1, 9, 1]), 4)] == [[1], [0, 2]]
    assert [group.tolist() for group in groups_of_equal_interactions(sparse.csr_array((3, 4)), 2)] == [[0, 1, 2, 3]]


@given(st.lists(st.integers(0, 20), min_size=1, max_size=30).filter(any), st.integers(1, 6))
def test_groups_are_a_partition_by_falling_popularity(counts, number):
    groups = groups_of_equal_interactions(with_counts(counts), number)
    assert sorted(np.concatenate(groups).tolist()) == list(range(len(counts)))
    assert 1 <= len(groups) <= number
    popularity = np.array(counts)
    assert all(popularity[a].min() >= popularity[b].max() for a, b in pairwise(groups))


@pytest.mark.parametrize("sharpness", [0.7, 5.0])
def test_rank_pairs_follow_their_probabilities(sharpness):
    first, second = draw_rank_pairs(np.full(100_000, 4), sharpness, np.random.default_rng(0))
    weights = np.exp(-np.arange(4) / sharpness)
    weights /= weights.sum()
    for a in range(4):
        for b in range(a + 1, 4):
            expected = weights[a] * weights[b] * (1 / (1 - weights[a]) + 1 / (1 - weights[b]))
            np.testing.assert_allclose(((first == a) & (second == b)).mean(), expected, atol=0.006)


@given(st.integers(2, 10_000), st.floats(1e-3, 1e6), st.integers(0, 2**32))
def test_rank_pairs_are_two_different_ranks_in_order(size, sharpness, seed):
    first, second = draw_rank_pairs(np.full(50, size), sharpness, np.random.default_rng(seed))
    assert ((first >= 0) & (first < second) & (second < size)).all()


def test_unkd_by_hand(choices, new_context, random_table, view_of):
    split, teacher = choices
    context = new_context(split, teacher, 4)
    student = random_table(np.random.default_rng(5), 150, 120, 4)
    term = build(context, groups=3, candidates=8, pairs=2, sharpness=3.0)
    term.begin_epoch(1, student, np.random.default_rng(0))
    groups = groups_of_equal_interactions(context.train, 3)
    seen = context.train.toarray() > 0
    losses = []
    for user in RANKING.rank_users.tolist():
        above, below = term.lists[user].numpy().reshape(2, 3, 2)
        ranking = np.argsort(-np.where(seen[user], -np.inf, teacher.users[user] @ teacher.items.T)).tolist()
        for number, group in enumerate(groups):
            best = [item for item in ranking if item in group and not seen[user, item]][:8]
            for i, j in zip(above[number], below[number], strict=True):
                assert best.index(i) < best.index(j)
                s = student.users[user] @ student.items[[i, j]].T
                losses.append(np.log1p(np.exp(-(s[0] - s[1]))))
    np.testing.assert_allclose(term.loss(view_of(student), RANKING).item(), np.mean(losses), rtol=1e-4)


def test_groups_with_fewer_than_two_unseen_items_give_no_pairs(choices, new_context, random_table, view_of):
    split, teacher = choices
    context = new_context(split, teacher, 4)
    full = context.train.tolil()
    full[0] = 1.0
    full[1] = 1.0
    least_popular = groups_of_equal_interactions(context.train, 2)[1]
    full[1, least_popular[:1]] = 0.0
    full[2] = 1.0
    full[2, least_popular[:2]] = 0.0
    dense = sparse.csr_array(full.tocsr())
    dense.eliminate_zeros()
    object.__setattr__(context, "train", dense)
    term = build(context)
    student = random_table(np.random.default_rng(0), 150, 120, 4)
    term.begin_epoch(1, student, np.random.default_rng(0))
    assert (term.lists[:2] == NO_ITEM).all()
    assert sorted(set(term.lists[2].tolist()) - {NO_ITEM}) == sorted(least_popular[:2].tolist())
    view = view_of(student)
    loss = term.loss(view, Batch(RANKING.users, RANKING.positives, RANKING.negatives, torch.tensor([0, 1])))
    loss.backward()
    assert loss.item() == 0.0
    assert torch.isfinite(view.user_table.grad).all()


def test_the_filtered_teacher_is_imitated_on_demand(choices, new_context):
    split, teacher = choices
    context = new_context(split, teacher, 4)
    object.__setattr__(context, "ranking_teacher", Embeddings(teacher.users, -teacher.items))
    assert build(context).best[0, 0].tolist() != build(context, filtered=True).best[0, 0].tolist()


def test_training_lowers_the_loss(choices, new_context, random_table, view_of):
    split, teacher = choices
    term = build(new_context(split, teacher, 4))
    student = random_table(np.random.default_rng(5), 150, 120, 4)
    view = view_of(student)
    optimizer = torch.optim.Adam([view.user_table, view.item_table], lr=0.05)
    everyone = torch.arange(150)
    losses = []
    for epoch in range(1, 31):
        term.begin_epoch(epoch, student, np.random.default_rng(epoch))
        loss = term.loss(view, Batch(everyone, everyone, everyone, everyone))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.6 * losses[0]
