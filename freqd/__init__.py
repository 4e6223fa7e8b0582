"""freqd: teach a small recommender to rank like a big one, by graph frequency."""

from freqd.lazy import lazily

__version__ = "0.9.0"

# No import that the digest of a stage's code follows: ``import freqd`` would make all of freqd part of it.
__getattr__ = lazily(__name__, {"Distiller": "api"})
