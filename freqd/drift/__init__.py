"""How new interactions differ from those that a model was made of: volume, strangers, popularity, graph frequency."""

from freqd.drift.check import check_drift
from freqd.drift.findings import Drift, Measure
from freqd.drift.spectral import SpectralModel
from freqd.drift.windows import Fresh, Known, find_fresh

__all__ = ["Drift", "Fresh", "Known", "Measure", "SpectralModel", "check_drift", "find_fresh"]
