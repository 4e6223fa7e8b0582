"""Neighbour lists and the symmetric graph that they make."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import sparse


@dataclass(frozen=True, eq=False)
class Neighbours:
    """At most K neighbours of each of n nodes.

    Attributes:
        indices: (n, K) int32, the first ``found[row]`` of a row, in no order; what follows has no meaning.
        scores: (n, K) int32, co-occurrence counts, or the bits of float32 similarities.
        found: (n,) int32, how many neighbours a node has.
    """

    indices: npt.NDArray[np.int32]
    scores: npt.NDArray[np.int32]
    found: npt.NDArray[np.int32]

    @classmethod
    def empty(cls, n: int, k: int) -> Neighbours:
        """Room for K neighbours of each of n nodes."""
        return cls(np.zeros((n, k), np.int32), np.zeros((n, k), np.int32), np.zeros(n, np.int32))

    @classmethod
    def joined(cls, parts: Sequence[Neighbours], k: int) -> Neighbours:
        """Those of nodes that follow each other, K of each."""
        every = [cls.empty(0, k), *parts]
        return cls(
            *(np.concatenate([getattr(part, name) for part in every]) for name in ("indices", "scores", "found"))
        )

    def directed(self, weights: npt.NDArray[np.float32]) -> sparse.csr_array:
        """(n, n) CSR with ``weights`` (n, K) at (node, neighbour); O(n·K)."""
        n, k = self.indices.shape
        taken = np.arange(k, dtype=np.int32)[None, :] < self.found[:, None]
        indptr = np.concatenate([[0], np.cumsum(self.found, dtype=np.int64)])
        matrix = sparse.csr_array((weights[taken], self.indices[taken], indptr), shape=(n, n))
        matrix.sort_indices()
        return matrix


def symmetrised(directed: sparse.csr_array) -> sparse.csr_array:
    """(A + Aᵀ)/2 as float32 CSR with sorted indices: an edge that only one of the two nodes chose counts half."""
    total = (directed + directed.T.tocsr()).tocsr()
    total.sort_indices()
    total.data = (total.data * np.float32(0.5)).astype(np.float32, copy=False)
    return total
