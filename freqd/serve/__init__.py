"""What a trained recommender answers and why, and its features for other systems.

``freqd.serve.batch`` and ``freqd.serve.explain`` are imported by name: a deployed model does not need them.
"""

from freqd.serve.exact_index import Ranking, TopKIndex
from freqd.serve.export import export_features
from freqd.serve.recommender import Answer, Recommender

__all__ = ["Answer", "Ranking", "Recommender", "TopKIndex", "export_features"]
