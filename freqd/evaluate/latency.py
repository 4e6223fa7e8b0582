"""What a request costs: one user against the whole catalogue, measured several times for all models in turn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from time import perf_counter

import numpy as np
import numpy.typing as npt

from freqd.embeddings import Embeddings
from freqd.numerics.threads import one_blas_thread
from freqd.scorer import Scorer

_WARM_UP = 10


@dataclass(frozen=True)
class Latency:
    """Milliseconds of a request.

    Attributes:
        median_ms, p95_ms: over the requests of all repetitions.
        low_ms, high_ms: lowest and highest median of a repetition.
    """

    median_ms: float
    p95_ms: float
    low_ms: float
    high_ms: float


def scoring_latency(
    models: Mapping[str, Scorer], *, k: int = 10, repetitions: int = 7, requests: int = 40
) -> dict[str, Latency]:
    """Milliseconds to score all items for one user and sort out the best ``k``, by model.

    One thread, users spread evenly over the table. A repetition asks each model in turn, after a few calls that are not
    counted, and begins with another one than the repetition before: what else the machine does hits all models alike, and the
    range over repetitions shows how much it did.

    Args:
        models: the recommenders by name.
        k: length of the list.
        repetitions: how often all of them are measured.
        requests: timed requests of each in a repetition.

    Raises:
        ValueError: k, repetitions or requests below 1, or an empty table.
    """
    if min(k, repetitions, requests) < 1:
        raise ValueError(f"k, repetitions and requests must be at least 1, got {k}, {repetitions} and {requests}")
    for scorer in models.values():
        if not scorer.n_users or not scorer.n_items:
            raise ValueError(f"nothing to score: {scorer.n_users} users and {scorer.n_items} items")
    names = list(models)
    spent = {name: np.empty((repetitions, requests)) for name in names}
    with one_blas_thread():
        for repetition in range(repetitions):
            first = repetition % max(len(names), 1)
            for name in names[first:] + names[:first]:
                spent[name][repetition] = _milliseconds(models[name], k, requests)
    return {name: _summed_up(found) for name, found in spent.items()}


def _milliseconds(scorer: Scorer, k: int, requests: int) -> npt.NDArray[np.float64]:
    """Of each request of one repetition, (requests,)."""
    n_items = scorer.n_items
    asked = np.linspace(0, scorer.n_users - 1, num=_WARM_UP + requests).astype(np.int32)
    seconds = np.empty(len(asked))
    for request, user in enumerate(asked):
        start = perf_counter()
        if isinstance(scorer, Embeddings):
            scores = scorer.items @ scorer.users[user]
        else:
            scores = scorer.block(asked[request : request + 1])[0]
        best = np.argpartition(-scores, k - 1)[:k] if k < n_items else np.arange(n_items)
        best[np.argsort(-scores[best], kind="stable")]
        seconds[request] = perf_counter() - start
    return 1000 * seconds[_WARM_UP:]


def _summed_up(milliseconds: npt.NDArray[np.float64]) -> Latency:
    medians = np.median(milliseconds, axis=1)
    return Latency(
        median_ms=float(np.median(milliseconds)),
        p95_ms=float(np.quantile(milliseconds, 0.95)),
        low_ms=float(medians.min()),
        high_ms=float(medians.max()),
    )
