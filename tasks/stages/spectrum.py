"""Stage 4: which graph frequencies carry the teacher's ranking, and the filter that follows."""

from __future__ import annotations

import numpy as np

from freqd.config import SpectralConfig
from freqd.data.interactions import Split
from freqd.embeddings import TrainedModel
from freqd.evaluate.validation import Validation
from freqd.graph import Graphs
from freqd.spectral import FeatureEvaluator, analyse
from freqd.spectral.analysis import VALIDATION_USERS
from freqd.storage.store import ArtifactRef
from tasks.run_context import StageOutcome
from tasks.runtime.page import Shown
from tasks.stage import Result, Stage, stage
from tasks.stage_entry import Only

MASTERY = Only("method", "exact_below", "degree")
"""What of the settings shapes a student's mastery of the bands."""


class Analysed(StageOutcome):
    """The teacher by graph frequency."""

    @property
    def spectrum(self) -> ArtifactRef:
        """Its bands, and the filters that follow."""
        return self.refs["spectrum"]


@stage("spectrum", Analysed, uses=["seed"])
def spectrum(
    at: Stage, split: ArtifactRef, graphs: ArtifactRef, teacher: ArtifactRef, config: SpectralConfig
) -> Result:
    """Analyse the teacher by bands and choose the filters, on the validation split alone."""
    validate = Validation.of(at.open(split, Split), limit=VALIDATION_USERS, seed=at.run.seed)
    model = at.open(teacher, TrainedModel)
    found = analyse(
        at.open(graphs, Graphs),
        model.features,
        FeatureEvaluator.of(validate, model),
        config,
        rng=np.random.default_rng(at.run.seed),
        progress=at.progress,
    )
    chosen = found.ranking_filters
    headline = f"ranking filter: users {chosen.user.label()}, items {chosen.item.label()}"
    metrics: dict[str, float | int | None] = {"base_valid_ndcg_at_10": found.base_ndcg}
    for name, side in (("user", found.user), ("item", found.item)):
        for quantity in ("energies", "density", "importance_only", "importance_without"):
            for band, value in enumerate(getattr(side, quantity)):
                metrics[f"{name}_{quantity}_band_{band}"] = float(value)
    reason = Shown(key="spectrum", content=found.reason, description=headline)
    return Result({"spectrum": found}, headline, metrics, shown=[reason])
