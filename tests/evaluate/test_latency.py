from __future__ import annotations

import numpy as np
import pytest

from freqd.embeddings import Embeddings
from freqd.evaluate import scoring_latency


def table(n_users: int, n_items: int, dim: int) -> Embeddings:
    rng = np.random.default_rng(0)
    return Embeddings(
        rng.standard_normal((n_users, dim)).astype(np.float32), rng.standard_normal((n_items, dim)).astype(np.float32)
    )


def test_median_and_tail_in_milliseconds():
    got = scoring_latency(table(5, 300, 4), repeats=30)
    assert set(got) == {"median_ms", "p95_ms"}
    assert 0 < got["median_ms"] <= got["p95_ms"] < 1000


def test_a_larger_model_takes_longer():
    small, large = (scoring_latency(table(3, 60_000, dim), repeats=15) for dim in (2, 256))
    assert large["median_ms"] > small["median_ms"]


def test_fewer_items_than_places():
    assert scoring_latency(table(2, 3, 2), k=10, repeats=2)["median_ms"] > 0


@pytest.mark.parametrize(
    ("shape", "options", "message"),
    [
        ((2, 3, 2), {"k": 0}, "at least 1, got 0"),
        ((2, 3, 2), {"repeats": 0}, "at least 1, got 10 and 0"),
        ((0, 3, 2), {}, "nothing to score"),
    ],
)
def test_names_what_is_wrong(shape, options, message):
    with pytest.raises(ValueError, match=message):
        scoring_latency(table(*shape), **options)
