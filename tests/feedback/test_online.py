"""Versions judged by what their users did, against counting by hand and against resampling."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import polars as pl
import pytest
from scipy.stats import binomtest

from freqd.feedback import OnlineResult, judge_online
from freqd.feedback.log import SCHEMA
from freqd.feedback.online import wilson


def judged(
    rows: list[tuple[str, str, str, str]], champion: str | None = "1", challenger: str | None = "2"
) -> OnlineResult:
    """``rows`` of version, user, item, event."""
    records: list[dict[str, Any]] = [
        {"time": n, "model": "shop", "version": v, "user": u, "item": i, "event": e, "position": None}
        for n, (v, u, i, e) in enumerate(rows)
    ]
    frame = pl.DataFrame(records, schema=SCHEMA)
    return judge_online([frame[: len(frame) // 2], frame[len(frame) // 2 :]], "shop", champion, challenger)


def test_a_click_counts_where_its_impression_is_known_and_once() -> None:
    rows = [
        ("1", "a", "x", "impression"), ("1", "a", "x", "click"), ("1", "a", "x", "click"), ("1", "a", "y", "impression"),
        ("1", "b", "x", "impression"), ("1", "b", "z", "click"), ("1", "b", "x", "purchase"),
        ("2", "c", "x", "impression"), ("2", "c", "x", "impression"), ("2", "c", "x", "click"), ("1", "c", "x", "click"),
    ]  # fmt: skip
    one, two = judged(rows).versions
    assert (one.users, one.impressions, one.clicks, one.purchases, one.unmatched) == (2, 3, 1, 1, 3)
    assert one.click_through.value == pytest.approx(1 / 3)
    assert one.conversion.value == pytest.approx(1 / 3)
    assert one.hit_rate.value == 0.5
    assert (two.users, two.impressions, two.clicks, two.unmatched) == (1, 2, 1, 0)
    assert (one.first, one.last) == (0, 10)


def test_other_models_and_nothing_at_all() -> None:
    assert judged([]).versions == ()
    frame = pl.DataFrame(
        [{"time": 0, "model": "other", "version": "1", "user": "a", "item": "x", "event": "click"}], schema=SCHEMA
    )
    assert judge_online([frame], "shop", "1", None).versions == ()
    (only,) = judged([("1", "a", "x", "click")]).versions
    assert (only.impressions, only.click_through.value, only.hit_rate.value, only.unmatched) == (0, None, None, 1)


def shown(rng: np.random.Generator, version: str, users: int, rate: float) -> list[tuple[str, str, str, str]]:
    """Users with tastes of their own, so that one user's clicks hang together."""
    rows = []
    for user in range(users):
        own = rng.beta(2 * rate * 5, 2 * (1 - rate) * 5)
        for item in range(int(rng.integers(1, 30))):
            rows.append((version, f"{version}-{user}", str(item), "impression"))
            if rng.random() < own:
                rows.append((version, f"{version}-{user}", str(item), "click"))
    return rows


def mixed(rng: np.random.Generator, *parts: list[tuple[str, str, str, str]]) -> list[tuple[str, str, str, str]]:
    """Events of several versions as they come in, each with its impressions before its clicks."""
    whose = rng.permutation(np.repeat(np.arange(len(parts)), [len(part) for part in parts]))
    left = [iter(part) for part in parts]
    return [next(left[n]) for n in whose]


def test_a_challenger_without_a_click_yet_is_not_called_worse() -> None:
    rng = np.random.default_rng(3)
    new = [("2", f"2-{u}", str(i), "impression") for u in range(15) for i in range(10)]
    result = judged(mixed(rng, new, shown(rng, "1", 3000, 0.01)))
    assert result.difference is not None
    assert result.difference.high > 0.0
    assert result.difference.p_value > 0.05
    (challenger,) = [version for version in result.versions if version.version == "2"]
    assert challenger.click_through.high is not None
    assert challenger.click_through.high > 0.1, "fifteen users say little"


def test_what_was_before_the_trial_and_who_was_in_both_arms_do_not_count() -> None:
    rng = np.random.default_rng(4)
    before = shown(rng, "1", 400, 0.02)
    sale = mixed(rng, shown(rng, "1", 400, 0.2), shown(rng, "2", 200, 0.2))
    renamed = [(v, f"sale-{u}", i, e) for v, u, i, e in sale]
    found = judged(before + renamed).difference
    assert found is not None
    assert found.low < 0.0 < found.high
    moved = [("1", "both", "x", "impression"), ("2", "both", "x", "impression"), ("2", "both", "x", "click")]
    assert judged(before + renamed + moved * 50).difference == found


def test_the_interval_is_that_of_resampled_users() -> None:
    rng = np.random.default_rng(0)
    rows = shown(rng, "1", 400, 0.2)
    (found,) = judged(rows).versions
    frame = pl.DataFrame(rows, schema=["v", "u", "i", "e"], orient="row")
    sums = frame.group_by("u").agg(
        (pl.col("e") == "impression").sum().alias("n"), (pl.col("e") == "click").sum().alias("c")
    )
    n, c = sums["n"].to_numpy(), sums["c"].to_numpy()
    drawn = rng.integers(0, len(n), (4000, len(n)))
    low, high = np.quantile(c[drawn].sum(1) / n[drawn].sum(1), [0.025, 0.975])
    assert found.click_through.low == pytest.approx(low, abs=0.003)
    assert found.click_through.high == pytest.approx(high, abs=0.003)
    naive = 1.96 * math.sqrt(0.2 * 0.8 / n.sum())
    assert (high - low) / 2 > 1.3 * naive, "impressions of one user are no independent draws"


def test_two_equal_versions_are_told_apart_as_often_as_the_level_says() -> None:
    rng = np.random.default_rng(1)
    apart = 0
    for _ in range(200):
        found = judged(mixed(rng, shown(rng, "1", 60, 0.2), shown(rng, "2", 30, 0.2))).difference
        assert found is not None
        apart += not found.low <= 0.0 <= found.high
        assert (found.p_value < 0.05) == (not found.low <= 0.0 <= found.high)
    assert binomtest(apart, 200, 0.05).pvalue > 0.001


def test_a_better_version_is_told() -> None:
    rng = np.random.default_rng(2)
    rows = mixed(rng, shown(rng, "1", 2000, 0.1), shown(rng, "2", 300, 0.2))
    found = judged(rows).difference
    assert found is not None
    assert found.low > 0.0
    assert judged(rows, "1", None).difference == found, "by default the version that was shown last"
    assert judged(shown(rng, "1", 9, 0.1), "1", "1").difference is None
    assert judged(shown(rng, "1", 9, 0.1), "1", "3").difference is None


@pytest.mark.parametrize(("hits", "n"), [(0, 10), (1, 7), (40, 100), (100, 100)])
def test_wilsons_interval(hits: int, n: int) -> None:
    found, expected = wilson(hits / n, n), binomtest(hits, n).proportion_ci(0.95, "wilson")
    assert (found.low, found.high) == (pytest.approx(expected.low, abs=1e-12), pytest.approx(expected.high, abs=1e-12))
