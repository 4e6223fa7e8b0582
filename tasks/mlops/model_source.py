"""A model of a run as something to serve: the teacher beside the student, say, to see what compression buys."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from freqd.data.interactions import Split
from freqd.embeddings import Embeddings, TrainedModel
from freqd.errors import DamagedArtifactError, InputError
from freqd.report.run_result import RunResult
from freqd.serve import Recommender
from freqd.storage.store import Artifact
from tasks.runtime.workspace import Workspace

WHERE = {"teacher": "teacher.teacher", "scratch": "baselines.scratch", "svd": "svd.svd", "student": "distill.student"}
"""Which artifact of a run is which model."""

A = TypeVar("A", bound=Artifact)


def artifact(workspace: Workspace, result: RunResult, label: str, kind: type[A]) -> A:
    """An artifact of the run with this result, opened.

    Raises:
        InputError: the run has none, or it is damaged.
    """
    try:
        return workspace.store.open(result.artifacts[label], kind)
    except (KeyError, DamagedArtifactError) as error:
        raise InputError(
            f"run {result.run} has no whole artifact {label!r}: {error}", "run it again with `freqd run`"
        ) from error


@dataclass(frozen=True)
class OfRun:
    """A model of a run.

    Attributes:
        workspace: whose run it is.
        result: of the run.
        model: which of its models, a key of ``WHERE``.
    """

    workspace: Workspace
    result: RunResult
    model: str
    alias: None = None

    @property
    def name(self) -> str:
        """Name of the run."""
        return self.result.run

    def version(self) -> str:
        """The model's name: a run never changes."""
        return self.model

    def open(self) -> tuple[str, Recommender]:
        """The model's name and the model; errors as in ``load``."""
        return self.model, self.load(self.model)

    def load(self, version: str) -> Recommender:
        """The model.

        Raises:
            InputError: the run does not have it whole, or it cannot answer.
        """
        split = artifact(self.workspace, self.result, "ingest.split", Split)
        model = artifact(self.workspace, self.result, WHERE[version], TrainedModel)
        features = Embeddings(model.features.users, np.asfortranarray(model.features.items))
        recommender = Recommender.of(features, split, model.full)
        try:
            recommender.check()
        except ValueError as error:
            raise InputError(f"the {version} of run {self.name}: {error}", "name another run or model") from error
        return recommender
