"""Full ranking: the top 20 of every user with train items masked, d = 64, and all metrics of it."""

from __future__ import annotations

import numpy as np
from implicit.cpu.topk import topk
from scipy import sparse

from benchmarks import data
from benchmarks.harness import Figure, Limits, Options, Report, main, measure, ratio
from freqd.data.interactions import IdArray
from freqd.embeddings import Embeddings
from freqd.evaluate import beyond_accuracy, metrics, top_k
from freqd.numerics.threads import one_blas_thread

K = 20
CUTS = (10, 20)
USER_BLOCK, ITEM_BLOCK = 512, 4096
"""Blocks of the bare matrix product, the fastest of those tried."""


def run(options: Options, limits: Limits) -> Report:
    """Measure."""
    dataset = data.load("gowalla", tiny=options.tiny)
    split, dim = dataset.split, 8 if options.tiny else 64
    features = data.features(split, dim)
    seen, targets = split.train.matrix(), split.test.matrix()
    query = sparse.csr_matrix(seen)
    ranked, _ = top_k(features, seen, K)

    def peer() -> object:
        with one_blas_thread():
            return topk(features.items, features.users, K, filter_query_items=query, num_threads=options.threads)

    theirs, _ = peer()  # type: ignore[misc]
    found = measure(
        {
            "freqd top_k": lambda: top_k(features, seen, K),
            "implicit topk": peer,
            "the matrix product alone": lambda: _product(features),
            "all metrics of the lists": lambda: _metrics(ranked, targets, split.n_items),
        },
        options,
    )
    ours = found["freqd top_k"]
    at_limit = 2.0 * split.n_users * split.n_items * dim / limits.gemm_flops
    return Report(
        f"Full ranking, top {K}, d = {dim}",
        dataset.label,
        tuple(found.values()),
        (
            ratio("freqd / implicit", ours, found["implicit topk"], "<= 1.0"),
            ratio("freqd / the matrix product alone", ours, found["the matrix product alone"]),
            Figure("freqd / GEMM at the measured FLOP/s", ours.seconds / at_limit, None, "<= 3"),
            ratio("metrics / ranking", found["all metrics of the lists"], ours, "< 0.1"),
        ),
        (f"Share of list positions with the same item as implicit's: {float((ranked == theirs).mean()):.4f}.",),
    )


def _product(features: Embeddings) -> None:
    out = np.empty((USER_BLOCK, ITEM_BLOCK), np.float32)
    for first in range(0, len(features.users), USER_BLOCK):
        users = features.users[first : first + USER_BLOCK]
        for start in range(0, len(features.items), ITEM_BLOCK):
            items = features.items[start : start + ITEM_BLOCK]
            np.matmul(users, items.T, out=out[: len(users), : len(items)])


def _metrics(ranked: IdArray, targets: sparse.csr_array, n_items: int) -> None:
    n_targets = np.diff(targets.indptr)
    hits = metrics.hits(ranked, targets, np.arange(len(ranked), dtype=np.int32))
    for k in CUTS:
        for metric in metrics.METRICS.values():
            metric(hits, n_targets, k)
        recommended = beyond_accuracy.recommendation_counts(ranked, n_items, k)
        beyond_accuracy.coverage(recommended)
        beyond_accuracy.gini(recommended)


if __name__ == "__main__":
    main(run)
