"""A model on a later window, by hand: who is asked, what is masked, what strangers get."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import polars as pl
import pytest

from freqd.cadence import Question, Timeline, Window, judge_window
from freqd.cadence.timeline import DAY, EPOCH
from freqd.config import EvaluateConfig
from freqd.data.interactions import Interactions, Split
from freqd.embeddings import Embeddings
from freqd.serve.recommender import Recommender

LOG2_3 = np.log2(3)


def pairs(rows: list[tuple[str, str, int]], users: list[str], items: list[str]) -> Interactions:
    user, item = (np.array([ids.index(row[side]) for row in rows], np.int32) for side, ids in ((0, users), (1, items)))
    return Interactions(user, item, len(users), len(items), np.array([row[2] for row in rows], np.int64) * DAY)


def split(rows: list[tuple[str, str, int]], users: list[str], items: list[str]) -> Split:
    nothing = pairs([], users, items)
    return Split(pairs(rows, users, items), nothing, nothing, pl.Series("id", users), pl.Series("id", items))


ROWS = [
    ("a", "x", 1), ("a", "y", 2), ("b", "x", 3), ("c", "z", 7),
    ("a", "z", 12), ("b", "y", 13), ("c", "x", 14), ("d", "x", 15), ("a", "w", 19), ("b", "w", 25),
]  # fmt: skip
"""Windows of ten days: the model is made as of day 4, the newest one as of day 9, and the window is days 10 to 19."""
ALL = Timeline(
    pairs(ROWS, ["d", "c", "b", "a"], ["w", "x", "y", "z"]), pl.Series("id", ["d", "c", "b", "a"]), pl.Series("id", ["w", "x", "y", "z"]), "shop"
)  # fmt: skip
WINDOW = Window(EPOCH + timedelta(days=10), EPOCH + timedelta(days=19))
OLD = split(ROWS[:3], ["a", "b"], ["y", "x"])
NEW = split(ROWS[:4], ["b", "c", "a"], ["x", "z", "y"])
CONFIG = EvaluateConfig(ks=(10,))


def model(users: list[list[float]], items: list[list[float]]) -> Embeddings:
    return Embeddings(np.array(users, np.float32), np.array(items, np.float32))


def test_the_newest_model_is_asked_for_all_that_it_could_know() -> None:
    features = model([[1, 0], [0, 1], [1, 1]], [[1, 3], [2, 1], [3, 2]])  # of b, c, a; of x, z, y
    found = judge_window(Question(ALL, WINDOW, NEW), Recommender.of(features, NEW), CONFIG)
    assert found.report is not None
    assert [NEW.user_ids[int(user)] for user in found.report.users] == ["b", "c", "a"]
    # b has x and gets y, z: y is a hit at 1. c has z and gets x, y: x is a hit at 1. a has x, y and gets z: a hit at 1.
    np.testing.assert_allclose(found.report.per_user["ndcg_at_10"], [1.0, 1.0, 1.0])
    assert found.counts.model_dump() == {
        "pairs": 5, "unknown_user_pairs": 1, "unknown_item_pairs": 1, "users": 4, "items": 4, "unknown_users": 1, "unknown_items": 1,
        "judged_users": 3, "judged_known_users": 3, "judged_pairs": 3,
    }  # fmt: skip


def test_an_older_one_misses_what_it_does_not_know_and_gives_strangers_what_is_popular() -> None:
    features = model([[1, 0], [0, 1]], [[0, 1], [1, 0]])  # of a, b; of y, x
    found = judge_window(Question(ALL, WINDOW, NEW), Recommender.of(features, OLD), CONFIG)
    assert found.report is not None
    by_user = dict(zip(("b", "c", "a"), found.report.per_user["ndcg_at_10"].tolist(), strict=True))
    assert by_user["b"] == pytest.approx(1.0), "y, the only item that it knows and b does not have"
    assert by_user["c"] == pytest.approx(1.0), "a stranger to it: x, which two had, before y, which one had"
    # a bought z, the only item left: it can come last only, and is alone, so even an unknown item is at 1
    assert by_user["a"] == pytest.approx(1.0)
    assert found.counts.unknown_users == 2
    assert found.counts.unknown_items == 2
    assert (found.counts.unknown_user_pairs, found.counts.unknown_item_pairs) == (2, 2)
    assert (found.counts.judged_users, found.counts.judged_known_users) == (3, 2)


def test_an_item_it_does_not_know_comes_after_all_others() -> None:
    rows = [*ROWS[:3], ("e", "z", 7), ("e", "y", 8), ("a", "z", 12), ("b", "z", 13)]
    users, items = ["a", "b", "e"], ["x", "y", "z"]
    everything = Timeline(pairs(rows, users, items), pl.Series("id", users), pl.Series("id", items), "shop")
    late = split(rows[:5], users, items)
    features = model([[-1, -1], [-1, -1]], [[5, 5], [1, 1]])  # both score the items they know far below nothing
    found = judge_window(Question(everything, WINDOW, late), Recommender.of(features, OLD), CONFIG)
    assert found.report is not None
    scores = dict(zip(("a", "b"), found.report.per_user["ndcg_at_10"].tolist(), strict=True))
    assert scores["b"] == pytest.approx(1 / LOG2_3), "b gets y, which scores -10, and only then z"


def test_interactions_of_other_times_are_no_targets() -> None:
    features = model([[1, 0], [0, 1], [1, 1]], [[1, 3], [2, 1], [3, 2]])
    later = Window(EPOCH + timedelta(days=20), EPOCH + timedelta(days=29))
    found = judge_window(Question(ALL, later, NEW), Recommender.of(features, NEW), CONFIG)
    assert found.report is None
    assert (found.counts.pairs, found.counts.judged_users) == (1, 0), "b met w, which nobody could know"
