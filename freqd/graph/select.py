"""Top-K selection by one 64-bit key, shared by all kNN graphs.

A candidate's key is ``score << 32 | (2^32 − 1 − id)``: comparing keys compares scores first (larger is better)
and ids next (smaller is better), so that ties are decided by the id and never by the order of arrival.
Scores are positive int32: counts as they are, positive float32 by their bits, which sort as the floats do.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from freqd.numerics.jit import kernel

IntMatrix = npt.NDArray[np.int32]
_LOW_WORD = np.int64(0xFFFFFFFF)


@kernel(inline="always")
def candidate_key(score: int, index: int) -> np.int64:
    """Key of a candidate; all keys of positive scores are positive."""
    return (np.int64(score) << 32) | (_LOW_WORD - np.int64(index))


@kernel()
def replace_smallest(heap: npt.NDArray[np.int64], key: np.int64) -> None:
    """Put ``key`` in the place of the smallest key of the min-heap ``heap``; O(log K)."""
    size = heap.shape[0]
    place = 0
    while True:
        child = 2 * place + 1
        if child >= size:
            break
        if child + 1 < size and heap[child + 1] < heap[child]:
            child += 1
        if key <= heap[child]:
            break
        heap[place] = heap[child]
        place = child
    heap[place] = key


@kernel()
def write_row(heap: npt.NDArray[np.int64], indices: npt.NDArray[np.int32], scores: npt.NDArray[np.int32]) -> int:
    """Unpack the heap's candidates into a row, in no order; returns how many there are. Empties the heap.

    An empty place of the heap holds 0, below every key.
    """
    found = 0
    for place in range(heap.shape[0]):
        key = heap[place]
        heap[place] = 0
        if key > 0:
            indices[found] = np.int32(_LOW_WORD - (key & _LOW_WORD))
            scores[found] = np.int32(key >> 32)
            found += 1
    return found
