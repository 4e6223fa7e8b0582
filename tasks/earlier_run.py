"""An earlier run whose models may be started from: found by its name, and checked against the settings.

Prefect is not needed for that, so a wrong name is refused before anything is started.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict

from freqd.config import RunConfig
from freqd.data.interactions import Split
from freqd.distill import check_student
from freqd.embeddings import TrainedModel
from freqd.errors import DamagedArtifactError, InputError, LeakError
from freqd.report.run_result import RunResult
from freqd.storage.store import ArtifactRef, Store
from freqd.teachers.previous_model import PreviousModel, als_point
from tasks.runtime.workspace import Workspace

NONE, CHAMPION = "none", "champion"
PARTS = {"split": "data_digest", "teacher": "teacher_digest", "student": "student_digest"}
"""Of an earlier run, and the tags of a version that hold their digests."""
TAG = "freqd.start_"
"""Begins the tags of a version that say what its own run started from."""


class EarlierModel(BaseModel):
    """A model of an earlier run that a training starts from, and the data that it was made of."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    run: str
    model: ArtifactRef
    split: ArtifactRef

    def seen_from(self, present: Split, store: Store) -> PreviousModel:
        """The model in the rows of the present split."""
        return PreviousModel.of(store.open(self.model, TrainedModel), store.open(self.split, Split), present)


class Before(BaseModel):
    """The earlier run: its data and its models."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    run: str
    version: str = ""
    split: ArtifactRef
    teacher: ArtifactRef
    student: ArtifactRef

    def model(self, which: Literal["teacher", "student"]) -> EarlierModel:
        """Its teacher or its student."""
        return EarlierModel(run=self.run, model=self.teacher if which == "teacher" else self.student, split=self.split)

    def tags(self) -> dict[str, str]:
        """For the version that starts from here."""
        refs = {f"{TAG}{tag}": getattr(self, part).digest for part, tag in PARTS.items()}
        return {f"{TAG}run": self.run, f"{TAG}version": self.version, **refs}


def check_start(config: RunConfig, workspace: Workspace, run_name: str | None = None) -> None:
    """See that a run that was named can be started from, before anything else is done.

    Raises:
        InputError: it is not there, its models are gone, or they do not go with the settings.
    """
    name = config.start.run
    if name in (NONE, CHAMPION):
        return
    if name == run_name:
        raise InputError(f"run {name!r} cannot start from itself", "give the new run another --name")
    check_models(workspace.store, run_named(workspace, name), config)


def run_named(workspace: Workspace, name: str) -> Before:
    """The run of that name.

    Raises:
        InputError: there is none, it did not finish, or its summary cannot be read.
    """
    path = workspace.runs / name / "summary.json"
    if not path.is_file():
        known = sorted(p.parent.name for p in workspace.runs.glob("*/summary.json")) if workspace.runs.is_dir() else []
        raise InputError(
            f"start.run: there is no finished run {name!r} below {workspace.runs}",
            f"runs are: {', '.join(known[-5:]) or 'none yet'}; or give none or champion",
        )
    artifacts = RunResult.load(path).artifacts
    names = {"split": "ingest.split", "teacher": "teacher.teacher", "student": "distill.student"}
    return before_of(workspace.store, {part: artifacts[label].digest for part, label in names.items()}, run=name)


def before_of(store: Store, digests: Mapping[str, str], **names: str) -> Before:
    """The run with these digests of split, teacher and student; ``names`` are its run and version."""
    kinds = {"split": Split.kind, "teacher": TrainedModel.kind, "student": TrainedModel.kind}
    refs = {part: store.ref(kind, digests[part]) for part, kind in kinds.items()}
    return Before(**refs, **names)


def check_models(store: Store, before: Before, config: RunConfig) -> None:
    """See that a run's models are whole and of the kind that the settings ask for.

    Raises:
        InputError: they are not.
        LeakError: one of them is a refit, which has seen what later runs are judged by.
    """
    try:
        store.verify(before.split)
        teacher, student = (store.open(ref, TrainedModel) for ref in (before.teacher, before.student))
    except DamagedArtifactError as error:
        raise InputError(
            f"the models of run {before.run} cannot be started from: {error}",
            "use the working directory of that run, or set start.run=none",
        ) from error
    if teacher.info.get("refit") or student.info.get("refit"):
        raise LeakError(f"run {before.run}: a refitted model stands where the judged one belongs")
    if config.teacher.kind == "als":
        als_point(teacher, config.teacher)
    check_student(student, config.distill)
