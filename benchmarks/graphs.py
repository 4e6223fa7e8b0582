"""Co-occurrence graphs of users and items, K = 10, against scipy's sparse product and a partial sort of each row."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from benchmarks import data
from benchmarks.harness import Figure, Limits, Options, Report, main, measure, ratio
from freqd.config import GraphConfig
from freqd.graph import build_graphs
from freqd.graph.cooccurrence import cooccurrence_neighbours

K = 10
ROWS = 1024
"""Rows of counts that the reference holds at a time."""


def run(options: Options, limits: Limits) -> Report:
    """Measure."""
    dataset = data.load("gowalla", tiny=options.tiny)
    train = dataset.split.train
    by_user = train.matrix()
    by_item = by_user.T.tocsr()
    by_item.sort_indices()
    config = GraphConfig(user_neighbours=K, item_neighbours=K)
    found = measure(
        {
            "freqd, both graphs": lambda: build_graphs(train, config),
            "freqd, neighbours only": lambda: [cooccurrence_neighbours(side, K) for side in (by_user, by_item)],
            "scipy product + partial sort": lambda: [neighbours(side, K) for side in (by_user, by_item)],
        },
        options,
    )
    ours = found["freqd, both graphs"]
    steps = sum(float((np.diff(side.indptr).astype(np.float64) ** 2).sum()) for side in (by_user, by_item))
    counters_copied = 4.0 * steps / limits.copy_bytes
    return Report(
        f"Co-occurrence graphs of both sides, K = {K}",
        dataset.label,
        tuple(found.values()),
        (
            Figure("freqd, seconds for both graphs", ours.seconds, ours.cpu_seconds, "<= 3"),
            ratio(
                "freqd, neighbours only / scipy", found["freqd, neighbours only"], found["scipy product + partial sort"]
            ),
            Figure("freqd / copying 4 bytes a counted pair", ours.seconds / counters_copied),
            *([] if ours.peak_bytes is None else [Figure("freqd, peak in GiB", ours.peak_bytes / 2**30, None, "< 1")]),
        ),
        (f"Pairs that have to be counted: {steps:.3g}. Largest counts per row agree: {_agree(by_user, by_item)}.",),
    )


def neighbours(incidence: sparse.csr_array, k: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """(neighbours, counts) of each row, in no order, by the sparse product C = R Rᵀ, some rows at a time."""
    transposed = incidence.T.tocsr()
    found = []
    for first in range(0, incidence.shape[0], ROWS):
        counts = incidence[first : first + ROWS] @ transposed
        for row in range(counts.shape[0]):
            place = slice(counts.indptr[row], counts.indptr[row + 1])
            others, values = counts.indices[place], counts.data[place]
            own = others != first + row
            others, values = others[own], values[own]
            if len(values) > k:
                best = np.argpartition(values, len(values) - k)[-k:]
                others, values = others[best], values[best]
            found.append((others, values))
    return found


def _agree(*sides: sparse.csr_array) -> bool:
    """Whether the counts are the reference's; which of several equal counts is kept may differ."""
    for side in sides:
        ours = cooccurrence_neighbours(side, K)
        for row, (_, values) in enumerate(neighbours(side, K)):
            if not np.array_equal(np.sort(ours.scores[row, : ours.found[row]]), np.sort(values)):
                return False
    return True


if __name__ == "__main__":
    main(run)
