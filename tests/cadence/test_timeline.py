from __future__ import annotations

from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from freqd.cadence import Timeline, check_settings, plan
from freqd.cadence.timeline import DAY, EPOCH
from freqd.config import CadenceConfig
from freqd.config.load import build
from freqd.data import Places, observe
from freqd.data.interactions import Interactions, Observed
from freqd.errors import InputError


def timeline(days: list[int], second: int = 0) -> Timeline:
    """One user and an item a pair, at these days since 1970."""
    n = len(days)
    time = np.array(days, np.int64) * DAY + second
    pairs = Interactions(np.zeros(n, np.int32), np.arange(n, dtype=np.int32), 1, n, time)
    return Timeline(pairs, pl.Series("id", ["u"]), pl.Series("id", [f"i{k}" for k in range(n)]), "shop")


def test_windows_by_hand() -> None:
    found = plan(timeline(list(range(100))), CadenceConfig(windows=4))
    assert [w.first for w in found] == [EPOCH + timedelta(days=d) for d in (52, 64, 76, 88)], "(99 - 50) // 4 = 12 days"
    assert found[-1].last == EPOCH + timedelta(days=99)
    assert found[0].as_of == EPOCH + timedelta(days=51)
    assert found[0].seconds == (52 * DAY, 64 * DAY)
    (first, second) = plan(timeline(list(range(100))), CadenceConfig(windows=2, period_days=7))
    assert (first.first, first.last) == (EPOCH + timedelta(days=86), EPOCH + timedelta(days=92))
    assert (second.first, second.last) == (EPOCH + timedelta(days=93), EPOCH + timedelta(days=99))


@given(
    st.lists(st.integers(0, 400), min_size=1, max_size=60),
    st.integers(2, 9),
    st.one_of(st.none(), st.integers(1, 60)),
    st.sampled_from([0.1, 0.5, 0.9]),
    st.integers(0, DAY - 1),
)
def test_windows_are_equal_touch_and_leave_something_before(
    days: list[int], windows: int, period: int | None, history: float, second: int
) -> None:
    config = CadenceConfig(windows=windows, period_days=period, history=history)
    try:
        found = plan(timeline(days, second), config)
    except InputError:
        return
    assert len(found) == windows
    assert len({w.last - w.first for w in found}) == 1
    assert all(a.last + timedelta(days=1) == b.first for a, b in pairwise(found))
    assert found[-1].last == EPOCH + timedelta(days=max(days))
    assert EPOCH + timedelta(days=min(days)) <= found[0].as_of
    if period is None:
        before = np.mean([EPOCH + timedelta(days=day) < found[0].first for day in days])
        assert before >= history - 1 / len(days)


@pytest.mark.parametrize(
    ("days", "config"), [([5, 5, 5], {}), (list(range(4)), {}), (list(range(14)), {"windows": 2, "period_days": 7})]
)
def test_data_that_are_too_short_are_refused_with_what_is_there(days: list[int], config: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"shop is too short for \d windows") as caught:
        plan(timeline(days), CadenceConfig(**config))
    assert "cadence.windows" in caught.value.remedy


def test_data_without_times_are_refused_with_what_helps() -> None:
    pairs = Interactions(np.zeros(1, np.int32), np.zeros(1, np.int32), 1, 1)
    observed = Observed(pairs, pl.Series("id", ["u"]), pl.Series("id", ["i"]), "list", 1, [])
    with pytest.raises(InputError, match="list has no time column") as caught:
        Timeline.of(observed)
    assert "data.columns.time" in caught.value.remedy
    assert "grocery" in caught.value.remedy


def test_it_comes_back_from_disk_as_it_was(tmp_path: Path) -> None:
    before = timeline([3, 1, 2])
    before.write(tmp_path)
    after = Timeline.read(tmp_path)
    np.testing.assert_array_equal(after.time, before.time)
    np.testing.assert_array_equal(after.interactions.item, before.interactions.item)
    assert (after.item_ids.to_list(), after.name) == (before.item_ids.to_list(), "shop")
    assert (after.interactions.n_users, after.interactions.n_items) == (1, 3)


def test_it_holds_a_file_as_observed(tmp_path: Path) -> None:
    rows = pl.DataFrame(
        {"user": ["b", "a", "b"], "item": ["x", "x", "x"], "time": ["2024-01-02", "2024-01-03", "2024-01-01"]}
    )
    rows = pl.concat([rows, pl.DataFrame({"user": ["a"], "item": ["y"], "time": ["2024-01-04"]})])
    rows.write_csv(tmp_path / "shop.csv")
    settings = build([{"data": {"source": [str(tmp_path / "shop.csv")]}}]).data
    found = Timeline.of(observe(settings, places=Places(None, tmp_path / "cache")))
    users, items = found.user_ids.to_list(), found.item_ids.to_list()
    pairs = {
        (users[u], items[i]): date.fromordinal(EPOCH.toordinal() + int(t) // DAY)
        for u, i, t in zip(found.interactions.user, found.interactions.item, found.time, strict=True)
    }
    wanted = {("b", "x"): date(2024, 1, 1), ("a", "x"): date(2024, 1, 3), ("a", "y"): date(2024, 1, 4)}
    assert pairs == wanted, "a pair counts once, at its earliest time"


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"data": {"split": "random"}}, "data.split=random"),
        ({"data": {"split": "given"}}, "data.split=given"),
        ({"data": {"train": "a.csv", "test": "b.csv"}}, "data.train"),
        ({"teacher": {"kind": "features", "features": "x.npz"}}, "do not age"),
        ({"teacher": {"kind": "lists", "lists": "x.csv"}}, "do not age"),
    ],
)
def test_settings_under_which_nothing_ages_are_refused(changes: dict[str, Any], named: str) -> None:
    with pytest.raises(InputError, match=named):
        check_settings(build([changes]))
    check_settings(build([{"data": {"split": "time"}}]))
