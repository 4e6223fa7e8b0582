"""What a trained recommender answers and why, and its features for other systems.

``freqd.serve.batch`` and ``freqd.serve.explain`` are imported by name: a deployed model does not need them.
"""

from freqd.serve.bundle import Answer, Bundle
from freqd.serve.export import export_features
from freqd.serve.index import Ranking, TopKIndex

__all__ = ["Answer", "Bundle", "Ranking", "TopKIndex", "export_features"]
