from __future__ import annotations

import numpy as np
import pytest

from freqd.embeddings import Embeddings
from freqd.evaluate import latency, scoring_latency


def table(n_users: int, n_items: int, dim: int) -> Embeddings:
    rng = np.random.default_rng(0)
    return Embeddings(
        rng.standard_normal((n_users, dim)).astype(np.float32), rng.standard_normal((n_items, dim)).astype(np.float32)
    )


def test_median_tail_and_range_in_milliseconds():
    got = scoring_latency({"one": table(5, 300, 4)}, repetitions=3, requests=10)["one"]
    assert 0 < got.low_ms <= got.median_ms <= got.high_ms < 1000
    assert got.median_ms <= got.p95_ms


def test_a_larger_model_takes_longer():
    tables = {name: table(3, 60_000, dim) for name, dim in (("small", 2), ("large", 256))}
    got = scoring_latency(tables, repetitions=3, requests=5)
    assert got["large"].median_ms > got["small"].median_ms


def test_models_take_turns_and_the_range_is_of_the_repetitions(monkeypatch):
    """What disturbs one repetition shows in the range of every model, and does not move the median."""
    asked = []
    sizes = {"a": table(2, 3, 2), "b": table(2, 4, 2)}

    def measured(features: Embeddings, k: int, requests: int) -> np.ndarray:
        asked.append(next(name for name, known in sizes.items() if known is features))
        disturbed = 9.0 if len(asked) > 4 else 0.0
        return np.full(requests, len(features.items) + disturbed)

    monkeypatch.setattr(latency, "_milliseconds", measured)
    got = scoring_latency(sizes, repetitions=3, requests=4)
    assert asked == ["a", "b", "b", "a", "a", "b"]
    assert got["a"] == latency.Latency(median_ms=3.0, p95_ms=12.0, low_ms=3.0, high_ms=12.0)
    assert (got["b"].low_ms, got["b"].median_ms, got["b"].high_ms) == (4.0, 4.0, 13.0)


def test_fewer_items_than_places():
    assert scoring_latency({"one": table(2, 3, 2)}, k=10, repetitions=1, requests=2)["one"].median_ms > 0


@pytest.mark.parametrize(
    ("shape", "options", "message"),
    [
        ((2, 3, 2), {"k": 0}, "at least 1, got 0"),
        ((2, 3, 2), {"repetitions": 0}, "at least 1, got 10, 0 and 40"),
        ((0, 3, 2), {}, "nothing to score"),
    ],
)
def test_names_what_is_wrong(shape, options, message):
    with pytest.raises(ValueError, match=message):
        scoring_latency({"one": table(*shape)}, **options)
