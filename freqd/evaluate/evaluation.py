"""The whole judgement of a recommender: rank everything once, then measure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import sparse

from freqd.config import EvaluateConfig
from freqd.data.interactions import IdArray, Split
from freqd.errors import InputError
from freqd.evaluate import beyond_accuracy, strata
from freqd.evaluate import metrics as accuracy
from freqd.evaluate.metrics import PerUser
from freqd.evaluate.ranking import top_k
from freqd.evaluate.result import Evaluation, JudgedPart
from freqd.numerics.threads import blocks_of
from freqd.progress import Progress, silent
from freqd.scorer import Scorer

HEADLINE_K = 10
"""Always among the cut-offs; the groups are measured at it."""

_CHUNK = 8192
"""Users that are ranked and measured at a time: the lists of all users are never held."""


def evaluate(
    scorer: Scorer,
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
        scorer: the recommender; tables are one.
        split: its id space and the interactions.
        config: protocol and cut-offs.
        part: whose interactions are the targets.
        among: (n_users,) the users to judge, of those that the protocol judges; None for all.
        progress: called after every few thousand users.

    Raises:
        ValueError: the recommender is of another size than the split, or its scores are not finite.
        InputError: the part is empty, or has no interaction of a user to judge.
    """
    _require_fit(scorer, split)
    targets = split.part(part).matrix()
    n_targets = np.diff(targets.indptr)
    if targets.nnz == 0:
        raise InputError(
            f"the {part} split has no interactions: nothing to evaluate",
            f"raise data.{part}_fraction, or give a {part} split that holds interactions of known users and items",
        )
    if among is not None and not n_targets[among].any():
        raise InputError(f"no user to judge has an interaction in the {part} split", "judge users that have one")
    everyone = config.protocol == "kd-paper"
    judged = (n_targets > 0) | everyone
    users = np.flatnonzero(judged if among is None else judged & among).astype(np.int32)
    seen = _seen(split, everyone or part == "valid")
    ks = sorted({HEADLINE_K, *config.ks})
    lists = _Lists.empty(ks, len(users), split.n_items)
    for rows in blocks_of(len(users), _CHUNK):
        ranked, _ = top_k(scorer, seen, ks[-1], users=users[rows])
        hits = accuracy.hits(ranked, targets, users[rows])
        lists.add(rows, ranked, hits, n_targets[users[rows]])
        progress(rows.stop / len(users), f"ranked {rows.stop:,} of {len(users):,} users")
    item_counts = np.bincount(split.train.item, minlength=split.n_items)
    own = {name: lists.per_user[name] for name in (f"ndcg_at_{HEADLINE_K}", f"recall_at_{HEADLINE_K}")}
    return Evaluation(
        metrics=lists.metrics(item_counts, split.n_users),
        per_user=lists.per_user,
        users=users,
        protocol=config.protocol,
        part=part,
        n_users_evaluated=len(users),
        n_users_skipped=split.n_users - len(users),
        n_users_without_target=int((n_targets == 0).sum()),
        groups={
            "activity": strata.by_activity(np.bincount(split.train.user, minlength=split.n_users)[users], own),
            "popularity": strata.by_popularity(
                item_counts,
                targets=np.bincount(targets.indices, minlength=split.n_items),
                found=lists.found,
                recommended=lists.recommended[HEADLINE_K],
                k=HEADLINE_K,
            ),
        },
    )


def _require_fit(scorer: Scorer, split: Split) -> None:
    if (scorer.n_users, scorer.n_items) != (split.n_users, split.n_items):
        raise ValueError(
            f"features of {scorer.n_users} users and {scorer.n_items} items do not fit "
            f"a split of {split.n_users} users and {split.n_items} items"
        )


@dataclass(eq=False)
class _Lists:
    """What is kept of the ranked lists.

    Attributes:
        per_user: (n_users_evaluated,) values of each metric that has one a user.
        recommended: (n_items,) how often each item stands in the first k places, by k.
        found: (n_items,) how often it is a target among the first ``HEADLINE_K``.
    """

    per_user: dict[str, PerUser]
    recommended: dict[int, beyond_accuracy.ItemCounts]
    found: beyond_accuracy.ItemCounts

    @classmethod
    def empty(cls, ks: Sequence[int], n_users: int, n_items: int) -> _Lists:
        """Nothing yet."""
        per_user = {f"{name}_at_{k}": np.empty(n_users, np.float32) for k in ks for name in accuracy.METRICS}
        return cls(per_user, {k: np.zeros(n_items, np.int64) for k in ks}, np.zeros(n_items, np.int64))

    def add(self, rows: slice, ranked: IdArray, hits: accuracy.Hits, n_targets: npt.NDArray[np.integer]) -> None:
        """Measure the lists of some users, who stand at ``rows`` of all."""
        n_items = len(self.found)
        for k, counts in self.recommended.items():
            for name, metric in accuracy.METRICS.items():
                self.per_user[f"{name}_at_{k}"][rows] = metric(hits, n_targets, k)
            counts += beyond_accuracy.recommendation_counts(ranked, n_items, k)
        self.found += np.bincount(ranked[:, :HEADLINE_K][hits[:, :HEADLINE_K]], minlength=n_items)

    def metrics(self, item_counts: beyond_accuracy.ItemCounts, n_users: int) -> dict[str, float]:
        """Means over users, and what is measured over all lists.

        Args:
            item_counts: (n_items,) train interactions.
            n_users: of the split.
        """
        found = {name: float(values.mean(dtype=np.float64)) for name, values in self.per_user.items()}
        for k, counts in self.recommended.items():
            found[f"coverage_at_{k}"] = beyond_accuracy.coverage(counts)
            found[f"gini_at_{k}"] = beyond_accuracy.gini(counts)
            found[f"mean_popularity_at_{k}"] = beyond_accuracy.mean_popularity(counts, item_counts)
            found[f"novelty_at_{k}"] = beyond_accuracy.novelty(counts, item_counts, n_users)
        return found


def _seen(split: Split, train_only: bool) -> sparse.csr_array:
    """What must not be recommended."""
    train = split.train.matrix()
    if train_only:
        return train
    seen = train + split.valid.matrix()
    seen.sort_indices()
    return seen
