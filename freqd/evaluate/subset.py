"""A model's scores of some of the items only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from freqd.data.interactions import IdArray
from freqd.embeddings import Embeddings, FloatMatrix
from freqd.scorer import Scores


def among(model: Scores, items: npt.NDArray[np.integer]) -> Scores:
    """The model's scores of ``items`` alone, which are numbered anew in their order."""
    if isinstance(model, Embeddings):
        return Embeddings(model.users, np.ascontiguousarray(model.items[items]))
    return _Among(model, items)


@dataclass(frozen=True, eq=False)
class _Among:
    """Columns of another model's scores."""

    whole: Scores
    items: npt.NDArray[np.integer]

    @property
    def n_users(self) -> int:
        return self.whole.n_users

    @property
    def n_items(self) -> int:
        return len(self.items)

    def block(self, users: IdArray) -> FloatMatrix:
        return np.ascontiguousarray(self.whole.block(users)[:, self.items])
