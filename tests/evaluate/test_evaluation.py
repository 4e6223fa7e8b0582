from __future__ import annotations

import numpy as np
import pytest

from freqd.config import EvaluateConfig
from freqd.data.interactions import Interactions
from freqd.embeddings import Embeddings
from freqd.errors import InputError
from freqd.evaluate import Evaluation, evaluate, evaluation, ndcg_on_validation, top_k
from freqd.evaluate.list_diversity import diversity_within_lists
from freqd.evaluate.strata import popularity_groups
from freqd.storage.store import Store

SECOND = 1 / np.log2(3)


def interactions(pairs, n_users=4, n_items=5):
    array = np.array(pairs, np.int32).reshape(-1, 2)
    return Interactions(array[:, 0].copy(), array[:, 1].copy(), n_users, n_items)


@pytest.fixture
def tiny(make_split):
    """Users 0 to 2 rank the items 4 3 2 1 0, user 3 the other way round; user 2 has no test item."""
    split = make_split(
        train=interactions([(0, 4), (1, 0), (2, 4), (3, 0), (3, 1)]),
        valid=interactions([(0, 3), (2, 1)]),
        test=interactions([(0, 2), (0, 0), (1, 3), (3, 4)]),
    )
    features = Embeddings(np.array([[1], [1], [1], [-1]], np.float32), np.arange(5, dtype=np.float32)[:, None])
    return features, split


def test_standard_protocol_by_hand(tiny):
    features, split = tiny
    report = evaluate(features, split, EvaluateConfig(ks=(2,)))
    # Lists of 2: user 0 (4 and 3 masked) 2 1; user 1 (0 masked) 4 3; user 3 (0 and 1 masked) 2 3.
    np.testing.assert_array_equal(report.users, [0, 1, 3])
    np.testing.assert_allclose(report.per_user["ndcg_at_2"], [1 / (1 + SECOND), SECOND, 0], rtol=1e-6)
    np.testing.assert_allclose(report.per_user["recall_at_2"], [0.5, 1, 0])
    expected = {
        "ndcg_at_2": (1 / (1 + SECOND) + SECOND) / 3,
        "recall_at_2": 0.5,
        "precision_at_2": 1 / 3,
        "hit_rate_at_2": 2 / 3,
        "map_at_2": (0.5 + 0.5) / 3,
        "mrr_at_2": 0.5,
        "coverage_at_2": 4 / 5,
        # Recommended 0 1 2 1 2 times; Σ (2i − 6) x_i = −2·1 + 0·1 + 2·2 + 4·2 = 10 over 5 · 6.
        "gini_at_2": 10 / 30,
        # Train counts 2 1 0 0 2 of items 0 to 4: items 1 and 4 are recommended once each.
        "mean_popularity_at_2": (1 + 2) / 6,
        # 2 bits for items met by at most one of 4 users, 1 bit for item 4.
        "novelty_at_2": (5 * 2 + 1) / 6,
        # Items 0 and 4 have 4 of 5 train interactions, the others are tail; the targets 2 and 3 among them are found.
        "tail_recall_at_2": 1.0,
        # Lists 2 1, 4 3 and 2 3: of three pairs two share one item of two.
        "diversity_between_lists_at_2": 1 - 2 * (1 / 2) / 3,
    }
    assert {name: report.metrics[name] for name in expected} == pytest.approx(expected)
    assert (report.n_users_evaluated, report.n_users_skipped, report.n_users_without_target) == (3, 1, 1)


def test_kd_paper_protocol_by_hand(tiny):
    features, split = tiny
    report = evaluate(features, split, EvaluateConfig(protocol="kd-paper", ks=(2,)))
    # Validation items stay: user 0 gets 3 2. User 2 counts, with 0.
    np.testing.assert_array_equal(report.users, [0, 1, 2, 3])
    np.testing.assert_allclose(report.per_user["ndcg_at_2"], [SECOND / (1 + SECOND), SECOND, 0, 0], rtol=1e-6)
    assert report.metrics["recall_at_2"] == pytest.approx(1.5 / 4)
    assert (report.n_users_evaluated, report.n_users_skipped, report.n_users_without_target) == (4, 0, 1)


@pytest.mark.parametrize(("protocol", "users"), [("standard", [1, 3]), ("kd-paper", [1, 2, 3])])
def test_only_the_users_among_are_judged(tiny, protocol, users):
    features, split = tiny
    settings = EvaluateConfig(protocol=protocol, ks=(2,))
    report = evaluate(features, split, settings, among=np.array([False, True, True, True]))
    everyone = evaluate(features, split, settings)
    np.testing.assert_array_equal(report.users, users)
    same = np.isin(everyone.users, users)
    np.testing.assert_array_equal(report.per_user["ndcg_at_2"], everyone.per_user["ndcg_at_2"][same])
    assert sum(row["users"] for row in report.groups["activity"]) == len(users)
    assert sum(row["targets"] for row in report.groups["popularity"]) == 2, "user 0's are not asked for"
    if protocol == "standard":
        # Lists of 2: user 1 gets 4 3, user 3 gets 2 3; train counts of 2 3 4 are 0 0 2.
        assert report.metrics["mean_popularity_at_2"] == pytest.approx(2 / 4)
        assert report.metrics["coverage_at_2"] == pytest.approx(3 / 5)
        assert report.n_users_skipped == 2


@pytest.mark.parametrize("protocol", ["standard", "kd-paper"])
def test_a_sample_of_the_users_is_the_same_for_every_model_and_near_to_all(grocery_split, grocery_features, protocol):
    every = evaluate(grocery_features, grocery_split, EvaluateConfig(protocol=protocol))
    settings = EvaluateConfig(protocol=protocol, users=200)
    report = evaluate(grocery_features, grocery_split, settings)
    other = evaluate(Embeddings(grocery_features.users, -grocery_features.items), grocery_split, settings)
    np.testing.assert_array_equal(report.users, other.users)
    assert len(set(report.users.tolist())) == report.n_users_evaluated == 200
    assert report.n_users_evaluated + report.n_users_not_drawn == every.n_users_evaluated
    assert report.n_users_skipped == every.n_users_skipped
    same = np.isin(every.users, report.users)
    for name, values in report.per_user.items():
        np.testing.assert_array_equal(values, every.per_user[name][same])
        assert report.metrics[name] == pytest.approx(values.mean(), rel=1e-5)
    far = 5 * every.per_user["ndcg_at_10"].std() / 200**0.5
    assert abs(report.metrics["ndcg_at_10"] - every.metrics["ndcg_at_10"]) < far
    more = evaluate(grocery_features, grocery_split, EvaluateConfig(protocol=protocol, users=10**6))
    np.testing.assert_array_equal(more.users, every.users)


def test_validation_part_is_judged_with_the_train_items_masked(tiny):
    features, split = tiny
    report = evaluate(features, split, EvaluateConfig(ks=(2,)), part="valid")
    np.testing.assert_array_equal(report.users, [0, 2])
    np.testing.assert_allclose(report.per_user["recall_at_2"], [1, 0])


def test_headline_metrics_are_there_for_any_cutoffs(tiny):
    report = evaluate(*tiny, EvaluateConfig(ks=(3, 1, 3)))
    assert {name.rsplit("_", 1)[1] for name in report.metrics} == {"1", "3", "10"}
    # Ten places hold every candidate: whatever may be recommended is found.
    assert report.metrics["recall_at_10"] == 1.0


def test_groups_by_hand(tiny):
    report = evaluate(*tiny, EvaluateConfig())
    activity = report.groups["activity"]
    assert [(row["train_interactions"], row["users"]) for row in activity] == [([1, 1], 2), ([2, 2], 1)]
    assert [row["recall_at_10"] for row in activity] == [1.0, 1.0]
    popularity = report.groups["popularity"]
    assert [row["group"] for row in popularity] == ["head", "mid", "tail"]
    assert [row["items"] for row in popularity] == [2, 0, 3]
    assert [row["targets"] for row in popularity] == [2, 0, 2]
    assert [row["recall_at_10"] for row in popularity] == [1.0, None, 1.0]
    # Lists: 2 1 0, then 4 3 2 1, then 2 3 4.
    assert [row["share_of_recommendations"] for row in popularity] == pytest.approx([0.3, 0.0, 0.7])


@pytest.mark.parametrize("protocol", ["standard", "kd-paper"])
def test_never_recommends_what_is_masked_and_agrees_with_itself(grocery_split, grocery_features, protocol, monkeypatch):
    monkeypatch.setattr(evaluation, "_CHUNK", 101)
    shares = []
    report = evaluate(
        grocery_features,
        grocery_split,
        EvaluateConfig(protocol=protocol),
        progress=lambda share, text: shares.append(share),
    )
    masked = grocery_split.train.matrix()
    if protocol == "standard":
        masked = masked + grocery_split.valid.matrix()
    ranked, _ = top_k(grocery_features, masked, 20, users=report.users)
    dense = masked.toarray() > 0
    assert not dense[report.users[:, None], ranked].any()

    test = grocery_split.test.matrix().toarray() > 0
    found = test[report.users[:, None], ranked[:, :10]].sum(axis=1)
    expected = found / np.maximum(test[report.users].sum(axis=1), 1)
    np.testing.assert_allclose(report.per_user["recall_at_10"], expected, rtol=1e-6)
    assert report.metrics["recall_at_10"] == pytest.approx(expected.mean(), rel=1e-5)
    assert report.n_users_evaluated + report.n_users_skipped == grocery_split.n_users

    np.testing.assert_array_equal(report.hits.sum(axis=1), found)
    np.testing.assert_array_equal(report.targets.sum(axis=1), test[report.users].sum(axis=1))
    np.testing.assert_array_equal(np.bincount(report.activity), [row["users"] for row in report.groups["activity"]])
    tail = popularity_groups(np.bincount(grocery_split.train.item, minlength=grocery_split.n_items)) == 2
    in_tail = (test[report.users[:, None], ranked] & tail[ranked]).sum()
    assert report.metrics["tail_recall_at_20"] == pytest.approx(in_tail / test[report.users][:, tail].sum())
    assert report.metrics["tail_recall_at_10"] == pytest.approx(report.groups["popularity"][2]["recall_at_10"])
    assert report.metrics["tail_recall_at_10"] < report.metrics["tail_recall_at_20"]
    within = diversity_within_lists(ranked[:, :10], grocery_split.train.matrix())
    assert report.metrics["diversity_within_lists_at_10"] == pytest.approx(within)

    popularity = report.groups["popularity"]
    assert sum(row["share_of_recommendations"] for row in popularity) == pytest.approx(1.0)
    assert sum(row["targets"] * (row["recall_at_10"] or 0) for row in popularity) == pytest.approx(found.sum())
    assert sum(row["users"] for row in report.groups["activity"]) == report.n_users_evaluated
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


def test_validation_report_equals_the_quick_validation(grocery_split, grocery_features):
    report = evaluate(grocery_features, grocery_split, EvaluateConfig(), part="valid")
    quick = ndcg_on_validation(grocery_features, grocery_split.train.matrix(), grocery_split.valid.matrix())
    assert report.metrics["ndcg_at_10"] == pytest.approx(quick, rel=1e-6)


def test_report_survives_the_store(tiny, tmp_path):
    report = evaluate(*tiny, EvaluateConfig())
    store = Store(tmp_path)
    again = store.open(store.save(report), Evaluation)
    assert again.users.dtype == np.int32
    np.testing.assert_array_equal(again.users, report.users)
    assert again.per_user.keys() == report.per_user.keys()
    for name, values in report.per_user.items():
        assert again.per_user[name].dtype == np.float32
        np.testing.assert_array_equal(again.per_user[name], values)
    for name in ("activity", "targets", "hits"):
        assert getattr(again, name).dtype == getattr(report, name).dtype
        np.testing.assert_array_equal(getattr(again, name), getattr(report, name))
    for field in ("metrics", "groups", "protocol", "part", "n_users_evaluated", "n_users_skipped"):
        assert getattr(again, field) == getattr(report, field)


def test_an_empty_part_is_the_users_mistake_and_a_wrong_size_ours(tiny, make_split):
    features, split = tiny
    empty = make_split(train=split.train, valid=split.valid, test=interactions([]))
    with pytest.raises(InputError, match="the test split has no interactions"):
        evaluate(features, empty, EvaluateConfig())
    with pytest.raises(InputError, match="no user to judge has an interaction in the test split"):
        evaluate(features, split, EvaluateConfig(), among=np.array([False, False, True, False]))
    with pytest.raises(ValueError, match="do not fit a split of 4 users and 5 items"):
        evaluate(Embeddings(features.users[:3], features.items), split, EvaluateConfig())
