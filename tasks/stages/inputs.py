"""What the stages after the spectrum begin with."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from freqd.storage.store import ArtifactRef
from tasks.stage_entry import Without

JUDGING = Without("bootstrap_samples", "confidence")
"""Settings of the evaluation that shape one model's report: all but those of its comparison with others."""


class DistillInputs(BaseModel):
    """What a student is taught from and judged by: artifacts only."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    split: ArtifactRef
    teacher: ArtifactRef
    graphs: ArtifactRef
    spectrum: ArtifactRef
