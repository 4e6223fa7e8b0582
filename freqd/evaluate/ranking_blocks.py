"""Full ranking by an engine: the same lists as ``top_k``, made of blocks of users."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from freqd.data.interactions import IdArray
from freqd.embeddings import FloatMatrix
from freqd.engine import Engine
from freqd.evaluate.ranking import top_k
from freqd.numerics.threads import blocks_of
from freqd.scorer import Scorer

BLOCK = 8192
"""Users a block: some seconds of work with a million items."""


def top_k_by(
    engine: Engine, scorer: Scorer, seen: sparse.csr_array, k: int, *, users: IdArray, hint: IdArray | None = None
) -> tuple[IdArray, FloatMatrix]:
    """``top_k`` of ``users``; arguments as there."""
    if engine.here:
        return top_k(scorer, seen, k, users=users, hint=hint)
    items = np.empty((len(users), k), np.int32)
    scores = np.empty((len(users), k), np.float32)
    rows = blocks_of(len(users), BLOCK)
    blocks = [(users[block], None if hint is None else hint[block]) for block in rows]
    for block, found in zip(rows, engine.map(_best, blocks, scorer, seen, k), strict=True):
        items[block], scores[block] = found
    return items, scores


def _best(
    block: tuple[IdArray, IdArray | None], scorer: Scorer, seen: sparse.csr_array, k: int
) -> tuple[IdArray, FloatMatrix]:
    users, hint = block
    return top_k(scorer, seen, k, users=users, hint=hint)
