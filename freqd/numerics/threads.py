"""Compiled work on blocks of rows, on as many threads as numba may use."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numba
import numpy as np
import numpy.typing as npt


def blocks_of(n_rows: int, size: int) -> list[slice]:
    """Slices of ``size`` rows, the last one shorter."""
    return [slice(start, min(start + size, n_rows)) for start in range(0, n_rows, size)]


def even_blocks(indptr: npt.NDArray[np.integer], count: int) -> list[slice]:
    """At most ``count`` slices of the rows of a CSR matrix with about as many entries each."""
    bounds = np.searchsorted(indptr, np.linspace(0, indptr[-1], count + 1)[1:-1])
    edges = [0, *(int(bound) for bound in bounds), len(indptr) - 1]
    return [slice(start, stop) for start, stop in itertools.pairwise(edges) if stop > start]


def for_blocks(blocks: Sequence[slice], work: Callable[[slice], None]) -> None:
    """Do ``work``, which frees the interpreter, on all blocks; the first error is raised."""
    workers = min(numba.get_num_threads(), len(blocks))
    if workers > 1:
        with ThreadPoolExecutor(workers, thread_name_prefix="blocks") as pool:
            list(pool.map(work, blocks))
    else:
        for block in blocks:
            work(block)
