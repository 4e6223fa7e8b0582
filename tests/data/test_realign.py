from __future__ import annotations

import numpy as np
import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from freqd.data.interactions import Interactions, Split
from freqd.data.realign import Rows, count_leaked_targets, without_leaked_targets

ids = st.lists(st.integers(0, 30).map(str), unique=True, max_size=20)


def rows(before: list[str], now: list[str]) -> Rows:
    return Rows.of(pl.Series("id", before, dtype=pl.String), pl.Series("id", now, dtype=pl.String))


@given(ids, ids)
def test_rows_follow_their_ids_whatever_their_order(before: list[str], now: list[str]) -> None:
    found = rows(before, now)
    table = np.array([[float(name) + 1.0] for name in before], np.float32).reshape(len(before), 1)
    expected = [float(name) + 1.0 if name in before else 0.0 for name in now]
    assert found.move(table)[:, 0].tolist() == expected
    assert found.new.tolist() == [row for row, name in enumerate(now) if name not in before]
    assert found.target.tolist() == [now.index(name) if name in now else -1 for name in before]
    kept = len(set(before) & set(now))
    assert found.counts() == {"kept": kept, "new": len(now) - kept, "gone": len(before) - kept}


def split(users: list[str], items: list[str], **parts: list[tuple[str, str]]) -> Split:
    def part(pairs: list[tuple[str, str]]) -> Interactions:
        user = np.array([users.index(u) for u, _ in pairs], np.int32)
        item = np.array([items.index(i) for _, i in pairs], np.int32)
        return Interactions(user, item, len(users), len(items))

    return Split(
        *(part(parts.get(name, [])) for name in ("train", "valid", "test")), pl.Series(users), pl.Series(items)
    )


def answers(before: Split, now: Split) -> int:
    return count_leaked_targets(
        before, now, Rows.of(before.user_ids, now.user_ids), Rows.of(before.item_ids, now.item_ids)
    )


def test_answers_that_were_trained_on_or_chosen_by_are_counted() -> None:
    before = split(
        ["a", "b", "gone"], ["x", "y"], train=[("a", "x"), ("gone", "x")], valid=[("b", "y")], test=[("b", "x")]
    )
    later = split(
        ["new", "b", "a"], ["y", "z", "x"], train=[("a", "x"), ("b", "y")], valid=[("b", "x")], test=[("new", "x")]
    )
    assert answers(before, later) == 0
    shuffled = split(["b", "a"], ["y", "x"], train=[("b", "x")], valid=[("a", "x")], test=[("b", "y")])
    assert answers(before, shuffled) == 2
    chosen_again = split(["b", "a"], ["y", "x"], train=[("a", "x")], valid=[("b", "y")], test=[])
    assert answers(before, chosen_again) == 0


def test_a_model_is_judged_on_what_it_was_not_made_of() -> None:
    before = split(["a", "b", "gone"], ["x", "y"], train=[("a", "x")], valid=[("b", "y")], test=[("b", "x")])
    now = split(
        ["b", "new", "a"], ["y", "x"], train=[], valid=[], test=[("a", "x"), ("b", "y"), ("b", "x"), ("new", "x")]
    )
    fair = without_leaked_targets(before, now)
    assert list(zip(fair.test.user.tolist(), fair.test.item.tolist(), strict=True)) == [(0, 1), (1, 1)]
    assert without_leaked_targets(before, fair) is fair
    assert fair.train is now.train
    only = split(["a"], ["x"], train=[], valid=[], test=[("a", "x")])
    assert without_leaked_targets(before, only) is only
