"""A graph over users, items or both, and its normalised adjacency."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar, Literal, get_args

import numpy as np
from scipy import sparse

GraphKind = Literal["user", "item", "bipartite"]


@dataclass(frozen=True, eq=False)
class Graph:
    """An undirected graph with non-negative weights.

    Attributes:
        kind: what the nodes are; bipartite: the users, then the items.
        adjacency: A, (n, n) symmetric float32 CSR, zero diagonal, sorted indices.
    """

    kind: GraphKind
    adjacency: sparse.csr_array

    def __post_init__(self) -> None:
        shape = self.adjacency.shape
        if self.adjacency.format != "csr" or shape[0] != shape[1] or self.adjacency.dtype != np.float32:
            raise ValueError(f"adjacency must be a square float32 CSR matrix, got {self.adjacency!r}")

    def __repr__(self) -> str:
        return f"<Graph {self.kind}: {self.n:,} nodes, {self.adjacency.nnz // 2:,} edges>"

    @property
    def n(self) -> int:
        """Number of nodes."""
        return int(self.adjacency.shape[0])

    @cached_property
    def norm_adj(self) -> sparse.csr_array:
        """Â = D^-1/2 A D^-1/2, (n, n) symmetric float32 CSR with eigenvalues in [−1, 1].

        An isolated node has a zero row, so that L_ii = 1: filters treat it as frequency 1. Computed once, in float64.
        """
        return normalised(self.adjacency)


def normalised(adjacency: sparse.csr_array) -> sparse.csr_array:
    """D^-1/2 A D^-1/2 of a symmetric non-negative CSR matrix; rows of degree 0 stay zero. O(nnz)."""
    degree = np.asarray(adjacency.sum(axis=1, dtype=np.float64))
    scale = np.zeros(len(degree))
    np.divide(1.0, np.sqrt(degree), out=scale, where=degree > 0)
    # The two scales are multiplied first: the same product for (i, j) and (j, i), hence exactly symmetric.
    both = np.repeat(scale, np.diff(adjacency.indptr)) * scale[adjacency.indices]
    both *= adjacency.data
    return sparse.csr_array((both.astype(np.float32), adjacency.indices, adjacency.indptr), shape=adjacency.shape)


@dataclass(frozen=True, eq=False)
class Graphs:
    """The graphs of one train split.

    Attributes:
        user, item: graph of each side, on which that side's features are signals.
        bipartite: the user-item graph, or None where it was not asked for.
    """

    kind: ClassVar[str] = "graphs"
    records: ClassVar[frozenset[str]] = frozenset()

    user: Graph
    item: Graph
    bipartite: Graph | None = None

    def __repr__(self) -> str:
        there = (graph for graph in (self.user, self.item, self.bipartite) if graph is not None)
        return f"<Graphs: {', '.join(f'{g.kind} {g.n:,} nodes, {g.adjacency.nnz // 2:,} edges' for g in there)}>"

    def write(self, folder: Path) -> None:
        """Write ``user.npz``, ``item.npz`` and, if there is one, ``bipartite.npz``; equal graphs give equal bytes."""
        for graph in (self.user, self.item, self.bipartite):
            if graph is not None:
                matrix = graph.adjacency
                np.savez(
                    folder / f"{graph.kind}.npz",
                    n=np.int64(graph.n),
                    indptr=matrix.indptr,
                    indices=matrix.indices,
                    data=matrix.data,
                )

    @classmethod
    def read(cls, folder: Path) -> Graphs:
        """Read what ``write`` wrote."""
        found = {kind: _read_graph(folder, kind) for kind in get_args(GraphKind) if (folder / f"{kind}.npz").is_file()}
        return cls(**found)


def no_graphs(n_users: int, n_items: int) -> Graphs:
    """Graphs without an edge."""
    user, item = (sparse.csr_array((n, n), dtype=np.float32) for n in (n_users, n_items))
    return Graphs(Graph("user", user), Graph("item", item))


def _read_graph(folder: Path, kind: GraphKind) -> Graph:
    with np.load(folder / f"{kind}.npz", allow_pickle=False) as file:
        n = int(file["n"])
        return Graph(kind, sparse.csr_array((file["data"], file["indices"], file["indptr"]), shape=(n, n)))
