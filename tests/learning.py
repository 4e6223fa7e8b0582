"""What the training loop is given in tests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from scipy import sparse

from freqd.embeddings import Embeddings


@dataclass(frozen=True)
class Judged:
    """Train interactions, and any function as the judge."""

    train: sparse.csr_array
    judge: Callable[[Embeddings], float]

    def __call__(self, features: Embeddings) -> float:
        return self.judge(features)
