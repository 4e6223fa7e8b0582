from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from freqd.config import IndexConfig, ObjectiveConfig
from freqd.distill import REGISTRY, build_objectives, check_objectives
from freqd.distill.feature_loss import unique_rows, unique_rows_by_torch
from freqd.distill.objectives import Objective, objective, rce
from freqd.distill.projectors import ExpertsProjector
from freqd.embeddings import Embeddings
from freqd.errors import InputError
from freqd.evaluate import top_k
from freqd.low_rank import low_rank
from freqd.scorer import ListScorer
from freqd.spectral.filters import Filter, SideFilters
from freqd.training.sampling import Batch

LISTED = Embeddings.listed
TOP_K_BY = rce.top_k_by
SMALL = Batch(
    users=torch.tensor([0, 0, 2]),
    positives=torch.tensor([1, 4, 1]),
    negatives=torch.tensor([4, 5, 6]),
    rank_users=torch.tensor([2, 0]),
)


def build(name, context, **options):
    return build_objectives([ObjectiveConfig(name=name, options=options)], context)[0]


def test_the_registry_holds_what_the_folder_holds():
    assert {"fitnet", "freqd", "rce"} <= set(REGISTRY)
    assert all(cls.name == name for name, cls in REGISTRY.items())


def test_two_objectives_of_one_name_are_refused():
    with pytest.raises(ValueError, match="two objectives are named 'rce'"):
        objective("rce")(type("Other", (Objective,), {}))


def test_an_unknown_objective_is_named_with_those_that_exist():
    with pytest.raises(InputError, match="no objective 'fredq'") as error:
        check_objectives([ObjectiveConfig(name="fredq")])
    assert all(name in error.value.remedy for name in REGISTRY)


def test_an_unknown_option_is_named_with_those_that_exist():
    with pytest.raises(InputError, match="option 'temprature' of 'rce'") as error:
        check_objectives([ObjectiveConfig(name="rce", options={"temprature": 1.0})])
    assert "temperature (default" in error.value.remedy


def test_a_wrong_value_is_named():
    with pytest.raises(InputError, match=r"option 'projector' of 'freqd'.*'cubic'"):
        check_objectives([ObjectiveConfig(name="freqd", options={"projector": "cubic"})])


def test_a_term_of_weight_zero_is_left_out(choices, new_context):
    split, teacher = choices
    configs = [ObjectiveConfig(name="fitnet", weight=0.0), ObjectiveConfig(name="rce", weight=2.0)]
    terms = build_objectives(configs, new_context(split, teacher, 4))
    assert [(term.name, term.weight) for term in terms] == [("rce", 2.0)]


def test_shares_of_rows_that_occur():
    rows, shares = unique_rows(torch.tensor([3, 1, 3]), torch.tensor([1, 0, 4]))
    assert rows.tolist() == [0, 1, 3, 4]
    third, half = 1 / 3, 1 / 2
    torch.testing.assert_close(shares, torch.tensor([third / 2, (third + half) / 2, half / 2, third / 2]))


@settings(deadline=None)
@given(st.lists(st.lists(st.integers(0, 30), min_size=1, max_size=40), min_size=1, max_size=3))
def test_occurring_is_the_same_on_every_device(groups):
    tensors = [torch.tensor(group) for group in groups]
    rows, shares = unique_rows(*tensors)
    expected_rows, expected = unique_rows_by_torch(*tensors)
    assert torch.equal(rows, expected_rows)
    torch.testing.assert_close(shares, expected)


def relative(target, projected, rows, shares):
    distance = ((target - projected) ** 2).sum(1)[rows]
    return (shares * distance).sum() / (shares * (target**2).sum(1)[rows]).sum()


def cosine(target, projected, rows, shares):
    similar = (target * projected).sum(1) / np.linalg.norm(target, axis=1) / np.linalg.norm(projected, axis=1)
    return (shares * (1 - similar[rows])).sum()


@pytest.mark.parametrize(("distance", "reference"), [("squared", relative), ("cosine", cosine)])
def test_feature_terms_are_their_equation_computed_the_costly_way(
    choices, new_context, random_table, view_of, distance, reference
):
    split, teacher = choices
    context = new_context(split, teacher, 4)
    student = random_table(np.random.default_rng(5), 150, 120, 4)
    identity = SideFilters()
    for name, filters in (("freqd", context.feature_filters), ("fitnet", identity)):
        own = {"form": "auto", "keep_prob": 1.0} if name == "freqd" else {}
        term = build(name, context, distance=distance, projector="linear", **own)
        expected = 0.0
        for side, norm_adj, filter, own, whole, counts in (
            (term.user, context.graphs.user.norm_adj, filters.user, student.users, teacher.users, {0: 1 / 2, 2: 1 / 2}),
            (
                term.item,
                context.graphs.item.norm_adj,
                filters.item,
                student.items,
                teacher.items,
                {1: 1 / 4, 4: 1 / 4 + 1 / 6, 5: 1 / 6, 6: 1 / 6},
            ),
        ):
            # Project every row, then filter every row, then keep the batch's.
            projected = filter.apply(norm_adj, own @ side.projector.weight.detach().numpy())
            rows, shares = np.array(list(counts)), np.array(list(counts.values()))
            expected += reference(filter.apply(norm_adj, whole), projected, rows, shares)
        np.testing.assert_allclose(term.loss(view_of(student), SMALL).item(), expected, rtol=1e-5)


def test_a_feature_term_looks_at_a_part_of_some_batches(choices, new_context, random_table, view_of):
    split, teacher = choices
    context = new_context(split, teacher, 4)
    view = view_of(random_table(np.random.default_rng(5), 150, 120, 4))
    seldom, always = (
        build("freqd", context, keep_prob=1.0, dropout=0.0, **few) for few in ({"every": 3, "sample": 2}, {})
    )
    part = Batch(SMALL.users[:2], SMALL.positives[:2], SMALL.negatives[:2], SMALL.rank_users)
    losses = []
    for epoch in (1, 2):
        for term in (seldom, always):
            term.begin_epoch(epoch, random_table(np.random.default_rng(6), 150, 120, 4), np.random.default_rng(0))
        losses += [seldom.loss(view, SMALL).item() for _ in range(4)]
    whole = 3 * always.loss(view, part).item()
    np.testing.assert_allclose(losses, [whole, 0, 0, whole] * 2, rtol=1e-6)


def test_a_fixed_filter_replaces_the_chosen_one(choices, new_context):
    split, teacher = choices
    context = new_context(split, teacher, 4)
    quadratic = Filter(form="quadratic", alpha=0.1)
    for options, expected in (
        ({"form": "auto"}, context.feature_filters),
        ({"form": "quadratic", "alpha": 0.1}, SideFilters(user=quadratic, item=quadratic)),
        ({"form": "identity"}, SideFilters()),
    ):
        term = build("freqd", context, **options)
        assert (term.user.row_filter.filter, term.item.row_filter.filter) == (expected.user, expected.item)
        assert term.filters == expected
    assert build("fitnet", context).filters is None


def test_the_default_is_the_authors_form(choices, new_context):
    split, teacher = choices
    context = new_context(split, teacher, 4)
    config = ObjectiveConfig(name="freqd")
    (term,) = build_objectives([config], context)
    assert term.weight == ObjectiveConfig(name="fitnet").weight == 0.5
    assert ObjectiveConfig(name="rce").weight == 1.0
    assert term.filters == SideFilters(user=Filter(form="linear", alpha=0.5), item=Filter(form="linear", alpha=0.5))
    assert (term.options.sample, term.options.every) == (512, 1)
    for side in (term.user, term.item):
        assert isinstance(side.projector, ExpertsProjector)
        assert side.projector.inner.shape == (5, 4, 12)
        assert side.projector.dropout == 0.2
        assert side.row_filter.keep_prob == 0.5
        assert side.distance == "cosine"


def test_edge_dropout_leaves_out_the_same_edges_of_student_and_teacher(choices, new_context, view_of):
    """A student from which the teacher can be read off exactly is at the optimum whatever is dropped."""
    split, teacher = choices
    context = new_context(split, teacher, 12)
    for form in ("linear", "quadratic"):
        term = build("freqd", context, form=form, alpha=0.5, keep_prob=0.5, projector="linear", distance="squared")
        with torch.no_grad():
            for side in (term.user, term.item):
                side.projector.weight.copy_(torch.eye(12))
        first, second = (term.loss(view_of(teacher), SMALL).item() for _ in range(2))
        assert max(first, second) < 1e-10
        other = Embeddings(teacher.users[::-1].copy(), teacher.items[::-1].copy())
        assert term.loss(view_of(other), SMALL).item() != term.loss(view_of(other), SMALL).item()


def test_a_tied_projector_is_one_of_both_sides(choices, new_context, random_table, view_of):
    split, teacher = choices
    context = new_context(split, teacher, 4)
    term = build("freqd", context, projector="tied")
    assert term.user.projector is term.item.projector
    (weight,) = term.parameters()
    student = random_table(np.random.default_rng(5), 150, 120, 4)
    term.begin_epoch(1, student, np.random.default_rng(0))
    filter = term.filters.user
    rows, target = (
        np.concatenate(
            [
                filter.apply(context.graphs.user.norm_adj, table.users),
                filter.apply(context.graphs.item.norm_adj, table.items),
            ]
        )
        for table in (student, teacher)
    )
    np.testing.assert_allclose(weight.detach(), np.linalg.lstsq(rows, target, rcond=None)[0], atol=1e-3)
    term.loss(view_of(student), SMALL).backward()
    assert weight.grad.abs().max() > 0


def test_in_student_space_the_target_is_the_svd_student_of_the_filtered_teacher(choices, new_context, view_of):
    split, teacher = choices
    context = new_context(split, teacher, 4)
    filtered = Embeddings(teacher.users, np.roll(teacher.items, 1, axis=0))
    context = replace(context, ranking_teacher=filtered, ranking_table=filtered)
    for name, source in (("freqd", filtered), ("fitnet", teacher)):
        term = build(name, context, projector="student-space")
        assert list(term.parameters()) == []
        target = Embeddings(term.user.target.numpy(), term.item.target.numpy())
        expected = low_rank(source, 4)
        scores, wanted = (table.users @ table.items.T for table in (target, expected))
        np.testing.assert_allclose(scores / scores.std(), wanted / wanted.std(), atol=1e-4)
        assert term.loss(view_of(target), SMALL).item() < 1e-10
        assert term.loss(view_of(Embeddings(2 * target.users, 2 * target.items)), SMALL).item() == pytest.approx(2.0)


def test_the_first_epoch_starts_linear_projectors_at_their_optimum(choices, new_context, random_table):
    split, teacher = choices
    context = new_context(split, teacher, 4)
    student = random_table(np.random.default_rng(5), 150, 120, 4)
    term = build("freqd", context, projector="linear", form="auto")
    term.begin_epoch(1, student, np.random.default_rng(0))
    filter, norm_adj = context.feature_filters.user, context.graphs.user.norm_adj
    best = np.linalg.lstsq(filter.apply(norm_adj, student.users), filter.apply(norm_adj, teacher.users), rcond=None)[0]
    np.testing.assert_allclose(term.user.projector.weight.detach(), best, atol=1e-3)
    before = term.user.projector.weight.detach().clone()
    term.begin_epoch(2, random_table(np.random.default_rng(6), 150, 120, 4), np.random.default_rng(0))
    assert torch.equal(before, term.user.projector.weight)


@pytest.mark.parametrize("projector", ["experts", "linear", "mlp", "mixture", "tied", "student-space"])
def test_feature_terms_have_the_gradient_of_their_loss(choices, new_context, random_table, view_of, projector):
    split, teacher = choices
    distance = "cosine" if projector in ("experts", "tied") else "squared"
    term = build(
        "freqd", new_context(split, teacher, 4), projector=projector, distance=distance, keep_prob=1.0, dropout=0.0
    )
    student = random_table(np.random.default_rng(5), 150, 120, 4)
    view = view_of(student)
    term.loss(view, SMALL).backward()
    assert all(parameter.grad is not None for parameter in term.parameters())
    direction = np.random.default_rng(1).normal(size=student.items.shape).astype(np.float32)
    step = np.float32(3e-3)
    ahead, behind = (
        term.loss(view_of(Embeddings(student.users, student.items + sign * step * direction)), SMALL).item()
        for sign in (1, -1)
    )
    slope = float((view.item_table.grad.numpy() * direction).sum())
    np.testing.assert_allclose((ahead - behind) / (2 * step), slope, rtol=0.02, atol=3e-4)


def test_ranking_cross_entropy_by_hand(choices, new_context, random_table, view_of):
    split, teacher = choices
    context = new_context(split, teacher, 4)
    student = random_table(np.random.default_rng(5), 150, 120, 4)
    term = build("rce", context, top=3, student_top=2, random=4, temperature=0.5)
    term.begin_epoch(1, student, np.random.default_rng(0))
    seen = context.train.toarray() > 0
    expected = []
    for user in SMALL.rank_users.tolist():
        own = np.where(seen[user], -np.inf, student.users[user] @ student.items.T)
        theirs = np.where(seen[user], -np.inf, teacher.users[user] @ teacher.items.T)
        items = term.lists[user][term.lists[user] >= 0].numpy()
        assert set(np.argsort(-theirs)[:3]) | set(np.argsort(-own)[:2]) <= set(items.tolist())
        assert len(set(items.tolist())) == len(items) <= 9
        assert not seen[user, items].any()
        target = np.exp(theirs[items] / (0.5 * context.spread))
        shares = np.exp(own[items])
        expected.append(-(target / target.sum() * np.log(shares / shares.sum())).sum())
    np.testing.assert_allclose(term.loss(view_of(student), SMALL).item(), np.mean(expected), rtol=1e-4)


def test_the_teacher_is_asked_once_for_what_stays_in_the_lists(choices, new_context, random_table, monkeypatch):
    split, teacher = choices
    context = new_context(split, teacher, 4)
    term = build("rce", context, top=5, student_top=5, random=10)
    asked: list[int] = []
    monkeypatch.setattr(
        Embeddings, "listed", lambda own, users, lists: asked.append(lists.shape[1]) or LISTED(own, users, lists)
    )
    rng = np.random.default_rng(0)
    drawn = []
    for epoch in range(1, 8):
        student = random_table(np.random.default_rng(epoch // 3), 150, 120, 4)
        term.begin_epoch(epoch, student, rng)
        lists, logits = term.lists.numpy(), term.logits.numpy()
        wanted = LISTED(teacher, context.users, lists) * term.factor
        np.testing.assert_allclose(logits[lists >= 0], wanted[lists >= 0], rtol=1e-4, atol=1e-5)
        assert np.isneginf(logits[lists < 0]).all()
        drawn.append({(user, item) for user, row in enumerate(lists.tolist()) for item in row if item >= 0})
    assert max(asked) <= 15, "never for its own best items"
    assert [asked[n] for n in (1, 3, 4, 6)] == [10] * 4, "the student's are the same: only random items are new"
    assert all(before != after for before, after in pairwise(drawn))
    again = build("rce", context, top=5, student_top=5, random=10)
    for one in (term, again):
        one.begin_epoch(8, student, np.random.default_rng(8))
    assert torch.equal(again.lists, term.lists)
    assert torch.equal(again.logits, term.logits), "a training that is resumed learns from the same numbers"


def test_the_ranking_term_imitates_the_filtered_teacher_unless_told_otherwise(choices, new_context):
    split, teacher = choices
    context = new_context(split, teacher, 4)
    object.__setattr__(context, "ranking_teacher", Embeddings(teacher.users, -teacher.items))
    assert build("rce", context).teacher is context.ranking_teacher
    assert build("rce", context, filtered=False).teacher is context.raw_teacher


def test_users_take_turns_and_are_stood_in_for_meanwhile(choices, new_context, random_table, view_of):
    split, teacher = choices
    context = new_context(split, teacher, 4)
    every = build("rce", context, random=0)
    term = build("rce", context, random=0, share=0.3)
    had: list[int] = []
    for epoch in (1, 2, 3):
        student = random_table(np.random.default_rng(epoch), 150, 120, 4)
        for one in (every, term):
            one.begin_epoch(epoch, student, np.random.default_rng(epoch))
        users, view = term.listed_users, view_of(student)
        assert len(term.lists) == len(users) == 50, "no list of anybody else is in memory"
        assert torch.equal(term.lists, every.lists[users])
        torch.testing.assert_close(
            term.logits, every.logits[users], rtol=1e-6, atol=1e-6
        )  # BLAS: other users in a block
        assert term.row[users].tolist() == list(range(50)), "who has a list stands for itself"
        assert np.bincount(term.row.numpy()).tolist() == [3] * 50, "and for as many others as everybody"
        had += users.tolist()
        for asked in (torch.arange(60), users[:5]):
            batch = Batch(SMALL.users, SMALL.positives, SMALL.negatives, asked)
            theirs = Batch(SMALL.users, SMALL.positives, SMALL.negatives, users[term.row[asked].unique()])
            assert term.loss(view, batch).item() == pytest.approx(every.loss(view, theirs).item())
    assert sorted(had) == list(range(150)), "after three turns of a third each, everybody had one"


def test_large_data_have_lists_for_as_many_users_as_there_is_room_for(choices, new_context, random_table, monkeypatch):
    split, teacher = choices
    context = new_context(split, teacher, 4)
    kept = build("rce", context, share=0.25)
    monkeypatch.setattr(rce, "HELD", rce.BYTES * 200 * 40)  # lists of forty of 150 users
    term = build("rce", context)
    assert len(term.users) == 4
    assert max(map(len, term.users)) <= 40
    ranked: list[int] = []
    monkeypatch.setattr(
        rce,
        "top_k_by",
        lambda *words, users, **more: ranked.append(len(users)) or TOP_K_BY(*words, users=users, **more),
    )
    assert (term.kept, term.best) == (None, {})
    for epoch in range(1, 7):
        student = random_table(np.random.default_rng(epoch), 150, 120, 4)
        for one in (kept, term):
            one.begin_epoch(epoch, student, np.random.default_rng(epoch))
        assert term.lists.shape[0] <= 40
        assert torch.equal(term.lists, kept.lists)
        torch.testing.assert_close(term.logits, kept.logits)
    assert len(ranked) == 2 * (6 + 4), "the student in each epoch, the teacher once for each of four turns"


def test_a_user_who_has_every_item_costs_nothing(new_context, random_table, view_of, choices):
    split, teacher = choices
    context = new_context(split, teacher, 4)
    full = context.train.tolil()
    full[0] = 1.0
    object.__setattr__(context, "train", full.tocsr())
    term = build("rce", context)
    student = random_table(np.random.default_rng(0), 150, 120, 4)
    term.begin_epoch(1, student, np.random.default_rng(0))
    view = view_of(student)
    batch = Batch(SMALL.users, SMALL.positives, SMALL.negatives, torch.tensor([0]))
    loss = term.loss(view, batch)
    loss.backward()
    assert loss.item() == 0.0
    assert torch.isfinite(view.user_table.grad).all()


def test_of_very_many_items_the_lists_come_from_an_index(choices, new_context, random_table, monkeypatch):
    """With all cells searched they are those of all items; with few, lists that are as long and hold nothing seen."""
    pytest.importorskip("faiss")
    split, teacher = choices
    exact = new_context(split, teacher, 4)
    student = random_table(np.random.default_rng(1), 150, 120, 4)
    terms = {
        recall: build("rce", replace(exact, index=IndexConfig(kind="faiss", recall=recall)), random=0, top=9)
        for recall in (0.2, 1.0)
    } | {None: build("rce", exact, random=0, top=9)}
    for term in terms.values():
        term.begin_epoch(1, student, np.random.default_rng(0))
    every = terms[None]
    assert every.cells is None
    assert terms[1.0].cells.recall == 1.0
    assert terms[0.2].cells.cells.probes < terms[0.2].cells.cells.count
    assert torch.equal(terms[1.0].lists, every.lists)
    torch.testing.assert_close(terms[1.0].logits, every.logits)
    found, seen = terms[0.2].lists.numpy(), exact.train.toarray() > 0
    assert not torch.equal(terms[0.2].lists, every.lists)
    for user, row in enumerate(found):
        assert not seen[user, row[row >= 0]].any()
    whole = build("rce", replace(exact, index=IndexConfig(kind="faiss"), ranking_teacher=lists_of(exact)), top=9)
    assert whole.cells is None, "what is no table has no cells"


def test_parts_of_the_users_share_the_cells_of_all_and_what_is_one_table_stays_one(choices, new_context):
    pytest.importorskip("faiss")
    split, teacher = choices
    whole = replace(new_context(split, teacher, 4), index=IndexConfig(kind="faiss"))
    REGISTRY["rce"].prepare(rce.RceOptions(), whole)
    parts = [whole.of_users(np.arange(first, 150, 2, dtype=np.int32)) for first in (0, 1)]
    cells = [build("rce", part, top=9).cells for part in parts]
    assert cells[0] is cells[1] is whole.teacher_cells(True)
    assert whole.teacher_cells(False) is not cells[0]
    assert parts[0].raw_teacher is parts[0].teacher


def lists_of(context):
    items, scores = top_k(context.teacher, context.train, 30)
    return ListScorer(items, scores, context.n_items)
