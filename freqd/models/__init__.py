"""Models: what is scored with, without what trains it."""

from typing import TYPE_CHECKING

from freqd.lazy import lazily

if TYPE_CHECKING:
    from freqd.models.lightgcn import LightGCN
    from freqd.models.mf import MatrixFactorization

__all__ = ["LightGCN", "MatrixFactorization"]
__getattr__ = lazily(__name__, {"LightGCN": "lightgcn", "MatrixFactorization": "mf"})
