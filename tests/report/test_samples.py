"""The users that a report shows: who is drawn, and that what is shown of them is what the data and the models say."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from freqd.config import EvaluateConfig
from freqd.data.interactions import Interactions, Split
from freqd.data.item_table import ItemTable
from freqd.embeddings import Embeddings
from freqd.evaluate import evaluate
from freqd.report.run.samples import samples_view
from freqd.report.samples import SampleSource, choose_users, draw_samples, newest_first
from freqd.scorer import ListScorer

ITEMS = 12


def interactions(pairs: list[tuple[int, int]], times: list[int] | None = None, users: int = 3) -> Interactions:
    user, item = np.array(pairs, np.int32).reshape(-1, 2).T
    return Interactions(user.copy(), item.copy(), users, ITEMS, None if times is None else np.array(times, np.int64))


@pytest.fixture
def source() -> SampleSource:
    """User 0 had 4, 5 and 3 (validation, the newest) and took 1; user 1 had 0 and took 2 and 11; user 2 took nothing."""
    split = Split(
        train=interactions([(0, 5), (0, 4), (1, 0), (2, 7)], [10, 20, 5, 1]),
        valid=interactions([(0, 3)], [30]),
        test=interactions([(1, 2), (0, 1), (1, 11)], [50, 40, 60]),
        user_ids=pl.Series(["ann@shop", "bob@shop", "eve@shop"]),
        item_ids=pl.Series([f"i{item}" for item in range(ITEMS)]),
    )
    lowest_first = Embeddings(np.ones((3, 1), np.float32), -np.arange(ITEMS, dtype=np.float32)[:, None])
    highest_first = Embeddings(np.ones((3, 1), np.float32), np.arange(ITEMS, dtype=np.float32)[:, None])
    return SampleSource(
        split=split,
        config=EvaluateConfig(),
        evaluation=evaluate(lowest_first, split, EvaluateConfig()),
        models={"teacher": highest_first, "student": lowest_first},
        titles=None,
        pseudonym=lambda own: f"user-{len(own)}-{own[0]}",
    )


def drawn(source: SampleSource, count: int = 5, seed: int = 0):
    return draw_samples(source, count, np.random.default_rng(seed))


def names(items) -> list[str]:
    return [item.name for item in items]


def test_what_a_user_had_took_and_is_recommended(source: SampleSource) -> None:
    samples = drawn(source)
    assert samples.by_time
    users = {user.name: user for user in samples.users}
    assert set(users) == {"user-8-a", "user-8-b"}, "who took nothing shows nothing"
    ann, bob = users["user-8-a"], users["user-8-b"]
    assert names(ann.had) == ["i3", "i4", "i5"], "newest first"
    assert names(bob.took) == ["i11", "i2"]
    assert (ann.n_had, ann.n_took) == (3, 1)
    assert names(ann.lists["student"]) == ["i0", "i1", "i2", "i6", "i7", "i8", "i9", "i10", "i11"], (
        "what ann had is masked"
    )
    assert [item.name for item in ann.lists["student"] if item.hit] == ["i1"]
    assert names(bob.lists["teacher"])[:2] == ["i11", "i10"]
    assert [item.hit for item in bob.lists["teacher"]] == [True, *[False] * 8, True]
    assert len(bob.lists["teacher"]) == 10


def test_a_teacher_that_is_no_table_recommends_what_its_own_scores_say(source: SampleSource) -> None:
    lists = np.full((3, 2), [9, 8], np.int32)
    teacher = ListScorer(lists, np.full((3, 2), [2.0, 1.0], np.float32), ITEMS)
    samples = drawn(replace(source, models={**source.models, "teacher": teacher}))
    assert {tuple(names(user.lists["teacher"])) for user in samples.users} == {("i9", "i8")}


def test_the_published_protocol_leaves_validation_items_in_the_lists(source: SampleSource) -> None:
    ann = next(
        user for user in drawn(replace(source, config=EvaluateConfig(protocol="kd-paper"))).users if user.n_took == 1
    )
    assert names(ann.had) == ["i4", "i5"]
    assert "i3" in names(ann.lists["student"])


def test_titles_where_there_are_any(source: SampleSource) -> None:
    titles = ItemTable(pl.Series([None, "Milk", *[None] * 10]), pl.Series([None, "Dairy", *[None] * 10]), 0)
    ann = next(user for user in drawn(replace(source, titles=titles)).users if user.n_took == 1)
    assert (ann.took[0].name, ann.took[0].category) == ("Milk", "Dairy")
    assert names(ann.lists["student"])[:2] == ["i0", "Milk"]


def test_no_own_id_of_a_user_is_in_it(source: SampleSource) -> None:
    assert "shop" not in drawn(source).model_dump_json()


def test_without_times_the_order_is_that_of_the_ids() -> None:
    parts = [interactions([(0, 5), (0, 2), (1, 1)]), interactions([(0, 3)])]
    assert newest_first(parts, 0).tolist() == [2, 3, 5]


def test_users_come_from_all_groups_by_activity_and_the_seed_decides() -> None:
    rng = np.random.default_rng(0)
    users = 80
    train = interactions([(user, item) for user in range(users) for item in range(1 + user // 20)], users=users)
    test = interactions([(user, 11) for user in range(10, users)], users=users)
    empty = interactions([], users=users)
    split = Split(train, empty, test, pl.Series(map(str, range(users))), pl.Series(map(str, range(ITEMS))))
    table = Embeddings(rng.random((users, 2), np.float32), rng.random((ITEMS, 2), np.float32))
    judged = evaluate(table, split, EvaluateConfig(protocol="kd-paper"))
    for seed in range(5):
        chosen = choose_users(judged, 5, np.random.default_rng(seed))
        assert sorted(np.bincount(chosen // 20, minlength=4)) == [1, 1, 1, 2]
        assert (np.diff(chosen // 20) >= 0).all(), "least active first"
        assert (chosen >= 10).all(), "the first ten took nothing"
        np.testing.assert_array_equal(chosen, choose_users(judged, 5, np.random.default_rng(seed)))
    several = {tuple(choose_users(judged, 5, np.random.default_rng(seed))) for seed in range(5)}
    assert len(several) > 1
    assert len(choose_users(judged, 1000, rng)) == 70


def test_the_page_has_a_table_a_user(source: SampleSource) -> None:
    view = samples_view(drawn(source))
    ann = next(user for user in view.users if user.name == "user-8-a")
    assert ann.heading == "user-8-a: 3 items before, 1 in the test"
    assert ann.header == ["Had", "Took in the test", "Teacher (1 hit)", "Student (1 hit)"]
    assert len(ann.rows) == 9
    assert ann.rows[1][1] is None
    assert "data.items" in view.lead
