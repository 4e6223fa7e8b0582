"""Between evaluation and registration: the student of all interactions, which is what is deployed.

It has seen what its judged twin is judged on, and what the next run will be judged on. So nothing but the registration takes
it: no evaluation, and no training starts from it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

from pydantic import BaseModel, ConfigDict

from freqd.config import DistillConfig, GraphConfig, TeacherConfig
from freqd.data import everything
from freqd.data.interactions import Split
from freqd.distill import DistillSources, refit_student
from freqd.embeddings import TrainedModel
from freqd.errors import DivergedError, RefitError
from freqd.graph import build_graphs
from freqd.json_types import JsonObject
from freqd.refit.checks import check_refit
from freqd.refit.report import RefitReport, report_of
from freqd.spectral import Spectrum
from freqd.storage.store import Artifact, ArtifactRef, Facts
from freqd.teachers.previous_model import PreviousModel
from freqd.teachers.training import refit_teacher, source_digest
from tasks import plugins
from tasks.earlier_run import EarlierModel
from tasks.run_context import RunContext, StageOutcome
from tasks.runtime.page import Shown
from tasks.stage import Result, Stage, stage
from tasks.stage_entry import Without


class RefitInputs(BaseModel):
    """What was judged, and with what it was made."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    split: ArtifactRef
    teacher: ArtifactRef
    spectrum: ArtifactRef
    student: ArtifactRef


class Refitted(StageOutcome):
    """The student of all interactions with its data, if it may be deployed, and what was found of it."""

    @property
    def report(self) -> ArtifactRef:
        """The checks."""
        return self.refs["report"]

    @property
    def deployed(self) -> dict[str, ArtifactRef]:
        """For the registration, as ``RegisterInputs`` names them."""
        return {f"refit_{name}": ref for name, ref in self.refs.items()}


def source(
    run: RunContext,
    inputs: RefitInputs,
    graph: GraphConfig,
    teacher: TeacherConfig,
    distill: DistillConfig,
    earlier: EarlierModel | None = None,
) -> dict[str, str | None]:
    """The content of a file of features, and the sources of plugins."""
    named = plugins.of_teacher(teacher) | plugins.of_distill(distill)
    return {"source_digest": source_digest(teacher), **plugins.sources(named)}


@stage("refit", Refitted, uses=["seed", "device", "index"], source=source)
def refit(
    at: Stage,
    inputs: RefitInputs,
    graph: GraphConfig,
    teacher: Annotated[TeacherConfig, Without("features")],
    distill: DistillConfig,
    earlier: EarlierModel | None = None,
) -> Result:
    """Train the teacher again on all interactions, with what was chosen, take the student on, and hold it against its judged twin.

    ``earlier`` is the teacher that the judged one went on from, if it did.
    """
    judged = at.open(inputs.split, Split)
    whole, twin = everything(judged), at.open(inputs.student, TrainedModel)
    at.progress(0.0, f"{len(whole.train):,} interactions")
    try:
        taught = _teacher(at, inputs.teacher, whole, teacher, earlier)
        graphs = build_graphs(whole.train, graph, taught.features if graph.kind == "features" else None)
        previous = PreviousModel.of(twin, judged, whole)
        sources = DistillSources(whole, taught, graphs, at.open(inputs.spectrum, Spectrum), previous)
        student = refit_student(sources, distill, at.environment().piece(1, 2, "student: "))
    except (RefitError, DivergedError) as error:
        return _refused(report_of(judged, whole, (str(error),)), [])
    at.progress(0.95, "holding it against the judged student")
    lines = _lines(taught)
    found = check_refit(twin.features, student.features, judged, whole, seed=at.run.seed)
    if not found.accepted:
        return _refused(found, lines)
    headline = (
        f"{found.interactions:,} interactions, {found.users:,} users ({found.new_users:,} new), {found.items:,} items "
        f"({found.new_items:,} new): {', '.join(f'{c.name} {c.value:.2f}' for c in found.checks[-4:])}"
    )
    made: dict[str, Artifact] = {"student": student, "split": whole, "report": Facts.of(found)}
    return Result(made, headline, _metrics(found), shown=[_shown(found, headline)], lines=lines)


def _teacher(
    at: Stage, judged: ArtifactRef, whole: Split, config: TeacherConfig, earlier: EarlierModel | None
) -> TrainedModel:
    """The teacher of all interactions."""
    previous = None if earlier is None else earlier.seen_from(whole, at.store)
    where = replace(at.environment().piece(0, 2, "teacher: "), checkpoint=at.scratch / "teacher")
    return refit_teacher(whole, config, at.open(judged, TrainedModel), where, previous)


def _lines(teacher: TrainedModel) -> list[str]:
    """What is to be told of the refitted teacher."""
    lines = [f"warning: {text}" for text in teacher.info.get("warnings", [])]
    for side, rows in (teacher.info.get("brought") or {}).items():
        lines.append(f"{side}: {rows['missing']:,} of the newest without external features")
    return lines


def _refused(found: RefitReport, lines: list[str]) -> Result:
    headline = f"refused, the judged student is registered: {'; '.join(found.reasons)}"
    told = [*lines, f"warning: {headline}"]
    return Result({"report": Facts.of(found)}, headline, _metrics(found), shown=[_shown(found, headline)], lines=told)


def _metrics(found: RefitReport) -> dict[str, float | int | None]:
    return {
        "accepted": int(found.accepted),
        "users": found.users,
        "items": found.items,
        "interactions": found.interactions,
    }


def _shown(found: RefitReport, headline: str) -> Shown:
    rows: list[JsonObject] = [check.model_dump(include={"name", "value", "limit", "passed"}) for check in found.checks]
    return Shown(key="refit", content=rows or "\n".join(found.reasons), description=headline)
