"""What a run found, in types: written once as ``summary.json``, read by the report, the command line and later runs.

The file is JSON; its schema is ``docs/schema/run-summary-1.json``. A field with a default is one that older files lack.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

from pydantic import Field, FiniteFloat, ValidationError

from freqd.errors import InputError
from freqd.evaluate.paired_groups import GroupDifferences
from freqd.evaluate.result import Protocol
from freqd.evaluate.significance import Difference, Interval
from freqd.gate import Verdict
from freqd.json_types import JsonObject
from freqd.provenance import Environment
from freqd.refit.report import RefitReport
from freqd.report.run_result_data import DataFacts
from freqd.report.run_result_parts import (
    ByModel,
    Dumped,
    Evaluated,
    Groups,
    MlflowFacts,
    ModelFacts,
    PrefectFacts,
    References,
    RegisteredModel,
    ResultPart,
    SpectrumFacts,
    StageCost,
    Training,
)
from freqd.report.run_result_start import Budget, StartRecord
from freqd.storage.store import ArtifactRef

SCHEMA_VERSION: Literal[1] = 1
"""Of ``summary.json``; raised where a reader of the schema before could no longer read the file."""


class RunResult(ResultPart):
    """The result of a run.

    Attributes:
        freqd: version that made it.
        folder: in which the run was started; its relative paths are those of there.
        metrics: on the test split, by name.
        intervals: paired differences over the test users, as ``student_minus_teacher``.
        group_intervals: the same within the groups of ``groups``, in their order.
        artifacts: by stage and name, as ``distill.student``.
        model, gate: None if the student was not registered.
        config: the settings as JSON, those that were left at their defaults too.
        start: None if the run was not to start from another one.
        advice: what the numbers mean for what to do next.
        refit: of the student of all interactions, which is deployed if it was accepted; None if none was made.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    freqd: str
    run: str
    created: str
    workdir: str
    folder: str = "."
    data: DataFacts
    protocol: Protocol
    metrics: ByModel[dict[str, FiniteFloat]]
    evaluated: Evaluated | None = None
    intervals: dict[str, Difference]
    gap_closed: Interval
    models: ByModel[ModelFacts]
    references: References = References()
    groups: ByModel[Groups]
    group_intervals: dict[str, GroupDifferences] = Field({})
    spectrum: SpectrumFacts
    training: ByModel[Training]
    stages: tuple[StageCost, ...]
    artifacts: dict[str, ArtifactRef]
    cached_stages: tuple[str, ...]
    mlflow: MlflowFacts
    prefect: PrefectFacts
    model: RegisteredModel | None = None
    gate: Verdict | None = None
    config: Dumped
    environment: Environment
    budget: Budget = Budget()
    start: StartRecord | None = None
    advice: tuple[str, ...] = ()
    refit: RefitReport | None = None

    def as_json(self) -> JsonObject:
        """What ``summary.json`` holds; optional facts that were not given are left out."""
        return super().as_json() | {"schema_version": self.schema_version}

    @classmethod
    def load(cls, path: Path) -> RunResult:
        """Read ``summary.json``; a file without ``schema_version`` is one of before there was one.

        Raises:
            InputError: it cannot be read, or is not the summary of a run of this or an earlier freqd.
        """
        again = "run it again with `freqd run`"
        try:
            content = json.loads(path.read_text())
        except (OSError, ValueError) as error:
            raise InputError(f"{path} cannot be read, or is damaged: {error}", again) from error
        version = content.get("schema_version", SCHEMA_VERSION) if isinstance(content, dict) else SCHEMA_VERSION
        if version != SCHEMA_VERSION:
            told = f"{path} is a summary of schema {version!r}, and this freqd reads {SCHEMA_VERSION}"
            raise InputError(told, f"use the version of freqd that wrote it, or {again}")
        try:
            return cls.model_validate(content)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"])) or "the whole file"
            raise InputError(f"{path} is not a summary as freqd writes it: {place}: {first['msg']}", again) from error


def schema() -> str:
    """The JSON schema of ``summary.json``, as ``docs/schema/run-summary-1.json`` holds it."""
    return json.dumps(RunResult.model_json_schema(), indent=1, ensure_ascii=False) + "\n"
