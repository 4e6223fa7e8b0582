"""Is a refitted student fit to be deployed? It cannot be judged on held-out interactions, for it has seen all of them.

So it is held against its judged twin, the same student of the train split alone: a quarter more data changes a model, but not
into another one. The bounds are wide; they stop what is broken (rows that were mixed up, a training that went astray), not
what is merely a little worse.
"""

from __future__ import annotations

import numpy as np
from scipy import sparse

from freqd import numbers as fmt
from freqd.data.interactions import IdArray, Split
from freqd.embeddings import Embeddings, FloatMatrix
from freqd.evaluate.beyond_accuracy import coverage, mean_popularity, recommendation_counts
from freqd.evaluate.ranking import top_k
from freqd.evaluate.spread import spread
from freqd.gate import Check
from freqd.refit.report import RefitReport, report_of

K = 10
CHECKED_USERS = 5_000
"""Users whose lists are compared; a sample tells means of lists precisely enough."""
MIN_OVERLAP = 0.2
"""Of what mere popularity leaves open: 0 are lists as alike as those of two different users, 1 are equal lists."""
MIN_COVERAGE_RATIO = 0.5
MAX_POPULARITY_RATIO = 2.0
MAX_SPREAD_RATIO = 4.0
KNOWN_SLACK = 0.05
"""By how much the share of known users and items may be below the twin's: external embeddings may miss some rows."""


def check_refit(twin: Embeddings, refit: Embeddings, judged: Split, whole: Split, *, seed: int) -> RefitReport:
    """Hold a refitted student against its judged twin.

    Args:
        twin: of ``judged``.
        refit: of ``whole``, in which users and items of ``judged`` have the rows that they have there.
        judged, whole: the data of each.
        seed: of the users whose lists are compared.
    """
    shape = len(refit.users), len(refit.items)
    finite = bool(np.isfinite(refit.users).all() and np.isfinite(refit.items).all())
    checks = [Check(name="numbers are finite", value=float(finite), limit="= 1", passed=finite)]
    fits = shape == (whole.n_users, whole.n_items)
    for side, rows, n, theirs in (
        ("users", refit.users, whole.n_users, twin.users),
        ("items", refit.items, whole.n_items, twin.items),
    ):
        least = _known(theirs, len(theirs)) - KNOWN_SLACK
        checks.append(_between(f"{side} of the newest data known", _known(rows, n), least, None))
    if finite and fits:
        checks += _of_lists(twin, refit, judged, whole, seed)
    failed = tuple(
        f"{check.name}: {fmt.plain(check.value)}, required {check.limit}" for check in checks if not check.passed
    )
    if not fits:
        failed = (
            *failed,
            f"it has {shape[0]} users and {shape[1]} items, the data {whole.n_users} and {whole.n_items}",
        )
    return report_of(judged, whole, failed, tuple(checks))


def _of_lists(twin: Embeddings, refit: Embeddings, judged: Split, whole: Split, seed: int) -> list[Check]:
    """What both recommend to the same users, who have had the same."""
    rng, seen = np.random.default_rng(seed), whole.train.matrix()
    n_users, n_items = judged.n_users, judged.n_items
    users = np.sort(rng.permutation(n_users)[:CHECKED_USERS]).astype(np.int32)
    both = sparse.csr_array(seen[:n_users, :n_items])
    before, _ = top_k(twin, both, K, users=users)
    same, _ = top_k(Embeddings(refit.users[:n_users], refit.items[:n_items]), both, K, users=users)
    after, _ = top_k(refit, seen, K, users=users)
    degrees = np.bincount(whole.train.item, minlength=whole.n_items)
    counts = recommendation_counts(before, n_items, K), recommendation_counts(after, whole.n_items, K)
    old, new = coverage(counts[0]), coverage(counts[1])
    popularity = mean_popularity(counts[0], degrees[:n_items]), mean_popularity(counts[1], degrees)
    spreads = spread(twin, both, seed=seed), spread(refit, sparse.csr_array(seen), seed=seed)
    return [
        _between("overlap of the top 10 with the judged twin", _overlap_beyond_chance(before, same), MIN_OVERLAP, None),
        _between("item coverage@10, times the twin's", _ratio(new, old), MIN_COVERAGE_RATIO, None),
        _within(
            "mean item popularity@10, times the twin's", _ratio(popularity[1], popularity[0]), MAX_POPULARITY_RATIO
        ),
        _within("spread of scores, times the twin's", _ratio(spreads[1], spreads[0]), MAX_SPREAD_RATIO),
    ]


def _overlap_beyond_chance(one: IdArray, other: IdArray) -> float:
    """(overlap − chance) / (1 − chance) of two models' lists (n, k) for the same users.

    Chance is the overlap with the lists of the users half-way round: what all users are recommended alike says nothing of
    whether the rows belong to each other. 1 where chance is 1 too.
    """
    own, chance = _overlap(one, other), _overlap(one, np.roll(other, len(other) // 2, axis=0))
    return 1.0 if chance >= 1.0 else (own - chance) / (1.0 - chance)


def _overlap(one: IdArray, other: IdArray) -> float:
    """Mean share of the first lists' items that are in the second ones; −1 marks no item."""
    there = one >= 0
    hit = (one[:, :, None] == other[:, None, :]).any(axis=2) & there
    return float(hit.sum() / max(int(there.sum()), 1))


def _known(rows: FloatMatrix, wanted: int) -> float:
    """Share of the rows that are there and not zero throughout."""
    alive = np.count_nonzero(rows, axis=1) > 0
    return float(alive.sum() / max(wanted, 1))


def _ratio(value: float, theirs: float) -> float:
    return value / theirs if theirs else 1.0


def _within(name: str, ratio: float, factor: float) -> Check:
    """Neither more than ``factor`` times, nor less than one over it."""
    return _between(name, ratio, 1.0 / factor, factor)


def _between(name: str, value: float, low: float, high: float | None) -> Check:
    limit = f">= {fmt.plain(low)}" if high is None else f"{fmt.plain(low)} to {fmt.plain(high)}"
    return Check(name=name, value=value, limit=limit, passed=bool(low <= value and (high is None or value <= high)))
