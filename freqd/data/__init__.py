"""Interactions: from files, databases and named data sets to a clean, numbered split."""

from freqd.data.everything import everything
from freqd.data.ids import IdRegistry
from freqd.data.ingest import check, ingest, observe, source_digest
from freqd.data.interactions import PARTS, IdArray, Interactions, Observed, Part, Split
from freqd.data.quality import QualityReport
from freqd.data.sources import Places, anchored

__all__ = [
    "PARTS",
    "IdArray",
    "IdRegistry",
    "Interactions",
    "Observed",
    "Part",
    "Places",
    "QualityReport",
    "Split",
    "anchored",
    "check",
    "everything",
    "ingest",
    "observe",
    "source_digest",
]
