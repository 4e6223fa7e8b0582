from __future__ import annotations

import numpy as np
import pytest
import torch

from freqd.config import ObjectiveConfig
from freqd.distill import build_objectives
from freqd.distill.listed_scores import drop_listed, sample_listed
from freqd.distill.objectives._relaxed import relaxed_ranking_loss
from freqd.distill.objectives.dcd import rank_among
from freqd.numerics.listed_scores import NO_ITEM
from freqd.training.sampling import Batch

RANKING = Batch(*(torch.tensor([0]) for _ in range(3)), rank_users=torch.tensor([2, 0, 77]))


def build(name, context, **options):
    return build_objectives([ObjectiveConfig(name=name, options=options)], context)[0]


def begun(name, choices, new_context, random_table, **options):
    split, teacher = choices
    context = new_context(split, teacher, 4)
    student = random_table(np.random.default_rng(5), 150, 120, 4)
    term = build(name, context, **options)
    term.begin_epoch(1, student, np.random.default_rng(0))
    return term, context, student


def ranking(features, context, user):
    scores = features.users[user] @ features.items.T
    return np.argsort(-np.where(context.train.toarray()[user] > 0, -np.inf, scores), kind="stable")


def test_samples_follow_their_weights_and_keep_the_order():
    lists = np.tile(np.array([9, 4, 7, NO_ITEM], np.int32), (20_000, 1))
    weights = np.log(np.array([0.6, 0.3, 0.1, 50.0]))
    one = sample_listed(lists, weights, 1, np.random.default_rng(0))
    np.testing.assert_allclose([(one == item).mean() for item in (9, 4, 7)], [0.6, 0.3, 0.1], atol=0.012)
    two = sample_listed(lists, weights, 2, np.random.default_rng(0))
    assert {tuple(row) for row in two.tolist()} == {(9, 4), (9, 7), (4, 7)}
    all_of_them = sample_listed(lists[:1], np.array([0.0, -np.inf, 0.0, 0.0]), 4, np.random.default_rng(0))
    assert all_of_them.tolist() == [[9, NO_ITEM, 7, NO_ITEM]]


def test_listed_items_are_dropped():
    items = np.array([[3, 5, 3, 8], [1, 2, 3, 4]], np.int32)
    drop_listed(items, np.array([[8, 3], [9, NO_ITEM]], np.int32))
    assert items.tolist() == [[NO_ITEM, 5, NO_ITEM, NO_ITEM], [1, 2, 3, 4]]


def test_ranks_among_others():
    ranks = rank_among(np.array([[5, 1, 7]], np.int32), np.array([[7, 2, 5]], np.int32))
    assert ranks.tolist() == [[2, 3, 0]]


def test_relaxed_ranking_loss_by_hand():
    s = torch.tensor([[0.5, -1.0, 2.0]], requires_grad=True)
    z = torch.tensor([[0.1, 9.0]], requires_grad=True)
    there, below = torch.tensor([[True, True, False]]), torch.tensor([[True, False]])
    loss = relaxed_ranking_loss(s, z, there, below)
    e = np.exp
    first = -np.log(e(0.5) / (e(0.5) + e(-1.0) + e(0.1)))
    second = -np.log(e(-1.0) / (e(-1.0) + e(0.1)))
    np.testing.assert_allclose(loss.item(), (first + second) / 2, rtol=1e-6)
    loss.backward()
    assert s.grad[0, 2] == z.grad[0, 1] == 0.0
    assert torch.isfinite(s.grad).all()


def test_rrd_by_hand(choices, new_context, random_table, view_of):
    term, context, student = begun(
        "rrd", choices, new_context, random_table, candidates=6, interesting=3, uninteresting=4, sharpness=2.0
    )
    total, count = 0.0, 0
    for user in RANKING.rank_users.tolist():
        best = ranking(context.teacher, context, user)[:6].tolist()
        interesting = term.lists[user, :3].tolist()
        uninteresting = [item for item in term.lists[user, 3:].tolist() if item >= 0]
        assert [best.index(item) for item in interesting] == sorted(best.index(item) for item in interesting)
        assert not set(uninteresting) & set(best)
        s = np.exp(student.users[user] @ student.items[interesting].T)
        z = np.exp(student.users[user] @ student.items[uninteresting].T).sum() if uninteresting else 0.0
        total -= sum(np.log(s[k] / (s[k:].sum() + z)) for k in range(3))
        count += 3
    np.testing.assert_allclose(term.loss(view_of(student), RANKING).item(), total / count, rtol=1e-4)


def test_cd_by_hand(choices, new_context, random_table, view_of):
    term, context, student = begun(
        "cd", choices, new_context, random_table, candidates=6, drawn=3, temperature=2.0, shift=-1.0
    )
    losses = []
    for user in RANKING.rank_users.tolist():
        items = term.lists[user].numpy()
        assert set(items) <= set(ranking(context.teacher, context, user)[:6])
        t = context.teacher.users[user] @ context.teacher.items[items].T
        q = 1 / (1 + np.exp(-(t / (2.0 * context.spread) - 1.0)))
        p = 1 / (1 + np.exp(-(student.users[user] @ student.items[items].T)))
        losses.extend(-(q * np.log(p) + (1 - q) * np.log(1 - p)))
    np.testing.assert_allclose(term.loss(view_of(student), RANKING).item(), np.mean(losses), rtol=1e-4)


def test_dcd_draws_what_the_student_gets_wrong(choices, new_context, random_table, view_of):
    term, context, student = begun("dcd", choices, new_context, random_table, candidates=10, drawn=4)
    total, count = 0.0, 0
    for user in RANKING.rank_users.tolist():
        theirs = ranking(context.teacher, context, user).tolist()
        own = ranking(student, context, user).tolist()
        under = [item for item in term.lists[user, :4].tolist() if item >= 0]
        over = [item for item in term.lists[user, 4:].tolist() if item >= 0]
        assert all(theirs.index(item) < min(own.index(item), 10) for item in under)
        assert all(own.index(item) < min(theirs.index(item), 10) for item in over)
        s = np.exp(student.users[user] @ student.items[under].T)
        z = np.exp(student.users[user] @ student.items[over].T).sum()
        total -= sum(np.log(s[k] / (s[k:].sum() + z)) for k in range(len(under)))
        count += len(under)
    np.testing.assert_allclose(term.loss(view_of(student), RANKING).item(), total / count, rtol=1e-4)


def test_dcd_has_nothing_to_correct_in_a_perfect_student(choices, new_context, view_of):
    split, teacher = choices
    term = build("dcd", new_context(split, teacher, 12))
    term.begin_epoch(1, teacher, np.random.default_rng(0))
    assert (term.lists == NO_ITEM).all()
    assert term.loss(view_of(teacher), RANKING).item() == 0.0


@pytest.mark.parametrize("name", ["cd", "dcd", "rrd"])
def test_ranking_terms_learn_from_the_filtered_teacher_on_demand(name, choices, new_context, random_table):
    split, teacher = choices
    context = new_context(split, teacher, 4)
    object.__setattr__(context, "ranking_teacher", random_table(np.random.default_rng(9), 150, 120, 12))
    raw, filtered = build(name, context), build(name, context, filtered=True)
    assert raw.best[0, :50].tolist() == ranking(teacher, context, 0)[:50].tolist()
    assert raw.best[0, :50].tolist() != filtered.best[0, :50].tolist()
