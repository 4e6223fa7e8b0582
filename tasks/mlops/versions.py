"""Versions of a registered model, described and held against each other."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from mlflow.entities import Run
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from pydantic import BaseModel, ConfigDict

from freqd import numbers as fmt
from tasks.mlops import registry, tracking

TEXT_LENGTH = 4000
"""The longest tag or description."""


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


def explain(model: str, version: str, verdict: str, reasons: Sequence[str]) -> None:
    """Let a version's page begin with the verdict and the three numbers that it rests on.

    MLflow shows tags by name: the two that begin with ``decision`` come first, for people; freqd goes by its own.
    """
    client, why = tracking.client(), "; ".join(reasons)
    tags = client.get_model_version(model, version).tags
    figures = [f"NDCG@10 {float(tags['freqd.ndcg_at_10']):.4f}"] if "freqd.ndcg_at_10" in tags else []
    if tags.get("freqd.gap_closed", "none") != "none":
        figures.append(f"{fmt.percent(float(tags['freqd.gap_closed']))} of the gap to the teacher closed")
    if "freqd.bytes" in tags:
        figures.append(fmt.size(int(tags["freqd.bytes"])))
    text = ". ".join(part for part in (verdict.capitalize(), ", ".join(figures), why) if part).replace(fmt.NBSP, " ")
    client.update_model_version(model, version, description=text[:TEXT_LENGTH])
    told = {"decision": verdict, "decision.reason": why, "freqd.reasons": why, "freqd.verdict": verdict}
    for label, value in told.items():
        client.set_model_version_tag(model, version, label, value[:TEXT_LENGTH])


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
