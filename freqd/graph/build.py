"""From a train split to its graphs."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from freqd.config import GraphConfig
from freqd.data.interactions import Interactions
from freqd.embeddings import Embeddings, FloatMatrix
from freqd.engine import HERE, Engine
from freqd.graph.cooccurrence import cooccurrence_neighbours
from freqd.graph.graph import Graph, GraphKind, Graphs
from freqd.graph.neighbours import symmetrised
from freqd.graph.similarity import cosine_neighbours


def build_graphs(
    train: Interactions, config: GraphConfig, features: Embeddings | None = None, *, engine: Engine = HERE
) -> Graphs:
    """The graphs of users and of items that ``config`` asks for.

    - ``cooccurrence``: C = R Rᵀ (users) or Rᵀ R (items) without its diagonal; the K largest positive counts of a
      row; (A + Aᵀ)/2.
    - ``features``: the same with the cosines of the teacher's features in the place of counts.
    - ``bipartite``: A = [[0, R], [Rᵀ, 0]] beside the co-occurrence graphs, which the spectral analysis of each
      side still needs.

    No n x n matrix is ever dense: memory is O(nnz + n·K).

    Args:
        train: interactions of the train split only; others would leak what is to be predicted.
        config: kind and K.
        features: the teacher's, needed for ``features`` only.
        engine: counts what rows share, block by block.

    Raises:
        ValueError: ``config.kind`` is ``features`` and there are none, or they are of another number of nodes.
    """
    k_user, k_item = config.user_neighbours, config.item_neighbours
    if config.kind == "features":
        if features is None:
            raise ValueError("a graph of the teacher's features needs features")
        if (len(features.users), len(features.items)) != (train.n_users, train.n_items):
            raise ValueError(
                f"features of {len(features.users)} users and {len(features.items)} items do not fit "
                f"{train.n_users} users and {train.n_items} items"
            )
        return Graphs(
            user=_similarity_graph("user", features.users, k_user),
            item=_similarity_graph("item", features.items, k_item),
        )
    interactions = train.matrix()
    by_item = interactions.T.tocsr()
    return Graphs(
        user=_cooccurrence_graph("user", interactions, k_user, engine),
        item=_cooccurrence_graph("item", by_item, k_item, engine),
        bipartite=_bipartite_graph(interactions, by_item) if config.kind == "bipartite" else None,
    )


def _cooccurrence_graph(kind: GraphKind, incidence: sparse.csr_array, k: int, engine: Engine) -> Graph:
    neighbours = cooccurrence_neighbours(incidence, k, engine)
    return Graph(kind, symmetrised(neighbours.directed(neighbours.scores.astype(np.float32))))


def _similarity_graph(kind: GraphKind, features: FloatMatrix, k: int) -> Graph:
    neighbours = cosine_neighbours(features, k)
    return Graph(kind, symmetrised(neighbours.directed(neighbours.scores.view(np.float32))))


def _bipartite_graph(interactions: sparse.csr_array, by_item: sparse.csr_array) -> Graph:
    adjacency = sparse.block_array([[None, interactions], [by_item, None]], format="csr", dtype=np.float32)
    adjacency.sort_indices()
    return Graph("bipartite", adjacency)
