"""kNN by shared interactions, exact, without ever forming the n x n matrix of counts.

C = R Rᵀ is taken row by row (Gustavson 1978): the counts of one row are gathered in a dense vector of n
counters, its K best are kept, and the touched counters are set back to zero. Popular items are not left out.

On big data each counter and the start of each list is a line of cache that lies somewhere else. So counters are as
short as the counts allow, arrays are numpy's, which come in large pages, and the processor is told ahead what comes next.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from freqd.engine import HERE, Engine
from freqd.graph.neighbours import Neighbours
from freqd.graph.select import candidate_key, replace_smallest, write_row
from freqd.numerics import threads
from freqd.numerics.jit import kernel, prefetch, prefetch_to_write

CHUNKS_PER_THREAD = 8
"""Work is cut finer than there are threads, since the cost of a row is known only roughly."""

WORKERS = 16
"""For so many the work is cut on an engine, however many it has."""

LISTS_AHEAD, COUNTERS_AHEAD = 4, 32
"""How many lists of rows, and counters of a list, are asked for before their turn."""


def cooccurrence_neighbours(incidence: sparse.csr_array, k: int, engine: Engine = HERE) -> Neighbours:
    """The K rows that share most columns with each row of ``incidence``, by (count desc, id asc).

    A row is never its own neighbour, and a row that shares columns with fewer than K others has fewer neighbours.

    Cost: O(Σ_column degree²) time on all of numba's threads, O(nnz + n·K) memory plus 6 n bytes a thread (8 n where a
    row has 65,536 columns or more).

    Args:
        incidence: (n, m) CSR; only its pattern counts, each (row, column) at most once.
        k: neighbours a row at the most.
        engine: does blocks of rows.
    """
    k = min(k, max(incidence.shape[0] - 1, 1))
    columns = incidence.T.tocsr()
    if engine.here:
        chunks = _chunks(incidence, columns, threads.count())
        parts = threads.run(lambda chunk: _of_rows(chunk, incidence, columns, k), chunks)
    else:
        parts = list(engine.map(_of_rows, _chunks(incidence, columns, WORKERS), incidence, columns, k))
    return Neighbours.joined(parts, k)


def _of_rows(chunk: tuple[int, int], incidence: sparse.csr_array, columns: sparse.csr_array, k: int) -> Neighbours:
    """Neighbours of the rows from the first to before the last of ``chunk``."""
    n_rows = incidence.shape[0]
    most = int(np.diff(incidence.indptr).max(initial=0))
    counter = np.uint16 if most <= np.iinfo(np.uint16).max else np.int32
    found = Neighbours.empty(chunk[1] - chunk[0], k)
    buffers = np.zeros(n_rows, counter), np.empty(n_rows + 1, np.int32), np.zeros(k, np.int64)
    arrays = (incidence.indptr, incidence.indices, columns.indptr, columns.indices)
    _rows_kernel(*arrays, *chunk, *buffers, found.indices, found.scores, found.found)
    return found


def _chunks(rows: sparse.csr_array, columns: sparse.csr_array, workers: int) -> list[tuple[int, int]]:
    """Row ranges of about the same number of counter increments."""
    n_rows = rows.shape[0]
    if workers == 1:
        return [(0, n_rows)]
    steps = np.diff(columns.indptr)[rows.indices].astype(np.int64)
    done = np.concatenate([[0], np.cumsum(steps)])[rows.indptr]
    targets = np.linspace(0, done[-1], workers * CHUNKS_PER_THREAD + 1)
    cuts = np.searchsorted(done, targets)
    cuts[0], cuts[-1] = 0, n_rows
    return [(int(a), int(b)) for a, b in pairwise(cuts) if b > a]


@kernel()
def _rows_kernel(
    row_ptr: npt.NDArray[np.int32],
    row_columns: npt.NDArray[np.int32],
    column_ptr: npt.NDArray[np.int32],
    column_rows: npt.NDArray[np.int32],
    first: int,
    last: int,
    counts: npt.NDArray[Any],
    touched: npt.NDArray[np.int32],
    heap: npt.NDArray[np.int64],
    indices: npt.NDArray[np.int32],
    scores: npt.NDArray[np.int32],
    found: npt.NDArray[np.int32],
) -> None:
    """Neighbours of the rows from ``first`` to before ``last``, which stand at the beginning of the last three.

    ``counts`` (n,) and ``heap`` (K,) are 0 before and after; ``touched`` has one place more than there are rows: see the
    write below.
    """
    for row in range(first, last):
        n_touched = 0
        end = row_ptr[row + 1]
        for p in range(row_ptr[row], end):
            if p + 2 * LISTS_AHEAD < end:
                prefetch(column_ptr, row_columns[p + 2 * LISTS_AHEAD])
            if p + LISTS_AHEAD < end:
                prefetch(column_rows, column_ptr[row_columns[p + LISTS_AHEAD]])
            column = row_columns[p]
            stop = column_ptr[column + 1]
            for q in range(column_ptr[column], stop):
                prefetch_to_write(counts, column_rows[min(q + COUNTERS_AHEAD, stop - 1)])
                other = column_rows[q]
                count = counts[other]
                # Written always, kept only if new: cheaper than a branch that is guessed wrong half of the time.
                touched[n_touched] = other
                n_touched += count == 0
                counts[other] = count + 1
        counts[row] = 0
        for t in range(n_touched):
            prefetch_to_write(counts, touched[min(t + COUNTERS_AHEAD, n_touched - 1)])
            other = touched[t]
            count = counts[other]
            counts[other] = 0
            if count > 0:
                key = candidate_key(count, other)
                if key > heap[0]:
                    replace_smallest(heap, key)
        found[row - first] = write_row(heap, indices[row - first], scores[row - first])
