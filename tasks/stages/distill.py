"""Stage 5: the student learns from the teacher."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from freqd import distill as library
from freqd.config import DistillConfig, SpectralConfig
from freqd.data.interactions import Split
from freqd.embeddings import Embeddings, HistoryEntry, TrainedModel
from freqd.graph import Graphs
from freqd.spectral import Mastery, Spectrum
from freqd.storage.store import ArtifactRef
from tasks import plugins
from tasks.earlier_run import EarlierModel
from tasks.run_context import RunContext, StageOutcome
from tasks.stage import Result, Stage, cut, stage
from tasks.stages.inputs import DistillInputs
from tasks.stages.spectrum import MASTERY


class Distilled(StageOutcome):
    """The student."""

    @property
    def student(self) -> ArtifactRef:
        """Its model."""
        return self.refs["student"]


def source(
    run: RunContext,
    inputs: DistillInputs,
    config: DistillConfig,
    spectral: SpectralConfig,
    earlier: EarlierModel | None = None,
) -> dict[str, str | None]:
    """The source of the objectives that plugins provide."""
    return plugins.sources(plugins.of_distill(config))


@stage("distill", Distilled, uses=["seed", "device", "index"], source=source)
def distill(
    at: Stage,
    inputs: DistillInputs,
    config: DistillConfig,
    spectral: Annotated[SpectralConfig, MASTERY],
    earlier: EarlierModel | None = None,
) -> Result:
    """Distil the teacher into the student with the objectives of the settings, from the student of an earlier run if given."""
    return teach(at, inputs, config, spectral, Course(earlier))


@dataclass(frozen=True)
class Course:
    """How a training goes.

    Attributes:
        earlier: the student that it goes on from.
        watch: told each validation; it may raise to end the training.
    """

    earlier: EarlierModel | None = None
    watch: Callable[[int, float], None] | None = None


def teach(at: Stage, inputs: DistillInputs, config: DistillConfig, spectral: SpectralConfig, course: Course) -> Result:
    """Train the student."""
    teacher = at.open(inputs.teacher, TrainedModel)
    both, found = at.open(inputs.graphs, Graphs), at.open(inputs.spectrum, Spectrum)
    users = Mastery(teacher.features.users, both.user, found.edges, spectral, found.user.part_energies)
    items = Mastery(teacher.features.items, both.item, found.edges, spectral, found.item.part_energies)

    def observe(epoch: int, student: Embeddings, ndcg: float) -> HistoryEntry:
        if course.watch is not None:
            course.watch(epoch, ndcg)
        return {"mastery_user": users(student.users).tolist(), "mastery_item": items(student.items).tolist()}

    split = at.open(inputs.split, Split)
    previous = None if course.earlier is None else course.earlier.seen_from(split, at.store)
    sources = library.DistillSources(split, teacher, both, found, previous)
    model = library.distill(sources, config, at.environment(observe))
    ndcg = model.info["valid_ndcg_at_10"]
    names = " + ".join(str(term["name"]) for term in model.info["objectives"]) or "no objective"
    headline = f"dimension {model.features.dim}, {names}: validation NDCG@10 {ndcg:.4f}"
    return Result(
        {"student": model},
        headline,
        {"valid_ndcg_at_10": ndcg},
        model.history,
        lines=cut(model.info),
    )
