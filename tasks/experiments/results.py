"""What a comparison and a cadence keep alike: the record of a result, and the folder of its files."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import freqd
from freqd import provenance
from freqd.config import RunConfig
from freqd.report.comparison_result import ExperimentMetadata
from freqd.report.run_result_parts import MlflowFacts, PrefectFacts
from freqd.storage.files import replacing, storage_error
from tasks.mlops import tracking
from tasks.run_context import RunContext, flow_run_id


def books(context: RunContext, config: RunConfig, folder: Path) -> ExperimentMetadata:
    """Name, time and place of a result, with what made it: settings, versions, and its runs in MLflow and Prefect."""
    return ExperimentMetadata(
        freqd=freqd.__version__,
        name=context.run_name,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        folder=str(folder),
        mlflow=MlflowFacts(
            run_id=context.mlflow_run_id,
            experiment_id=context.mlflow_experiment_id,
            tracking_uri=tracking.client().tracking_uri,
        ),
        prefect=PrefectFacts(flow_run_id=flow_run_id()),
        config=config.model_dump(mode="json"),
        environment=provenance.environment(),
    )


def replace_folder(folder: Path, files: Mapping[str, str | bytes]) -> None:
    """Write a folder of files that is complete the moment it is seen; an earlier one of that name gives way.

    Raises:
        InputError: the disk is full or the place cannot be written.
    """
    try:
        with replacing(folder) as made:
            made.mkdir()
            for name, content in files.items():
                (made / name).write_bytes(content.encode() if isinstance(content, str) else content)
    except OSError as error:
        raise storage_error(error, folder.parent) from error
