"""What a trained recommender answers and why, and its features for other systems.

``freqd.serve.batch`` and ``freqd.serve.explain`` are imported by name: a deployed model does not need them.
"""

from freqd.serve.export import export_features
from freqd.serve.recommender import Answer, Recommender
from freqd.serve.top_k_index import Ranking, TopKIndex

__all__ = ["Answer", "Ranking", "Recommender", "TopKIndex", "export_features"]
