"""kNN by the cosine of feature vectors, exact, tile by tile."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from freqd.embeddings import FloatMatrix
from freqd.errors import InputError
from freqd.graph.neighbours import Neighbours
from freqd.graph.select import candidate_key, replace_smallest, write_row
from freqd.numerics.jit import kernel

ROW_TILE = 512
COLUMN_TILE = 2048
"""A tile of similarities is 4 MiB: it stays in the cache between the product and the selection."""

MAX_NODES = 300_000
"""Exact search takes 2 n² d operations: at dimension 256, about ten minutes on one core at this size."""


def cosine_neighbours(features: FloatMatrix, k: int) -> Neighbours:
    """The K rows with the largest *positive* cosine to each row, by (cosine desc, id asc); never itself.

    A negative cosine would be a negative weight, and the spectrum would leave [0, 2]. A zero row has no neighbours.
    ``scores`` of the result are the bits of the float32 cosines: ``scores.view(np.float32)``.

    Cost: O(n² d) time, O(n·K + n·d) memory.

    Args:
        features: (n, d) float32.
        k: neighbours a row at the most.

    Raises:
        InputError: more than ``MAX_NODES`` rows, or a value that is not finite.
    """
    n = len(features)
    if n > MAX_NODES:
        raise InputError(
            f"graph.kind = 'features' compares all pairs, and {n} nodes are too many (at most {MAX_NODES})",
            "use graph.kind = 'cooccurrence', whose cost grows with the interactions",
        )
    bad = np.flatnonzero(~np.isfinite(features).all(axis=1))
    if len(bad):
        raise InputError(
            f"the teacher's features hold a value that is not finite (first in row {bad[0]})",
            "train the teacher again with more regularisation, or fix the external embeddings",
        )
    unit = unit_rows(features)
    k = min(k, max(n - 1, 1))
    neighbours = Neighbours.empty(n, k)
    heaps = np.zeros((ROW_TILE, k), np.int64)
    for row in range(0, n, ROW_TILE):
        rows = slice(row, row + ROW_TILE)
        for column in range(0, n, COLUMN_TILE):
            tile = unit[rows] @ unit[column : column + COLUMN_TILE].T
            _offer(tile.view(np.int32), row, column, heaps)
        _finish(heaps, neighbours.indices[rows], neighbours.scores[rows], neighbours.found[rows])
    return neighbours


def unit_rows(features: FloatMatrix) -> FloatMatrix:
    """Rows scaled to length 1; zero rows stay zero."""
    length = np.sqrt(np.einsum("nd,nd->n", features, features, dtype=np.float64))[:, None]
    unit = np.zeros_like(features)
    np.divide(features, length, out=unit, where=length > 0, casting="same_kind")
    return unit


@kernel()
def _offer(bits: npt.NDArray[np.int32], first_row: int, first_column: int, heaps: npt.NDArray[np.int64]) -> None:
    for r in range(bits.shape[0]):
        heap = heaps[r]
        for c in range(bits.shape[1]):
            # The bits of a positive float are a positive integer, and they sort alike.
            if bits[r, c] > 0 and first_row + r != first_column + c:
                key = candidate_key(bits[r, c], first_column + c)
                if key > heap[0]:
                    replace_smallest(heap, key)


@kernel()
def _finish(
    heaps: npt.NDArray[np.int64],
    indices: npt.NDArray[np.int32],
    scores: npt.NDArray[np.int32],
    found: npt.NDArray[np.int32],
) -> None:
    for r in range(indices.shape[0]):
        found[r] = write_row(heaps[r], indices[r], scores[r])
