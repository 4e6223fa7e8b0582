"""What keeps the distilled student honest: the SVD of the teacher."""

from __future__ import annotations

from freqd.distill.svd import svd_student
from freqd.embeddings import TrainedModel
from freqd.storage.store import ArtifactRef
from tasks.run_context import StageOutcome
from tasks.stage import Result, Stage, stage


class Truncated(StageOutcome):
    """The SVD of the teacher."""

    @property
    def svd(self) -> ArtifactRef:
        """Its model."""
        return self.refs["svd"]


@stage("svd", Truncated)
def svd(at: Stage, teacher: ArtifactRef, dim: int) -> Result:
    """The best approximation of the teacher's scores of the student's size, without training."""
    features = svd_student(at.open(teacher, TrainedModel).features, dim)
    model = TrainedModel(features, info={"method": "svd"})
    return Result({"svd": model}, f"dimension {features.dim}: the teacher's truncated SVD")
