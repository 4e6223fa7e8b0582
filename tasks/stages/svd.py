"""What keeps the distilled student honest: the SVD of the teacher, and of the filtered teacher, whose ranking is taught."""

from __future__ import annotations

from freqd.embeddings import TrainedModel
from freqd.graph import Graphs
from freqd.low_rank import low_rank
from freqd.spectral import Spectrum
from freqd.spectral.filters import apply_filters
from freqd.storage.store import ArtifactRef
from tasks.run_context import StageOutcome
from tasks.stage import Result, Stage, stage
from tasks.stages.inputs import DistillInputs


class Truncated(StageOutcome):
    """The SVD of a teacher."""

    @property
    def svd(self) -> ArtifactRef:
        """Its model."""
        return self.refs["svd"]


@stage("svd", Truncated)
def svd(at: Stage, teacher: ArtifactRef, dim: int) -> Result:
    """The best approximation of the teacher's scores of the student's size, without training."""
    features = low_rank(at.open(teacher, TrainedModel).features, dim)
    model = TrainedModel(features, info={"method": "svd"})
    return Result({"svd": model}, f"dimension {features.dim}: the teacher's truncated SVD")


@stage("filtered_svd", Truncated)
def filtered_svd(at: Stage, inputs: DistillInputs, dim: int) -> Result:
    """The same of the filtered teacher: a way to distil by frequency that needs no training."""
    filters = at.open(inputs.spectrum, Spectrum).ranking_filters
    filtered = apply_filters(at.open(inputs.teacher, TrainedModel).features, at.open(inputs.graphs, Graphs), filters)
    model = TrainedModel(low_rank(filtered, dim), info={"method": "filtered_svd"})
    return Result({"svd": model}, f"dimension {dim}: the filtered teacher's truncated SVD")
