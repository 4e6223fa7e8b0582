"""Stage 5: the student learns from the teacher."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from prefect import task
from prefect.client.schemas import State
from pydantic import BaseModel, ConfigDict

from freqd import distill as library
from freqd.config import DistillConfig, SpectralConfig
from freqd.data.interactions import Split
from freqd.embeddings import FeatureTable, TrainedModel
from freqd.graph import Graphs
from freqd.spectral import Mastery, Spectrum
from freqd.storage.store import ArtifactRef
from freqd.teachers.earlier import Previous
from freqd.training.loop import Watch
from tasks.earlier_run import Before
from tasks.run_context import RunContext
from tasks.stage import Result, Tools, cut, is_transient, run_stage

CODE = ("freqd.distill.*", __name__)
"""What shapes a student, with all that it imports."""


class Lesson(BaseModel):
    """What a student is taught from: artifacts only. ``before`` is an earlier student, of the data ``before_split``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    split: ArtifactRef
    teacher: ArtifactRef
    graphs: ArtifactRef
    spectrum: ArtifactRef
    before: ArtifactRef | None = None
    before_split: ArtifactRef | None = None


@task(name="distill", retries=2, retry_delay_seconds=5, retry_condition_fn=is_transient)
def distill(
    context: RunContext,
    split: ArtifactRef,
    teacher: ArtifactRef,
    graphs: ArtifactRef,
    spectrum: ArtifactRef,
    config: DistillConfig,
    spectral: SpectralConfig,
    before: Before | None = None,
) -> State[Any]:
    """Distil the teacher into the student with the objectives of the settings, from the student of an earlier run if given."""
    lesson = Lesson(
        split=split,
        teacher=teacher,
        graphs=graphs,
        spectrum=spectrum,
        before=before and before.student,
        before_split=before and before.split,
    )
    return run_distillation(
        context, lesson, config, spectral, lambda tools: teach(context, lesson, config, spectral, tools)
    )


def run_distillation(
    context: RunContext,
    lesson: Lesson,
    config: DistillConfig,
    spectral: SpectralConfig,
    compute: Callable[[Tools], Result],
) -> State[Any]:
    """Find the student of these settings or make it; whoever asks, it is the same stage with the same key.

    Args:
        context: the run.
        lesson: what the student is taught from.
        config: settings of student and training.
        spectral: how mastery is measured.
        compute: ``teach``, or something around it.
    """
    return run_stage(
        context,
        "distill",
        inputs={name: ref for name, ref in lesson if ref is not None},
        settings={
            **config.model_dump(
                mode="json", exclude={"baselines", "scratch_learning_rate", "scratch_weight_decay", "scratch_epochs"}
            ),
            "spectral": spectral.model_dump(mode="json", include={"method", "exact_below", "degree"}),
            "seed": context.seed,
            "device": context.device,
        },
        code=CODE,
        compute=compute,
    )


def teach(
    context: RunContext,
    lesson: Lesson,
    config: DistillConfig,
    spectral: SpectralConfig,
    tools: Tools,
    watch: Watch | None = None,
) -> Result:
    """Train the student; ``watch`` is told each validation and may raise to end the training."""
    store = context.workspace.store
    teacher = store.open(lesson.teacher, TrainedModel)
    both, found = store.open(lesson.graphs, Graphs), store.open(lesson.spectrum, Spectrum)
    users = Mastery(teacher.features.users, both.user, found.edges, spectral, found.user.part_energies)
    items = Mastery(teacher.features.items, both.item, found.edges, spectral, found.item.part_energies)

    def probe(epoch: int, student: FeatureTable) -> dict[str, list[float]]:
        return {"mastery_user": users(student.users).tolist(), "mastery_item": items(student.items).tolist()}

    split, previous = store.open(lesson.split, Split), None
    if lesson.before is not None and lesson.before_split is not None:
        previous = Previous.of(store.open(lesson.before, TrainedModel), store.open(lesson.before_split, Split), split)
    model = library.distill(
        split,
        teacher,
        both,
        found,
        config,
        seed=context.seed,
        device=context.device,
        checkpoint=tools.scratch,
        previous=previous,
        probe=probe,
        watch=watch,
        progress=tools.progress,
    )
    ndcg = model.info["valid_ndcg_at_10"]
    names = " + ".join(o.name for o in config.objectives) or "no objective"
    headline = f"{model.features.dim} numbers, {names}: validation NDCG@10 {ndcg:.4f}"
    return Result({"student": model}, headline, {"valid_ndcg_at_10": ndcg}, model.history, lines=cut(model.info))
