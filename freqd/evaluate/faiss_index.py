"""The best items of a user out of millions, without scanning all of them: an inverted file (faiss).

An item y becomes (y, √(M² − ‖y‖²)) with M the greatest norm, so that all items lie on one sphere and the greatest inner
product is the least distance (Bachrach et al., RecSys 2014). There k-means cuts them into cells, and a question searches
the cells nearest to the user, scaled to a norm of M/4: of M/8 to infinity it found most there. Within a cell scores
are the true inner products. How many cells are searched is not set but measured: as many as the recall asks for.

It serves single questions, makes the lists of all users, and, where a training ranks all items for its users, theirs.
"""

from __future__ import annotations

import importlib.util
import math
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from freqd.config import IndexConfig
from freqd.data.interactions import IdArray
from freqd.embeddings import Embeddings, FloatMatrix
from freqd.errors import InputError
from freqd.evaluate.ranking import top_k
from freqd.numerics import threads
from freqd.numerics.jit import kernel

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


USERS_AT_ONCE = 4096
"""Users whose lists are asked for together."""
MOST_FETCHED = 4096
"""Items that are asked of the cells at most for a user, those to be left out included; for more, all items are scored."""


def installed() -> bool:
    """Whether faiss is."""
    return importlib.util.find_spec("faiss") is not None


def wanted(config: IndexConfig, n_items: int) -> bool:
    """Whether so many items are to be put into cells, by ``settled`` settings."""
    return config.kind == "faiss" or (config.kind == "auto" and n_items >= config.min_items)


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


def settled(config: IndexConfig) -> IndexConfig:
    """The settings that say the same on every machine: ``auto`` where there is no faiss is ``exact``."""
    return config.model_copy(update={"kind": "exact"}) if config.kind == "auto" and not installed() else config


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

        _use_threads()
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

    def search(self, vectors: FloatMatrix, fetch: int) -> tuple[FloatMatrix, npt.NDArray[np.int64]]:
        """The ``fetch`` best items of each row of ``vectors`` (n, d) in the cells searched: scores and ids (n, fetch), then −1s."""
        _use_threads()
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        scaled = vectors * (QUERY_NORM * self._radius / np.where(norms > 0, norms, 1))
        asked = np.column_stack([scaled, np.zeros(len(vectors))]).astype(np.float32)
        distances, cells = self._nearest.search(asked, self.probes)
        self._lists.nprobe = self.probes
        scores, found = self._lists.search_preassigned(
            np.ascontiguousarray(vectors, np.float32), fetch, cells, distances
        )
        return scores, found


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
        found = self.cells.search(vector[None], fetch)[1][0]
        best: IdArray = found[found >= 0].astype(np.int32)
        return best

    def top_k(
        self, features: Embeddings, seen: sparse.csr_array, k: int, users: IdArray
    ) -> tuple[IdArray, FloatMatrix]:
        """As ``freqd.evaluate.top_k``, but for what the cells do not find; a list is full all the same.

        Args:
            features: whose items are in the cells.
        """
        items = np.full((len(users), k), -1, np.int32)
        scores = np.full((len(users), k), -np.inf, np.float32)
        n_seen = np.diff(seen.indptr)[users]
        order = np.argsort(n_seen, kind="stable")
        for part in threads.blocks_of(len(users), USERS_AT_ONCE):
            rows = order[part]
            fetch = min(k + int(n_seen[rows[-1]]), features.n_items)
            if fetch <= MOST_FETCHED:
                ranked, found = self.cells.search(features.users[users[rows]], fetch)
                lists, values = np.full((len(rows), k), -1, np.int32), np.full((len(rows), k), -np.inf, np.float32)
                _keep_unseen(found, ranked, users[rows], seen.indptr, seen.indices, lists, values)
                items[rows], scores[rows] = lists, values
            short = rows[(items[rows] < 0).any(axis=1)]
            if len(short):
                items[short], scores[short] = top_k(features, seen, k, users=users[short])
        return items, scores

    def __str__(self) -> str:
        return (
            f"faiss, {self.cells.probes:,} of {self.cells.count:,} cells a question, "
            f"recall at {K} {self.recall:.3f} on {self.users} users, built in {self.seconds:.1f} s"
        )


def _use_threads() -> None:
    """Let faiss use as many as other compiled work."""
    import faiss

    faiss.omp_set_num_threads(threads.count())


@kernel()
def _keep_unseen(found: Any, ranked: Any, users: Any, indptr: Any, indices: Any, lists: Any, scores: Any) -> None:
    """Fill each list with the first found items that its user has not; sorted ``indices``."""
    for row in range(found.shape[0]):
        start, end = indptr[users[row]], indptr[users[row] + 1]
        kept = 0
        for place in range(found.shape[1]):
            item = found[row, place]
            if item < 0 or kept == lists.shape[1]:
                break
            at = start + np.searchsorted(indices[start:end], item)
            if at < end and indices[at] == item:
                continue
            lists[row, kept], scores[row, kept] = item, ranked[row, place]
            kept += 1


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
        found = cells.search(features.users[asked[part]], exact.shape[1])[1]
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
