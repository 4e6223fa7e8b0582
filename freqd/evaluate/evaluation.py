"""The whole judgement of a recommender: rank everything once, then measure."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import sparse

from freqd.config import EvaluateConfig
from freqd.data.interactions import IdArray, Split
from freqd.embeddings import Embeddings
from freqd.errors import InputError
from freqd.evaluate import beyond_accuracy, strata
from freqd.evaluate import metrics as accuracy
from freqd.evaluate.ranking import top_k
from freqd.evaluate.result import Evaluation, JudgedPart
from freqd.progress import Progress, silent

HEADLINE_K = 10
"""Always among the cut-offs; the groups are measured at it."""

_CHUNK = 8192
"""Users that are ranked and measured at a time: the lists of all users are never held."""


def evaluate(
    features: Embeddings,
    split: Split,
    config: EvaluateConfig,
    *,
    part: JudgedPart = "test",
    among: npt.NDArray[np.bool_] | None = None,
    progress: Progress = silent,
) -> Evaluation:
    """Rank all items for the users of ``part`` and measure the lists.

    ``standard`` masks the train items, and at the test split the validation items too, and averages over the users with
    at least one target. ``kd-paper`` masks the train items only and averages over all users, of whom those without a
    target score 0. Accuracy is a mean over users; coverage, Gini, popularity and novelty are over all lists.

    Args:
        features: the recommender.
        split: its id space and the interactions.
        config: protocol and cut-offs.
        part: whose interactions are the targets.
        among: (n_users,) the users to judge, of those that the protocol judges; None for all.
        progress: called after every few thousand users.

    Raises:
        ValueError: the features are of another size than the split, or not finite.
        InputError: the part is empty, or has no interaction of a user to judge.
    """
    if (len(features.users), len(features.items)) != (split.n_users, split.n_items):
        raise ValueError(
            f"features of {len(features.users)} users and {len(features.items)} items do not fit "
            f"a split of {split.n_users} users and {split.n_items} items"
        )
    targets = split.part(part).matrix()
    n_targets = np.diff(targets.indptr)
    if targets.nnz == 0:
        raise InputError(
            f"the {part} split has no interactions: nothing to evaluate",
            f"raise data.{part}_fraction, or give a {part} split that holds interactions of known users and items",
        )
    if among is not None and not n_targets[among].any():
        raise InputError(
            f"none of the users to judge has an interaction in the {part} split", "judge users that have one"
        )
    everyone = config.protocol == "kd-paper"
    judged = np.ones(split.n_users, np.bool_) if everyone else n_targets > 0
    users = np.flatnonzero(judged if among is None else judged & among).astype(np.int32)
    seen = _seen(split, everyone or part == "valid")
    ks = sorted({HEADLINE_K, *config.ks})

    per_user = {f"{name}_at_{k}": np.empty(len(users), np.float32) for k in ks for name in accuracy.METRICS}
    recommended = {k: np.zeros(split.n_items, np.int64) for k in ks}
    found = np.zeros(split.n_items, np.int64)
    for start in range(0, len(users), _CHUNK):
        rows = slice(start, start + _CHUNK)
        ranked, _ = top_k(features, seen, ks[-1], users=users[rows])
        hits = accuracy.hits(ranked, targets, users[rows])
        for k in ks:
            for name, metric in accuracy.METRICS.items():
                per_user[f"{name}_at_{k}"][rows] = metric(hits, n_targets[users[rows]], k)
            recommended[k] += beyond_accuracy.recommendation_counts(ranked, split.n_items, k)
        found += np.bincount(ranked[:, :HEADLINE_K][hits[:, :HEADLINE_K]], minlength=split.n_items)
        progress(
            min(rows.stop, len(users)) / len(users), f"ranked {min(rows.stop, len(users)):,} of {len(users):,} users"
        )

    item_counts = np.bincount(split.train.item, minlength=split.n_items)
    metrics = {name: float(values.mean(dtype=np.float64)) for name, values in per_user.items()}
    for k in ks:
        metrics[f"coverage_at_{k}"] = beyond_accuracy.coverage(recommended[k])
        metrics[f"gini_at_{k}"] = beyond_accuracy.gini(recommended[k])
        metrics[f"mean_popularity_at_{k}"] = beyond_accuracy.mean_popularity(recommended[k], item_counts)
        metrics[f"novelty_at_{k}"] = beyond_accuracy.novelty(recommended[k], item_counts, split.n_users)
    without_target = int((n_targets == 0).sum())
    return Evaluation(
        metrics=metrics,
        per_user=per_user,
        users=users,
        protocol=config.protocol,
        part=part,
        n_users_evaluated=len(users),
        n_users_skipped=split.n_users - len(users),
        n_users_without_target=without_target,
        groups={
            "activity": strata.by_activity(
                _user_counts(split, users),
                {name: per_user[name] for name in (f"ndcg_at_{HEADLINE_K}", f"recall_at_{HEADLINE_K}")},
            ),
            "popularity": strata.by_popularity(
                item_counts,
                targets=np.bincount(targets.indices, minlength=split.n_items),
                found=found,
                recommended=recommended[HEADLINE_K],
                k=HEADLINE_K,
            ),
        },
    )


def _seen(split: Split, train_only: bool) -> sparse.csr_array:
    """What must not be recommended."""
    train = split.train.matrix()
    if train_only:
        return train
    seen = train + split.valid.matrix()
    seen.sort_indices()
    return seen


def _user_counts(split: Split, users: IdArray) -> beyond_accuracy.ItemCounts:
    """Train interactions of each of ``users``."""
    counts: beyond_accuracy.ItemCounts = np.bincount(split.train.user, minlength=split.n_users)[users]
    return counts
