"""The number by which everything is chosen: NDCG@10 on the validation split, always over the same users."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from freqd.data.interactions import IdArray, Split
from freqd.embeddings import Embeddings
from freqd.evaluate.metrics import PerUser
from freqd.evaluate.target_ranks import ndcg_of_users, ndcg_on_validation


@dataclass(frozen=True, eq=False)
class Validation:
    """Called with features, it tells their mean NDCG@10 over ``users``, train items masked.

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

    def __call__(self, features: Embeddings) -> float:
        """Mean NDCG@10.

        Raises:
            ValueError: no user has a validation item.
        """
        return ndcg_on_validation(features, self.train, self.valid, sample=self.users)

    def per_user(self, features: Embeddings) -> PerUser:
        """NDCG@10 of each of ``users``, in their order.

        Raises:
            ValueError: no user has a validation item.
        """
        return ndcg_of_users(features, self.train, self.valid, sample=self.users)
