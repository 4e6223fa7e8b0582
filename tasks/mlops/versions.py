"""Versions of a registered model, described and held against each other."""

from __future__ import annotations

from datetime import UTC, datetime

from mlflow.entities import Run
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from pydantic import BaseModel, ConfigDict

from tasks.mlops import registry, tracking


class VersionFacts(BaseModel):
    """Everything worth knowing of one version."""

    model_config = ConfigDict(frozen=True)

    name: str
    version: str
    aliases: list[str]
    created: str
    mlflow_run: str
    tags: dict[str, str]


class ComparedVersions(BaseModel):
    """Two versions side by side.

    Attributes:
        versions: their numbers.
        same_data: whether the metrics were measured on the same split and so may be compared.
        metrics: by name, that of each; None where it has none.
        params: settings in which they differ, by name.
    """

    model_config = ConfigDict(frozen=True)

    model: str
    versions: tuple[str, str]
    same_data: bool
    metrics: dict[str, tuple[float | None, float | None]]
    params: dict[str, tuple[str | None, str | None]]


def compare(model: str, one: str, other: str) -> ComparedVersions:
    """Two versions side by side.

    Raises:
        InputError: a version does not exist.
    """
    first, second = registry.find(model, one), registry.find(model, other)
    runs = [_run(version) for version in (first, second)]
    mine, theirs = (
        {k: v for k, v in run.data.metrics.items() if k.startswith("student_")} if run else {} for run in runs
    )
    own, others = (run.data.params if run else {} for run in runs)
    digests = [version.tags.get("freqd.data_digest") for version in (first, second)]
    return ComparedVersions(
        model=model,
        versions=(str(first.version), str(second.version)),
        same_data=digests[0] is not None and digests[0] == digests[1],
        metrics={k: (mine.get(k), theirs.get(k)) for k in sorted({*mine, *theirs})},
        params={k: (own.get(k), others.get(k)) for k in sorted({*own, *others}) if own.get(k) != others.get(k)},
    )


def describe(version: ModelVersion) -> VersionFacts:
    """Everything worth knowing of one version."""
    return VersionFacts(
        name=version.name,
        version=str(version.version),
        aliases=sorted(version.aliases),
        created=datetime.fromtimestamp(version.creation_timestamp / 1000, UTC).isoformat(timespec="seconds"),
        mlflow_run=version.run_id or "",
        tags=dict(sorted(version.tags.items())),
    )


def _run(version: ModelVersion) -> Run | None:
    """The run that made a version; None if it was deleted for good."""
    if not version.run_id:
        return None
    try:
        return tracking.client().get_run(version.run_id)
    except MlflowException as error:
        if error.error_code in registry.ABSENT:
            return None
        raise
