from __future__ import annotations

import numpy as np
import pytest
import torch

from freqd.config import ObjectiveConfig
from freqd.distill import build_objectives
from freqd.distill.experts import ExpertSettings, SelectedExperts
from freqd.distill.objectives.htd import topology_loss
from freqd.distill.objectives.pckd import list_consistency, pair_consistency
from freqd.embeddings import Embeddings
from freqd.training.sampling import Batch

SMALL = Batch(
    users=torch.tensor([0, 0, 2]),
    positives=torch.tensor([1, 4, 1]),
    negatives=torch.tensor([4, 5, 6]),
    rank_users=torch.tensor([2, 0, 77]),
)
NAMES = ("de", "htd", "pckd")


def build(name, context, **options):
    return build_objectives([ObjectiveConfig(name=name, options={"every": 1} | options)], context)[0]


@pytest.fixture
def context(choices, new_context):
    split, teacher = choices
    return new_context(split, teacher, 4)


@pytest.fixture
def student(random_table):
    return random_table(np.random.default_rng(5), 150, 120, 4)


def mlp(expert, row):
    weights = {name: value.detach().numpy() for name, value in expert.named_parameters()}
    return np.maximum(row @ weights["inner"] + weights["inner_bias"], 0) @ weights["outer"] + weights["outer_bias"]


def softmax(x):
    e = np.exp(x - x.max())
    return e / e.sum()


def test_the_temperature_falls_exponentially_and_stays_at_its_end():
    options = ExpertSettings(start_temperature=2.0, end_temperature=0.02, anneal_epochs=4)
    temperatures = [options.temperature(epoch) for epoch in (1, 3, 5, 50)]
    np.testing.assert_allclose(temperatures, [2.0, 0.2, 0.02, 0.02])


@pytest.mark.parametrize("temperature", [1.0, 0.05, 1e-10])
def test_experts_are_mixed_by_the_teachers_row(temperature):
    generator = torch.Generator().manual_seed(1)
    network = SelectedExperts(2, 3, generator, experts=4)
    rows, teacher, noise = (torch.randn(6, size, generator=generator) for size in (2, 3, 4))
    selection = network.selection.detach().numpy()
    projected = network(rows, teacher, noise, temperature).detach().numpy()
    for n in range(6):
        alpha = softmax(teacher[n].numpy() @ selection)
        z = softmax((np.log(alpha) + noise[n].numpy()) / temperature)
        expected = sum(z[e] * mlp(network.experts[e], rows[n].numpy()) for e in range(4))
        np.testing.assert_allclose(projected[n], expected, rtol=1e-4, atol=1e-5)


def test_experts_that_are_left_out_do_not_change_any_gradient():
    generator = torch.Generator().manual_seed(1)
    network = SelectedExperts(2, 3, generator, experts=4)
    rows, teacher, noise = (torch.randn(6, size, generator=generator) for size in (2, 3, 4))
    shares = torch.softmax((network.logits(teacher) + noise) / 0.02, dim=1)
    assert (shares == 0).any()
    assert ((shares > 0).sum(1) > 1).any()
    whole = torch.einsum("ne,end->nd", shares, torch.stack([expert(rows) for expert in network.experts]))
    expected = torch.autograd.grad(whole.square().sum(), list(network.parameters()))
    got = torch.autograd.grad(network(rows, teacher, noise, 0.02).square().sum(), list(network.parameters()))
    for one, other in zip(got, expected, strict=True):
        torch.testing.assert_close(one, other)


def test_gumbel_noise_draws_experts_with_their_probabilities(context):
    side = build("de", context, experts=3).user
    side.begin_epoch(1, np.random.default_rng(0))
    seen = {}
    side.network.forward = lambda rows, teacher, noise, temperature: seen.setdefault("noise", noise)  # type: ignore[method-assign]
    side.project(torch.zeros(40_000, 4), torch.zeros(40_000, dtype=torch.int64))
    alpha = torch.softmax(side.network.logits(side.target[:1])[0], 0).detach()
    drawn = torch.bincount((alpha.log() + seen["noise"]).argmax(1)) / 40_000
    torch.testing.assert_close(drawn, alpha, atol=0.01, rtol=0.0)


def expected_unmatched(term, student, noise_of):
    """The loss of DE by its equation, row by row, with noise that is made to be known."""
    total = 0.0
    for side, table, counts in (
        (term.user, student.users, {0: 1 / 2, 2: 1 / 2}),
        (term.item, student.items, {1: 1 / 4, 4: 1 / 4 + 1 / 6, 5: 1 / 6, 6: 1 / 6}),
    ):
        distance = energy = 0.0
        for row, share in counts.items():
            t = side.target[row].numpy()
            alpha = softmax(t @ side.network.selection.detach().numpy())
            z = softmax((np.log(alpha) + noise_of(len(alpha))) / side.temperature)
            projected = sum(z[e] * mlp(expert, table[row]) for e, expert in enumerate(side.network.experts))
            distance += share * ((t - projected) ** 2).sum()
            energy += share * (t**2).sum()
        total += distance / energy
    return total


def quiet(term):
    """Take the noise away, so that the losses can be computed by hand."""
    for side in (term.user, term.item):
        project = side.network.forward
        side.network.forward = lambda rows, teacher, noise, temperature, project=project: project(
            rows, teacher, torch.zeros_like(noise), temperature
        )
    return term


def test_de_by_hand(context, student, view_of):
    term = quiet(build("de", context, experts=3, start_temperature=0.5, anneal_epochs=7))
    term.begin_epoch(2, student, np.random.default_rng(0))
    assert term.user.temperature == term.item.temperature == term.options.temperature(2) < 0.5
    expected = expected_unmatched(term, student, np.zeros)
    np.testing.assert_allclose(term.loss(view_of(student), SMALL).item(), expected, rtol=1e-4)


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def dense_topology(teacher, student, groups):
    def cosines(rows):
        means = np.stack([rows[groups == g].mean(0) for g in np.unique(groups)])
        return unit(rows) @ unit(rows).T, unit(means) @ unit(rows).T

    (a_teacher, h_teacher), (a_student, h_student) = cosines(teacher), cosines(student)
    same = groups[:, None] == groups
    total = ((a_teacher - a_student)[same] ** 2).sum() + ((h_teacher - h_student) ** 2).sum()
    return total / (same.sum() + h_teacher.size)


@pytest.mark.parametrize("rows", [7, 60])
def test_the_topology_is_that_of_the_dense_matrices_of_cosines(rows):
    rng = np.random.default_rng(rows)
    teacher, student = rng.normal(size=(rows, 6)), rng.normal(size=(rows, 3))
    groups = rng.choice([0, 3, 4], rows)
    loss = topology_loss(torch.tensor(teacher), torch.tensor(student), torch.tensor(groups))
    np.testing.assert_allclose(loss.item(), dense_topology(teacher, student, groups), rtol=1e-9)
    equal = topology_loss(torch.tensor(teacher), torch.tensor(teacher * 2.0), torch.tensor(groups))
    assert abs(equal.item()) < 1e-12


def test_the_topology_of_no_rows_is_zero():
    student = torch.zeros(0, 3, requires_grad=True)
    assert topology_loss(torch.zeros(0, 6), student, torch.zeros(0, dtype=torch.int64)).item() == 0.0


@pytest.mark.parametrize("name", ["de", "htd"])
def test_a_sample_is_a_part_of_the_batch(context, student, view_of, name):
    first = Batch(SMALL.users[:2], SMALL.positives[:2], SMALL.negatives[:2], SMALL.rank_users)
    losses = []
    for batch, sample in ((SMALL, 2), (first, 9)):
        term = build(name, context, sample=sample)
        term.begin_epoch(1, student, np.random.default_rng(0))
        losses.append(term.loss(view_of(student), batch).item())
    assert losses[0] == losses[1]


def test_htd_by_hand(context, student, view_of):
    term = quiet(build("htd", context, experts=3, balance=0.8))
    term.begin_epoch(1, student, np.random.default_rng(0))
    users, items = [0, 2], [1, 4, 5, 6]
    teacher = np.concatenate([context.teacher.users[users], context.teacher.items[items]])
    own = np.concatenate([student.users[users], student.items[items]])
    groups = np.concatenate(
        [
            (side.target[rows].numpy() @ side.network.selection.detach().numpy()).argmax(1) + first
            for side, rows, first in ((term.user, users, 0), (term.item, items, 3))
        ]
    )
    expected = 0.8 * dense_topology(teacher, own, groups) + 0.2 * expected_unmatched(term, student, np.zeros)
    np.testing.assert_allclose(term.loss(view_of(student), SMALL).item(), expected, rtol=1e-4)


def test_consistency_by_hand():
    before = torch.tensor([[2.0, 1.0, 5.0], [0.0, 0.0, 0.0]])
    after = torch.tensor([[1.0, 3.0, 9.0], [0.0, 0.0, 0.0]])
    there = torch.tensor([[True, True, False], [False, False, False]])
    pair = np.log(1 + np.exp(-(2.0 - 1.0) * (1.0 - 3.0)))
    np.testing.assert_allclose(pair_consistency(before, after, there).item(), pair, rtol=1e-6)
    p, q = softmax(np.array([2.0, 1.0])), softmax(np.array([1.0, 3.0]))
    np.testing.assert_allclose(list_consistency(before, after, there).item(), -(p * np.log(q)).sum(), rtol=1e-6)
    nothing = torch.zeros_like(there)
    assert pair_consistency(before, after, nothing).item() == list_consistency(before, after, nothing).item() == 0.0


@pytest.mark.parametrize("guide", ["student", "teacher"])
def test_pckd_by_hand(context, student, view_of, guide):
    term = quiet(build("pckd", context, experts=2, guide=guide, candidates=6, drawn=3, softness=2.0, consistency=0.3))
    term.begin_epoch(1, student, np.random.default_rng(0))
    of = student if guide == "student" else context.teacher
    seen = context.train.toarray() > 0
    projected = Embeddings(
        *(
            side.project(torch.tensor(rows), torch.arange(len(rows))).detach().numpy()
            for side, rows in ((term.user, student.users), (term.item, student.items))
        )
    )
    pairs, lists = [], []
    for user in SMALL.rank_users.tolist():
        items = term.lists[user].numpy()
        best = np.argsort(-np.where(seen[user], -np.inf, of.users[user] @ of.items.T))[:6]
        assert set(items) <= set(best.tolist())
        before, after = (table.users[user] @ table.items[items].T for table in (student, projected))
        for i, j in ((0, 1), (0, 2), (1, 2)):
            pairs.append(np.log1p(np.exp(-(before[i] - before[j]) * (after[i] - after[j]))))
        lists.append(-(softmax(before / 2.0) * np.log(softmax(after / 2.0))).sum())
    expected = expected_unmatched(term, student, np.zeros) + 0.3 * (np.mean(pairs) + np.mean(lists))
    np.testing.assert_allclose(term.loss(view_of(student), SMALL).item(), expected, rtol=1e-4)


def test_consistency_moves_the_experts_but_not_the_student(context, student, view_of):
    gradients = []
    for consistency in (0.0, 1.0):
        term, view = build("pckd", context, consistency=consistency), view_of(student)
        term.begin_epoch(1, student, np.random.default_rng(0))
        term.user.generator.manual_seed(0)
        term.item.generator.manual_seed(0)
        term.loss(view, SMALL).backward()
        gradients.append((view.user_table.grad, term.user.network.experts[0].outer.grad))
    rank_only = [user for user in SMALL.rank_users.tolist() if user not in SMALL.users.tolist()]
    assert rank_only
    assert not any(grad[rank_only].any() for grad, _ in gradients)
    assert not torch.equal(gradients[0][1], gradients[1][1])


@pytest.mark.parametrize("name", NAMES)
def test_the_noise_is_that_of_the_epoch(name, context, student, view_of):
    losses = []
    for start in (1, 3):  # an uninterrupted training, and one that is resumed after epoch 2
        term = build(name, context)
        for epoch in range(start, 4):
            term.begin_epoch(epoch, student, np.random.default_rng([9, epoch]))
            last = term.loss(view_of(student), SMALL).item()
        losses.append(last)
    assert losses[0] == losses[1]


@pytest.mark.parametrize("name", NAMES)
def test_training_lowers_the_loss_of_expert_terms(name, context, student, view_of):
    term, view = build(name, context, anneal_epochs=5), view_of(student)
    optimizer = torch.optim.Adam([view.user_table, view.item_table, *term.parameters()], lr=0.02)
    everyone = torch.arange(150)
    batch = Batch(everyone, torch.arange(150) % 120, torch.arange(1, 151) % 120, everyone)
    losses = []
    for epoch in range(1, 26):
        term.begin_epoch(epoch, student, np.random.default_rng(epoch))
        loss = term.loss(view, batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert np.mean(losses[-5:]) < 0.7 * losses[0]


@pytest.mark.parametrize("name", NAMES)
def test_users_without_features_or_items_cost_nothing_that_is_not_finite(name, choices, new_context, view_of):
    split, teacher = choices
    context = new_context(split, Embeddings(teacher.users * 0.0, teacher.items * 0.0), 4)
    full = context.train.tolil()
    full[0] = 1.0
    object.__setattr__(context, "train", full.tocsr())
    term = build(name, context)
    student = Embeddings(np.zeros((150, 4), np.float32), np.zeros((120, 4), np.float32))
    term.begin_epoch(1, student, np.random.default_rng(0))
    view = view_of(student)
    loss = term.loss(view, SMALL)
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(view.user_table.grad).all()
