"""freqd: teach a small recommender to rank like a big one, by graph frequency."""

__version__ = "0.9.0"
