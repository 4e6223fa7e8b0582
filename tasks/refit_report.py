"""The report of a refit as an artifact; apart from the stage, whose trainings are no business of those who read it."""

from __future__ import annotations

from freqd.refit.report import RefitReport
from freqd.storage.store import ArtifactRef, Facts, Store


def open_report(store: Store, ref: ArtifactRef) -> RefitReport:
    """Read what the stage ``refit`` found."""
    return RefitReport.model_validate(store.open(ref, Facts).values)
