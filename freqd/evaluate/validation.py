"""The number by which everything is chosen: NDCG@10 on the validation split, always over the same users."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from freqd.data.interactions import IdArray, Split
from freqd.embeddings import Embeddings
from freqd.evaluate import metrics
from freqd.evaluate.metrics import PerUser
from freqd.evaluate.ranking import top_k
from freqd.evaluate.target_ranks import ndcg_of_users
from freqd.scorer import Scorer


@dataclass(frozen=True, eq=False)
class Validation:
    """Called with a model, tables or another scorer, it tells its mean NDCG@10 over ``users``, train items masked.

    Attributes:
        train, valid: (n_users, n_items) binary CSR.
        users: users with a validation item that are looked at, ascending.
    """

    train: sparse.csr_array
    valid: sparse.csr_array
    users: IdArray

    @classmethod
    def of(cls, split: Split, *, limit: int | None, seed: int) -> Validation:
        """All users with a validation item, or ``limit`` of them drawn by ``seed`` where there are more."""
        valid = split.valid.matrix()
        users = np.flatnonzero(np.diff(valid.indptr)).astype(np.int32)
        if limit is not None and len(users) > limit:
            users = np.sort(np.random.default_rng(seed).choice(users, limit, replace=False))
        return cls(split.train.matrix(), valid, users)

    def __call__(self, scorer: Scorer) -> float:
        """Mean NDCG@10.

        Raises:
            ValueError: no user has a validation item.
        """
        return float(self.per_user(scorer).mean(dtype=np.float64))

    def per_user(self, scorer: Scorer) -> PerUser:
        """NDCG@10 of each of ``users``, in their order.

        Raises:
            ValueError: no user has a validation item.
        """
        if isinstance(scorer, Embeddings):
            return ndcg_of_users(scorer, self.train, self.valid, sample=self.users)
        counts = np.diff(self.valid.indptr)
        users = self.users[counts[self.users] > 0]
        if len(users) == 0:
            raise ValueError("no user has a validation item")
        ranked, _ = top_k(scorer, self.train, 10, users=users)
        return metrics.ndcg(metrics.hits(ranked, self.valid, users), counts[users], 10)
