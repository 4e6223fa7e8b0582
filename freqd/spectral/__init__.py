"""Features as signals on a graph: filters, bands, their energy and importance, and the choice of a filter."""

from freqd.spectral.analysis import FeatureEvaluator, analyse
from freqd.spectral.bands import Mastery, band_edges
from freqd.spectral.filters import Filter, SideFilters, apply_filters, filtered_scorer
from freqd.spectral.spectrum import SideSpectrum, Spectrum

__all__ = [
    "FeatureEvaluator",
    "Filter",
    "Mastery",
    "SideFilters",
    "SideSpectrum",
    "Spectrum",
    "analyse",
    "apply_filters",
    "band_edges",
    "filtered_scorer",
]
