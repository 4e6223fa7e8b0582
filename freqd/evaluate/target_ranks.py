"""At which places of the ranking the targets stand, without ranking the rest: what validation asks for, and no more.

NDCG@k needs the ranks of a user's targets among all items, and only those below k. So items are looked at by descending
norm, a tile at a time, and a user is done as soon as either

- k items beat each of the targets (for most users a few hundred items suffice), or
- no item that is left can beat one: by Cauchy-Schwarz its score is at most ‖u‖ times its norm.

The result is that of the full ranking. On Gowalla (ALS, D = 256) it takes 2 to 17 % of the scores.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from freqd.data.interactions import IdArray
from freqd.embeddings import Embeddings
from freqd.evaluate import metrics
from freqd.evaluate.ranking import SCAN, finite_norms, may_overflow
from freqd.numerics import threads
from freqd.numerics.jit import kernel

USER_BLOCK = 1024
"""Users that one thread takes at a time, at the most."""

TILE_SCORES = 1 << 18
"""Scores of a tile, 1 MiB: the fewer users are left, the more items at a time."""

MOST_ITEMS = 2048
"""Items of a tile, at the most."""

SHRINK = 0.85
"""The rows of users that are done are dropped once no more than this share is left."""


def target_hits(
    features: Embeddings,
    seen: sparse.csr_array,
    targets: sparse.csr_array,
    k: int,
    users: IdArray,
) -> metrics.Hits:
    """Which of the first ``k`` places of each user's ranking hold a target: ``hits`` of the lists of ``top_k``.

    Scores that float32 cannot tell apart are compared in float64; among equal ones the lower item id comes first. So the
    result does not depend on the number of threads. Memory: about 2 MiB and a block of users a thread.

    Args:
        features: the recommender.
        seen: (n_users, n_items) CSR; stored entries are never recommended, as targets neither.
        targets: (n_users, n_items) CSR.
        k: places, at least 1.
        users: (n,) the users to look at, in any order.

    Returns:
        (n, k) bool.

    Raises:
        ValueError: a feature or a score is not finite.
    """
    n_items = len(features.items)
    user_features = features.users[users]
    user_norms, item_norms = finite_norms(user_features, users, features.items)
    unsafe = may_overflow(user_norms, item_norms)
    order = np.argsort(-item_norms, kind="stable").astype(np.int32)
    reach = np.append(item_norms[order], 0.0)
    seen, targets = (part if part.has_sorted_indices else part.sorted_indices() for part in (seen, targets))
    rounding = 1.2e-7 * (features.dim + 1)
    hits = np.zeros((len(users), k), np.bool_)

    def judge(block: slice) -> None:
        rows, ids = user_features[block], users[block]
        places = _Places(rows, ids, features, seen, targets, k)
        slack = rounding * user_norms[block]
        alive = np.flatnonzero(places.left > 0)
        rows = rows[alive]
        buffer = np.empty(max(TILE_SCORES, len(alive)), np.float32)
        first = 0
        while first < n_items and len(alive):
            width = min(max(len(buffer) // len(alive), 1), MOST_ITEMS)
            chosen = order[first : first + width]
            tile = buffer[: len(alive) * len(chosen)].reshape(len(alive), len(chosen))
            with np.errstate(over="ignore", invalid="ignore"):  # looked for below
                np.matmul(rows, features.items[chosen].T, out=tile)
            if unsafe and not np.isfinite(tile).all():
                raise ValueError("scores are not finite: the features are too large for float32 inner products")
            places.look(tile, chosen, alive, slack[alive] * reach[first])
            first += len(chosen)
            going = places.open(alive, (user_norms[block][alive] + slack[alive]) * reach[first])
            if going.sum() <= SHRINK * len(alive):
                alive, rows = alive[going], rows[going]
        hits[block] = places.hits()

    size = max(1, min(USER_BLOCK, -(-len(users) // threads.count())))
    with threads.one_blas_thread():
        threads.run(judge, threads.blocks_of(len(users), size))
    return hits


class _Places:
    """The best targets of some users, and how many items have been found to beat each of them.

    Attributes:
        left: (n,) targets of each user that may still be among the first k; the others rank below these.
    """

    def __init__(
        self,
        rows: npt.NDArray[np.float32],
        users: IdArray,
        features: Embeddings,
        seen: sparse.csr_array,
        targets: sparse.csr_array,
        k: int,
    ) -> None:
        self._rows, self._users, self._items = rows, users, features.items
        self._seen = (seen.indptr, seen.indices)
        counts = targets.indptr[users + 1] - targets.indptr[users]
        depth = min(k, int(counts.max(initial=0)))  # the r-th target is beaten by r − 1 others
        self._ids = np.full((len(users), depth), -1, np.int32)
        self._scores = np.full((len(users), depth), -np.inf)
        self._beaten = np.zeros((len(users), depth), np.int32)
        self._k = k
        self.left = np.zeros(len(users), np.int32)
        _best_targets(
            rows, users, self._items, *self._seen, targets.indptr, targets.indices, self._ids, self._scores, self.left
        )

    def look(
        self,
        tile: npt.NDArray[np.float32],
        items: IdArray,
        alive: npt.NDArray[np.integer],
        slack: npt.NDArray[np.float64],
    ) -> None:
        """Count the items of a tile of scores, whose rows are the users ``alive``; ``slack`` bounds their rounding."""
        _look(
            tile, items, alive, slack, self._rows, self._users, self._items, *self._seen, self._ids, self._scores,
            self._beaten, self.left, self._k,
        )  # fmt: skip

    def open(self, alive: npt.NDArray[np.integer], bound: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
        """Whose targets may still be beaten, if no score that is left exceeds ``bound``."""
        left = self.left[alive]
        lowest = self._scores[alive, np.maximum(left, 1) - 1]
        going: npt.NDArray[np.bool_] = (left > 0) & (lowest <= bound)
        return going

    def hits(self) -> metrics.Hits:
        """Places of the targets that are among the first k."""
        found = np.zeros((len(self.left), self._k), np.bool_)
        user, place = np.nonzero(np.arange(self._ids.shape[1]) < self.left[:, None])
        found[user, self._beaten[user, place]] = True
        return found


def ndcg_of_users(
    features: Embeddings,
    train: sparse.csr_array,
    valid: sparse.csr_array,
    k: int = 10,
    sample: IdArray | None = None,
) -> metrics.PerUser:
    """NDCG@k of each user with a validation item, train items masked: (n,), users as in ``sample`` or ascending.

    Args:
        features: the recommender.
        train, valid: (n_users, n_items) CSR.
        k: cut-off.
        sample: users to look at (those without a validation item are left out); all by default.

    Raises:
        ValueError: no user that was asked for has a validation item.
    """
    counts = np.diff(valid.indptr)
    asked = np.arange(len(counts), dtype=np.int32) if sample is None else sample.astype(np.int32, copy=False)
    users = asked[counts[asked] > 0]
    if len(users) == 0:
        raise ValueError("no user has a validation item")
    return metrics.ndcg(target_hits(features, train, valid, k, users), counts[users], k)


def ndcg_on_validation(
    features: Embeddings,
    train: sparse.csr_array,
    valid: sparse.csr_array,
    k: int = 10,
    sample: IdArray | None = None,
) -> float:
    """Mean of ``ndcg_of_users``."""
    return float(ndcg_of_users(features, train, valid, k, sample).mean(dtype=np.float64))


@kernel()
def _score(user: Any, item: Any) -> Any:
    """The inner product, summed in one order wherever this is compiled into."""
    total = 0.0
    for c in range(user.shape[0]):
        total += np.float64(user[c]) * np.float64(item[c])
    return total


@kernel()
def _holds(ids: Any, low: Any, high: Any, item: Any) -> Any:
    """Whether ascending ``ids[low:high]`` hold the item."""
    end = high
    while low < high:
        middle = (low + high) // 2
        if ids[middle] < item:
            low = middle + 1
        else:
            high = middle
    return low < end and ids[low] == item


@kernel()
def _best_targets(rows, users, items, seen_at, seen, target_at, targets, ids, scores, left):  # type: ignore[no-untyped-def]
    """Fill ``ids`` and ``scores`` (n, depth) with each user's best unseen targets, best first, and ``left`` with their number."""
    depth = ids.shape[1]
    for row in range(rows.shape[0]):
        user = users[row]
        found = 0
        for p in range(target_at[user], target_at[user + 1]):
            item = targets[p]
            if _holds(seen, seen_at[user], seen_at[user + 1], item):
                continue
            score = _score(rows[row], items[item])
            place = found
            while place > 0 and score > scores[row, place - 1]:  # ids ascend: among equals the earlier one stays ahead
                if place < depth:
                    scores[row, place], ids[row, place] = scores[row, place - 1], ids[row, place - 1]
                place -= 1
            if place < depth:
                scores[row, place], ids[row, place] = score, item
                found = min(found + 1, depth)
        left[row] = found


@kernel(fastmath={"nnan", "nsz"})
def _look(tile, chosen, alive, slack, rows, users, items, seen_at, seen, ids, scores, beaten, left, k):  # type: ignore[no-untyped-def]
    """Count the items that beat each target; see ``_Places.look``."""
    n_columns = tile.shape[1]
    for row in range(tile.shape[0]):
        at = alive[row]
        live = left[at]
        if live == 0:
            continue
        user = users[at]
        threshold = np.float32(scores[at, live - 1] - slack[row] - 1e-30)
        for start in range(0, n_columns, SCAN):
            stop = min(start + SCAN, n_columns)
            highest = tile[row, start]
            for column in range(start, stop):
                highest = max(highest, tile[row, column])
            if highest < threshold:
                continue
            for column in range(start, stop):
                score = tile[row, column]
                if score < threshold:
                    continue
                item = chosen[column]
                if _holds(seen, seen_at[user], seen_at[user + 1], item):
                    continue
                exact = np.float64(0.0)
                known = False
                for place in range(live - 1, -1, -1):
                    target = scores[at, place]
                    if score < target - slack[row]:
                        break
                    if score <= target + slack[row]:
                        if not known:
                            exact, known = _score(rows[at], items[item]), True
                        if exact < target or (exact == target and item >= ids[at, place]):
                            break  # nor does it beat the targets above this one
                    beaten[at, place] += 1
                while live > 0 and beaten[at, live - 1] >= k:
                    live -= 1
                    if live > 0:
                        threshold = np.float32(scores[at, live - 1] - slack[row] - 1e-30)
                if live == 0:
                    break
            if live == 0:
                break
        left[at] = live
