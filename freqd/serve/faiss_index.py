"""The best items of a user out of millions, without scanning all of them: an inverted file (faiss).

An item y becomes (y, √(M² − ‖y‖²)) with M the greatest norm, so that all items lie on one sphere and the greatest inner
product is the least distance (Bachrach et al., RecSys 2014). There k-means cuts them into cells, and a question searches
the cells nearest to the user, scaled to a norm of M/4: of M/8 to infinity it found most there. Within a cell scores
are the true inner products. How many cells are searched is not set but measured: as many as the recall asks for.
"""

from __future__ import annotations

import importlib.util
import math
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from freqd.config import IndexConfig
from freqd.data.interactions import IdArray
from freqd.embeddings import Embeddings, FloatMatrix
from freqd.errors import InputError
from freqd.evaluate import top_k

K = 20
"""Length of the lists whose recall is measured."""
SAMPLE = 512
"""Users whose lists are compared; half of them choose the number of cells, the other half are reported."""
BLOCK = 262_144
"""Items that are put into cells at once: bounds the memory beyond the cells themselves."""
POINTS_A_CELL, SWEEPS = 50, 6
"""Of k-means; more of either found no better cells."""
QUERY_NORM = 0.25
"""Norm of a question on the sphere of radius 1."""


def installed() -> bool:
    """Whether faiss is."""
    return importlib.util.find_spec("faiss") is not None


def require_installed() -> None:
    """See that faiss is installed.

    Raises:
        InputError: it is not.
    """
    if not installed():
        raise InputError(
            "the index was asked for, but faiss is not installed",
            'install it with `pip install "freqd[index]"`, or take `--index exact`',
        )


class IvfIndex:
    """Items in cells of items that lie near each other.

    Args:
        items: (n_items, d) float32, finite.
        seed: of the sample of items and of k-means.
        count: cells; by default 4·√n, at most one for ``POINTS_A_CELL`` items.

    Attributes:
        count: cells.
        probes: cells that a question searches, 1 to ``count``; with all of them the answer is exact.
    """

    def __init__(self, items: FloatMatrix, *, seed: int = 0, count: int | None = None) -> None:
        import faiss

        n, dim = items.shape
        default = min(round(4 * math.sqrt(n)), n // POINTS_A_CELL)
        self.count = max(1, min(n, default if count is None else count))
        squares = np.einsum("ij,ij->i", items, items)
        self._radius = float(np.sqrt(squares.max())) or 1.0

        def on_sphere(rows: slice | npt.NDArray[np.int64]) -> FloatMatrix:
            rest = np.sqrt(np.maximum(np.float32(self._radius) ** 2 - squares[rows], 0))
            return np.column_stack([items[rows], rest]).astype(np.float32, copy=False)

        drawn = np.random.default_rng(seed).permutation(n)[: POINTS_A_CELL * self.count]
        means = faiss.Kmeans(dim + 1, self.count, niter=SWEEPS, max_points_per_centroid=POINTS_A_CELL, seed=seed)
        means.cp.min_points_per_centroid = 1
        means.train(on_sphere(np.sort(drawn)))
        self._nearest: Any = faiss.IndexFlatL2(dim + 1)
        centres = np.asarray(means.centroids)
        self._nearest.add(centres)
        quantizer = faiss.IndexFlatIP(dim)  # never asked: cells are assigned on the sphere, in one dimension more
        quantizer.add(np.ascontiguousarray(centres[:, :dim]))
        self._lists: Any = faiss.IndexIVFFlat(quantizer, dim, self.count, faiss.METRIC_INNER_PRODUCT)
        self._lists.is_trained = True
        for first in range(0, n, BLOCK):
            block = np.ascontiguousarray(items[first : first + BLOCK])
            ids = np.arange(first, first + len(block), dtype=np.int64)
            cells = self._nearest.search(on_sphere(slice(first, first + len(block))), 1)[1].ravel()
            # pointers: the three arrays have to live until the call is over
            self._lists.add_core(len(block), *(faiss.swig_ptr(array) for array in (block, ids, cells)))
        self.probes = self.count

    def search(self, vectors: FloatMatrix, fetch: int) -> npt.NDArray[np.int64]:
        """The ``fetch`` best items of each row of ``vectors`` (n, d) in the cells searched: ids (n, fetch), then −1s."""
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        scaled = vectors * (QUERY_NORM * self._radius / np.where(norms > 0, norms, 1))
        asked = np.column_stack([scaled, np.zeros(len(vectors))]).astype(np.float32)
        distances, cells = self._nearest.search(asked, self.probes)
        self._lists.nprobe = self.probes
        found: npt.NDArray[np.int64] = self._lists.search_preassigned(
            np.ascontiguousarray(vectors, np.float32), fetch, cells, distances
        )[1]
        return found


@dataclass(frozen=True)
class MeasuredIvfIndex:
    """Cells, and how well they answer.

    Attributes:
        cells: the items.
        recall: share of the exact ``K`` best that were found, over users that took no part in the choice of the cells
            looked into.
        users: how many users that is.
        seconds: to build and to measure.
    """

    cells: IvfIndex
    recall: float
    users: int
    seconds: float

    def best(self, vector: npt.NDArray[np.float32], fetch: int) -> IdArray:
        """Up to ``fetch`` of the best items for a vector (d,), in no promised order."""
        found = self.cells.search(vector[None], fetch)[0]
        best: IdArray = found[found >= 0].astype(np.int32)
        return best

    def __str__(self) -> str:
        return (
            f"faiss, {self.cells.probes:,} of {self.cells.count:,} cells a question, "
            f"recall at {K} {self.recall:.3f} on {self.users} users, built in {self.seconds:.1f} s"
        )


def build(features: Embeddings, config: IndexConfig, *, seed: int = 0) -> MeasuredIvfIndex:
    """Put the items into cells, and search as many as ``config.recall`` takes, measured on users of the model.

    Time is that of n · 4√n distances; memory that of the items once more, and of ``BLOCK`` of them meanwhile.

    Raises:
        InputError: faiss is not installed.
    """
    require_installed()
    started = time.perf_counter()
    cells = IvfIndex(features.items, seed=seed)
    known = np.flatnonzero(features.users.any(axis=1))
    asked = np.random.default_rng(seed).permutation(known)[:SAMPLE].astype(np.int32)
    exact = top_k(features, None, min(K, len(features.items)), users=asked)[0]
    choose, report = slice(0, None, 2), slice(1 if len(asked) > 1 else 0, None, 2)

    def recall(part: slice) -> float:
        found = cells.search(features.users[asked[part]], exact.shape[1])
        hits = [np.isin(theirs, ours).mean() for theirs, ours in zip(exact[part], found, strict=True)]
        return float(np.mean(hits)) if hits else 1.0

    for probes in _steps(cells.count):
        cells.probes = probes
        if recall(choose) >= config.recall:
            break
    return MeasuredIvfIndex(cells, recall(report), len(asked[report]), time.perf_counter() - started)


def _steps(count: int) -> list[int]:
    """1 to ``count`` in steps of √2."""
    return sorted({min(count, math.ceil(2 ** (step / 2))) for step in range(2 * count.bit_length() + 1)})
