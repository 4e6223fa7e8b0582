"""The whole judgement of a recommender: rank everything once, then measure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import sparse

from freqd.config import EvaluateConfig
from freqd.data.interactions import IdArray, Split
from freqd.engine import HERE, Engine
from freqd.errors import InputError
from freqd.evaluate import beyond_accuracy, strata
from freqd.evaluate import metrics as accuracy
from freqd.evaluate.list_diversity import diversity_within_lists, spread_over
from freqd.evaluate.metrics import PerUser
from freqd.evaluate.ranking import top_k
from freqd.evaluate.result import Evaluation, JudgedPart
from freqd.numerics.threads import blocks_of
from freqd.progress import Progress, silent
from freqd.scorer import Scorer

HEADLINE_K = 10
"""Always among the cut-offs; the groups, and diversity within lists, are measured at it."""

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
    engine: Engine = HERE,
) -> Evaluation:
    """Rank all items for the users of ``part`` and measure the lists.

    ``standard`` masks the train items, and at the test split the validation items too, and averages over the users with
    at least one target. ``kd-paper`` masks the train items only and averages over all users, of whom those without a
    target score 0. ``config.users`` draws as many of them where there are more. Accuracy is a mean over users; coverage, Gini, popularity, novelty and diversity are over all lists, and
    ``tail_recall_at_k`` is over all targets in the tail together (0 if there is none). ``diversity_within_lists_at_10`` looks
    at 2,000 lists where there are more.

    Args:
        scorer: the recommender; tables are one.
        split: its id space and the interactions.
        config: protocol and cut-offs.
        part: whose interactions are the targets.
        among: (n_users,) the users to judge, of those that the protocol judges; None for all.
        progress: called after every few thousand users.
        engine: ranks blocks of users.

    Raises:
        ValueError: the recommender is of another size than the split, or its scores are not finite.
        InputError: the part is empty, or has no interaction of a user to judge.
    """
    _require_fit(scorer, split)
    train, targets = split.train.matrix(), split.part(part).matrix()
    n_targets = np.diff(targets.indptr)
    _require_targets(n_targets, part, among)
    everyone = config.protocol == "kd-paper"
    judged = (n_targets > 0) | everyone
    to_judge = np.flatnonzero(judged if among is None else judged & among).astype(np.int32)
    users = _drawn(to_judge, config.users)
    seen = train if part == "valid" else seen_items(split, config)
    ks = sorted({HEADLINE_K, *config.ks})
    item_counts = np.bincount(split.train.item, minlength=split.n_items)
    lists = _Lists.empty(ks, len(users), strata.popularity_groups(item_counts))
    blocks = blocks_of(len(users), _CHUNK)
    found = engine.map(_ranked, [users[rows] for rows in blocks], scorer, seen, targets, ks[-1])
    for rows, (ranked, hits) in zip(blocks, found, strict=True):
        lists.add(rows, ranked, hits, n_targets[users[rows]])
        progress(rows.stop / len(users), f"ranked {rows.stop:,} of {len(users):,} users")
    activity = np.bincount(split.train.user, minlength=split.n_users)[users]
    by_group = strata.count_by_popularity(targets[users].indices, n_targets[users], lists.item_groups)
    own = {name: lists.per_user[name] for name in (f"ndcg_at_{HEADLINE_K}", f"recall_at_{HEADLINE_K}")}
    return Evaluation(
        metrics=lists.metrics(train, item_counts, int(by_group[:, strata.TAIL].sum())),
        per_user=lists.per_user,
        users=users,
        protocol=config.protocol,
        part=part,
        n_users_evaluated=len(users),
        n_users_skipped=split.n_users - len(to_judge),
        n_users_without_target=int((n_targets == 0).sum()),
        groups={
            "activity": strata.by_activity(activity, own),
            "popularity": strata.by_popularity(
                lists.item_groups, by_group, lists.found, lists.recommended[HEADLINE_K], HEADLINE_K
            ),
        },
        activity=strata.activity_groups(activity),
        targets=by_group,
        hits=lists.found,
        n_users_not_drawn=len(to_judge) - len(users),
    )


def _ranked(
    users: IdArray, scorer: Scorer, seen: sparse.csr_array, targets: sparse.csr_array, k: int
) -> tuple[IdArray, accuracy.Hits]:
    """Lists (n, k) of some users, and which of their items are targets."""
    ranked, _ = top_k(scorer, seen, k, users=users)
    return ranked, accuracy.hits(ranked, targets, users)


def _drawn(users: IdArray, limit: int | None) -> IdArray:
    """``limit`` of the users where there are more: the same of the same users, so that models can be compared user by user."""
    if limit is None or len(users) <= limit:
        return users
    return np.sort(np.random.default_rng(0).choice(users, limit, replace=False))


def seen_items(split: Split, config: EvaluateConfig) -> sparse.csr_array:
    """What is not recommended at the test split, (n_users, n_items): train, and validation where the protocol masks it too."""
    train = split.train.matrix()
    if config.protocol == "kd-paper":
        return train
    seen = train + split.valid.matrix()
    seen.sort_indices()
    return seen


def _require_targets(n_targets: npt.NDArray[np.integer], part: JudgedPart, among: npt.NDArray[np.bool_] | None) -> None:
    if not n_targets.any():
        raise InputError(
            f"the {part} split has no interactions: nothing to evaluate",
            f"raise data.{part}_fraction, or give a {part} split that holds interactions of known users and items",
        )
    if among is not None and not n_targets[among].any():
        raise InputError(f"no user to judge has an interaction in the {part} split", "judge users that have one")


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
        item_groups: (n_items,) group of each item by popularity.
        per_user: (n_users_evaluated,) values of each metric that has one a user.
        recommended: (n_items,) how often each item stands in the first k places, by k.
        in_tail: targets in the tail that stand there, by k.
        found: (n_users_evaluated, 3) targets of each group among the first ``HEADLINE_K``.
        measured: rows of the lists of which ``first`` holds the first ``HEADLINE_K`` items.
    """

    item_groups: npt.NDArray[np.int64]
    per_user: dict[str, PerUser]
    recommended: dict[int, beyond_accuracy.ItemCounts]
    in_tail: dict[int, int]
    found: strata.GroupCounts
    measured: npt.NDArray[np.int64]
    first: IdArray

    @classmethod
    def empty(cls, ks: Sequence[int], n_users: int, item_groups: npt.NDArray[np.int64]) -> _Lists:
        """Nothing yet."""
        measured = spread_over(n_users)
        return cls(
            item_groups=item_groups,
            per_user={f"{name}_at_{k}": np.empty(n_users, np.float32) for k in ks for name in accuracy.METRICS},
            recommended={k: np.zeros(len(item_groups), np.int64) for k in ks},
            in_tail=dict.fromkeys(ks, 0),
            found=np.zeros((n_users, len(strata.POPULARITY_GROUPS)), np.int32),
            measured=measured,
            first=np.full((len(measured), HEADLINE_K), -1, np.int32),
        )

    def add(self, rows: slice, ranked: IdArray, hits: accuracy.Hits, n_targets: npt.NDArray[np.integer]) -> None:
        """Measure the lists of some users, who stand at ``rows`` of all."""
        group = np.where(hits, self.item_groups[ranked], -1)
        for k, counts in self.recommended.items():
            for name, metric in accuracy.METRICS.items():
                self.per_user[f"{name}_at_{k}"][rows] = metric(hits, n_targets, k)
            counts += beyond_accuracy.recommendation_counts(ranked, len(counts), k)
            self.in_tail[k] += int((group[:, :k] == strata.TAIL).sum())
        for index in range(len(strata.POPULARITY_GROUPS)):
            self.found[rows, index] = (group[:, :HEADLINE_K] == index).sum(axis=1)
        chosen = slice(*np.searchsorted(self.measured, [rows.start, rows.stop]))
        self.first[chosen] = ranked[self.measured[chosen] - rows.start, :HEADLINE_K]

    def metrics(
        self, train: sparse.csr_array, item_counts: beyond_accuracy.ItemCounts, tail_targets: int
    ) -> dict[str, float]:
        """Means over users, and what is measured over all lists.

        Args:
            train: (n_users, n_items) binary CSR.
            item_counts: (n_items,) train interactions.
            tail_targets: targets of the judged users that lie in the tail.
        """
        found = {name: float(values.mean(dtype=np.float64)) for name, values in self.per_user.items()}
        for k, counts in self.recommended.items():
            found[f"tail_recall_at_{k}"] = self.in_tail[k] / max(tail_targets, 1)
            found[f"coverage_at_{k}"] = beyond_accuracy.coverage(counts)
            found[f"gini_at_{k}"] = beyond_accuracy.gini(counts)
            found[f"mean_popularity_at_{k}"] = beyond_accuracy.mean_popularity(counts, item_counts)
            found[f"novelty_at_{k}"] = beyond_accuracy.novelty(counts, item_counts, train.shape[0])
            found[f"top_share_at_{k}"] = beyond_accuracy.top_share(counts, item_counts)
            between = beyond_accuracy.diversity_between_lists(counts, len(self.found), k)
            found[f"diversity_between_lists_at_{k}"] = between
        found[f"diversity_within_lists_at_{HEADLINE_K}"] = diversity_within_lists(self.first, train)
        return found
