"""Versions of a registered model, described and held against each other."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from tasks.mlops import registry, tracking


def compare(model: str, one: str, other: str) -> dict[str, Any]:
    """Two versions side by side.

    Returns ``versions`` (their numbers), ``metrics`` and ``params`` (name -> pair of values; parameters only where they
    differ), and ``same_data``: whether the metrics were measured on the same split and so may be compared.

    Raises:
        InputError: a version does not exist.
    """
    pair = [registry.find(model, one), registry.find(model, other)]
    runs = [_run(version) for version in pair]
    metrics = [{k: v for k, v in run.data.metrics.items() if k.startswith("student_")} if run else {} for run in runs]
    params = [run.data.params if run else {} for run in runs]
    digests = [version.tags.get("freqd.data_digest") for version in pair]
    return {
        "model": model,
        "versions": [str(version.version) for version in pair],
        "same_data": digests[0] is not None and digests[0] == digests[1],
        "metrics": {k: [m.get(k) for m in metrics] for k in sorted(set(metrics[0]) | set(metrics[1]))},
        "params": {
            k: [p.get(k) for p in params]
            for k in sorted(set(params[0]) | set(params[1]))
            if params[0].get(k) != params[1].get(k)
        },
    }


def describe(version: ModelVersion) -> dict[str, Any]:
    """Everything worth knowing of one version."""
    return {
        "name": version.name,
        "version": str(version.version),
        "aliases": sorted(version.aliases),
        "created": datetime.fromtimestamp(version.creation_timestamp / 1000, UTC).isoformat(timespec="seconds"),
        "mlflow_run": version.run_id or "",
        "tags": dict(sorted(version.tags.items())),
    }


def _run(version: ModelVersion) -> Any:
    """The run that made a version; None if it was deleted for good."""
    if not version.run_id:
        return None
    try:
        return tracking.client().get_run(version.run_id)
    except MlflowException as error:
        if error.error_code in registry.ABSENT:
            return None
        raise
