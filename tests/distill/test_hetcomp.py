from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import sparse

from freqd.config import DistillConfig, ObjectiveConfig, TeacherConfig
from freqd.distill import DistillSources, build_objectives, check_objectives, distill
from freqd.distill.objectives.hetcomp import best_observed, ranking_distance
from freqd.embeddings import Embeddings, TrainedModel
from freqd.errors import InputError
from freqd.evaluate import top_k
from freqd.spectral import SideFilters, SideSpectrum, Spectrum
from freqd.training.environment import TrainingEnvironment
from freqd.training.sampling import Batch

RANKING = Batch(*(torch.tensor([0]) for _ in range(3)), rank_users=torch.tensor([2, 0, 77]))


def build(context, **options):
    return build_objectives([ObjectiveConfig(name="hetcomp", options=options)], context)[0]


def way_of(teacher: Embeddings, train, points: int = 3) -> np.ndarray:
    """Rankings of a teacher that gets its columns one after the other."""
    kept = np.linspace(1, teacher.dim, points).astype(int)
    tables = [Embeddings(teacher.users[:, :n].copy(), teacher.items[:, :n].copy()) for n in kept]
    return np.stack([top_k(table, train, 20)[0] for table in tables])


@pytest.fixture
def context(choices, new_context):
    split, teacher = choices
    context = new_context(split, teacher, 4)
    object.__setattr__(context, "trajectory", way_of(teacher, context.train))
    return context


@pytest.fixture
def student(random_table):
    return random_table(np.random.default_rng(5), 150, 120, 4)


def test_the_distance_by_hand():
    own = np.array([[7, 3, 9], [1, 2, 3], [7, 3, 9], [-1, -1, -1]], np.int32)
    target = np.array([[3, 5, 9], [1, 2, 3], [1, 2, 4], [3, 5, 9]], np.int32)
    y = 2 ** np.exp(-np.arange(3) / 10) - 1
    discount = 1 / np.log2(np.arange(3) + 2)
    expected = 1 - (y[0] * discount[1] + y[2] * discount[2]) / (y @ discount)
    np.testing.assert_allclose(ranking_distance(own, target), [expected, 0.0, 1.0, 1.0], atol=1e-12)
    nothing = np.full((1, 3), -1, np.int32)
    assert ranking_distance(own[:1], nothing).tolist() == [0.0]


def test_the_best_observed_items_are_the_teachers_order_of_train_items(choices, context):
    _, teacher = choices
    lists = best_observed(teacher, context.train, 8)
    dense = context.train.toarray() > 0
    for user in (0, 31, 149):
        items = np.flatnonzero(dense[user])
        order = items[np.argsort(-(teacher.users[user] @ teacher.items[items].T))]
        assert lists[user].tolist() == (order.tolist() + [-1] * 8)[:8]
    assert best_observed(teacher, sparse.csr_array((150, 120)), 2).tolist() == [[-1, -1]] * 150


def test_everybody_starts_at_the_first_ranking(context, student):
    term = build(context)
    term.begin_epoch(1, student, np.random.default_rng(0))
    assert not term.level.any()
    np.testing.assert_array_equal(term.lists[:, 5:25].numpy(), context.trajectory[0])
    own, _ = top_k(student, context.train, 20)
    np.testing.assert_allclose(term.distance.numpy(), ranking_distance(own, context.trajectory[1]))


def test_users_go_on_as_the_rule_says(context, student, random_table):
    term = build(context, period=3, advance=1.2, decay=0.9)
    term.begin_epoch(1, student, np.random.default_rng(0))
    before = term.distance.numpy().copy()
    later = random_table(np.random.default_rng(6), 150, 120, 4)
    for epoch in (2, 3):
        term.begin_epoch(epoch, later, np.random.default_rng(0))
        assert not term.level.any()
    term.begin_epoch(4, later, np.random.default_rng(0))
    own, _ = top_k(later, context.train, 20)
    now = ranking_distance(own, context.trajectory[1])
    going = (before >= 1.2 * 0.9 * now) | (before < now)
    assert 0 < going.sum() < 150
    np.testing.assert_array_equal(term.level.numpy(), going.astype(int))
    np.testing.assert_allclose(term.distance.numpy()[~going], before[~going])
    np.testing.assert_allclose(term.distance.numpy()[going], ranking_distance(own, context.trajectory[2])[going])


def test_a_perfect_student_reaches_the_last_ranking_and_stays(choices, context):
    _, teacher = choices
    term = build(context, period=1, decay=0.5)
    for epoch in range(1, 9):
        term.begin_epoch(epoch, teacher, np.random.default_rng(epoch))
    assert (term.level == 2).all()
    np.testing.assert_array_equal(term.lists[:, 5:25].numpy(), context.trajectory[-1])


def relaxed(s, z):
    return -np.array([np.log(np.exp(s[k]) / (np.exp(s[k:]).sum() + np.exp(z).sum())) for k in range(len(s))])


def test_hetcomp_by_hand(context, student, view_of):
    term = build(context, observed=2, random=6)
    term.begin_epoch(1, student, np.random.default_rng(0))
    term.last[0] = True
    coarse, fine = [], [[], [], []]
    for user in RANKING.rank_users.tolist():
        lists = term.lists[user].numpy()
        s = student.users[user] @ student.items[lists].T
        below = s[22:][lists[22:] >= 0]
        assert not set(lists[:22]) & set(lists[22:][lists[22:] >= 0])
        if user == 0:
            fine[0].extend(relaxed(s[:2], below))
            for part, size in ((1, 10), (2, 2)):
                rest = np.concatenate([s[2 + size : 22], below])
                fine[part].extend(relaxed(s[2 : 2 + size], rest))
        else:
            coarse.extend(-np.log(np.exp(s[:22]) / (np.exp(s[:22]) + np.exp(below).sum())))
    observed, half, tenth = map(np.mean, fine)
    expected = 2 / 3 * np.mean(coarse) + 1 / 3 * (observed + (half + tenth) / 2) / 2
    np.testing.assert_allclose(term.loss(view_of(student), RANKING).item(), expected, rtol=1e-4)


@pytest.mark.parametrize("observed", [0, 5])
def test_users_who_have_every_item_cost_nothing(context, student, view_of, observed):
    full = context.train.tolil()
    full[0] = 1.0
    object.__setattr__(context, "train", full.tocsr())
    context.trajectory[:, 0] = -1
    term = build(context, observed=observed)
    term.begin_epoch(1, student, np.random.default_rng(0))
    for last in (False, True):
        term.last[:] = last
        view = view_of(student)
        loss = term.loss(view, Batch(RANKING.users, RANKING.positives, RANKING.negatives, torch.tensor([0])))
        loss.backward()
        assert torch.isfinite(loss)
        assert torch.isfinite(view.user_table.grad).all()


def test_training_lowers_the_loss(context, student, view_of):
    term, view = build(context, period=100), view_of(student)
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


def test_without_a_way_it_says_which_setting_to_turn_on(choices, new_context):
    split, teacher = choices
    context = new_context(split, teacher, 4)
    with pytest.raises(InputError, match="'hetcomp' learns from the teacher's rankings") as error:
        build(context)
    assert "teacher.trajectory_points" in error.value.remedy
    configs = [ObjectiveConfig(name="hetcomp")]
    with pytest.raises(InputError, match="keeps fewer than two"):
        check_objectives(configs, TeacherConfig())
    check_objectives(configs, TeacherConfig(kind="als", trajectory_points=2))
    check_objectives([ObjectiveConfig(name="hetcomp", weight=0.0)], TeacherConfig())


def test_a_resumed_distillation_with_all_that_lasts_over_epochs_ends_where_an_uninterrupted_one_does(
    choices, context, tmp_path
):
    split, teacher = choices
    bands = np.full(2, 0.5)
    side = SideSpectrum("exact", bands, bands, bands, bands, bands)
    spectrum = Spectrum(
        edges=np.array([0.0, 1.0, 2.0]),
        user=side,
        item=side,
        base_ndcg=0.5,
        trials=[],
        feature_candidates=(SideFilters(),),
        ranking_filters=SideFilters(),
        reason="",
    )
    names = ("de", "htd", "pckd", "unkd", "hetcomp")
    config = DistillConfig(
        dim=4,
        epochs=5,
        batch_size=256,
        eval_every=1,
        patience=100,
        warm_start="random",
        objectives=tuple(ObjectiveConfig(name=name, weight=0.2) for name in names),
    )

    class Killed(Exception):
        pass

    def die(epoch, features, ndcg):
        if epoch == 4:
            raise Killed
        return {}

    def run(name, observe=None):
        model = TrainedModel(teacher, trajectory=context.trajectory)
        environment = TrainingEnvironment(1, "cpu", tmp_path / f"{name}.safetensors", observe=observe)
        return distill(DistillSources(split, model, context.graphs, spectrum), config, environment)

    whole = run("whole")
    with pytest.raises(Killed):
        run("parts", die)
    resumed = run("parts")
    assert resumed.info["resumed_from"] is not None
    assert set(whole.history[-1]["losses"]) == {"bpr", *names}
    np.testing.assert_array_equal(whole.features.users, resumed.features.users)
    np.testing.assert_array_equal(whole.features.items, resumed.features.items)
    assert [entry["losses"] for entry in whole.history[1:]] == [entry["losses"] for entry in resumed.history[1:]]
