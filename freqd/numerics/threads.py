"""On how many threads compiled work runs, and how it is shared among them: pieces in order, BLAS kept to itself."""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from functools import cache, lru_cache
from typing import TypeVar

import numba
import numpy as np
import numpy.typing as npt
from threadpoolctl import ThreadpoolController

P = TypeVar("P")
R = TypeVar("R")


def count() -> int:
    """Threads that compiled work may use: those of numba, all cores unless ``limited``."""
    return int(numba.get_num_threads())


@contextmanager
def limited(threads: int) -> Iterator[None]:
    """Let numba, BLAS and torch use this many threads for a while, numba at most as many as it was started with."""
    import torch  # late: it takes a second, and few who count threads need it

    before = count(), torch.get_num_threads()
    torch.set_num_threads(threads)
    numba.set_num_threads(min(threads, numba.config.NUMBA_NUM_THREADS))  # type: ignore[attr-defined]
    try:
        with _blas().limit(limits=threads, user_api="blas"):
            yield
    finally:
        numba.set_num_threads(before[0])
        torch.set_num_threads(before[1])


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Keep BLAS to the thread that calls it for a while: pieces that run beside each other would fight over the cores."""
    with _blas().limit(limits=1, user_api="blas"):
        yield


@lru_cache(maxsize=1)
def _blas() -> ThreadpoolController:
    """The controller of the BLAS threads; to find the libraries takes longer than a small product."""
    import scipy.linalg  # noqa: F401 - it knows only libraries that are loaded; scipy's own, which implicit calls, would come later

    return ThreadpoolController()


def run(work: Callable[[P], R], pieces: Sequence[P]) -> list[R]:
    """Do ``work``, which frees the interpreter, on all pieces; results in order, and the first error is raised.

    It returns when no piece is under way any more. Work that calls it again does those pieces by itself.
    """
    workers = min(count(), len(pieces))
    if workers <= 1 or getattr(_inside, "pool", False):
        return [work(piece) for piece in pieces]
    futures = [_pool(workers).submit(work, piece) for piece in pieces]
    try:
        return [future.result() for future in futures]
    finally:
        for future in futures:
            future.cancel()
        wait(futures)


_inside = threading.local()
"""``pool``: whether a thread is one of those that do pieces."""


@cache
def _pool(workers: int) -> ThreadPoolExecutor:
    """Threads that stay: libraries give each new one buffers of its own, which costs more than a piece of a training's step."""
    return ThreadPoolExecutor(workers, "pieces", initializer=setattr, initargs=(_inside, "pool", True))


os.register_at_fork(after_in_child=_pool.cache_clear)


def blocks_of(n_rows: int, size: int) -> list[slice]:
    """Slices of ``size`` rows, the last one shorter."""
    return [slice(start, min(start + size, n_rows)) for start in range(0, n_rows, size)]


def even_blocks(indptr: npt.NDArray[np.integer], count: int) -> list[slice]:
    """At most ``count`` slices of the rows of a CSR matrix with about as many entries each."""
    bounds = np.searchsorted(indptr, np.linspace(0, indptr[-1], count + 1)[1:-1])
    edges = [0, *(int(bound) for bound in bounds), len(indptr) - 1]
    return [slice(start, stop) for start, stop in itertools.pairwise(edges) if stop > start]
