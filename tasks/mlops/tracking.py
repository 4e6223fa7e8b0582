"""MLflow as freqd uses it: one parent run a pipeline, one child a stage, everything by run id and in batches."""

from __future__ import annotations

import json
import math
import os
import re
import socket
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import TypeGuard
from urllib.parse import quote

import psutil
from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, Run, RunTag, ViewType
from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import MLFLOW_DATASET_CONTEXT, MLFLOW_PARENT_RUN_ID

from freqd.json_types import Json
from tasks.runtime.stopping import Stopped
from tasks.runtime.workspace import Workspace

ENTRIES_A_BATCH = 100
VALUE_LENGTH = 6000
TASK_RUN = "prefect.task_run_id"
"""Tag of a stage's run: the Prefect task that it belongs to."""
TABLE = "freqd"
"""Name of the view of an experiment's table of runs that freqd offers."""


@cache
def client() -> MlflowClient:
    """The client of ``MLFLOW_TRACKING_URI``."""
    return MlflowClient()


EXPERIMENT = "freqd"
"""Name of the experiment of all runs."""


def experiment_id() -> str | None:
    """Id of freqd's experiment; None before the first run."""
    found = client().get_experiment_by_name(EXPERIMENT)
    return None if found is None else str(found.experiment_id)


def experiment(workspace: Workspace, name: str = EXPERIMENT) -> str:
    """Id of the experiment ``name``; created where artifacts are kept if it is new."""
    found = client().get_experiment_by_name(name)
    if found is not None:
        return str(found.experiment_id)
    location = None if _served(client().tracking_uri) else (workspace.mlflow_artifacts / name).as_uri()
    try:
        return str(client().create_experiment(name, artifact_location=location))
    except MlflowException:  # another first run was faster
        found = client().get_experiment_by_name(name)
        if found is None:
            raise
        return str(found.experiment_id)


def main_runs(experiment_id: str, count: int) -> list[Run]:
    """The latest runs of the main job, the latest first: no stages, no comparisons."""
    wanted, token = "tags.`freqd.version` LIKE '%'", None
    found: list[Run] = []
    while len(found) < count:
        page = client().search_runs(
            [experiment_id], wanted, max_results=200, order_by=["attributes.start_time DESC"], page_token=token
        )
        found += [run for run in page if not run.data.tags.get("freqd.kind")]
        token = page.token
        if not token:
            break
    return found[:count]


def offer_table(experiment_id: str, columns: Sequence[str]) -> None:
    """Keep a view of an experiment's table of runs with these columns, see ``table_page``; the page cannot be given other defaults."""
    view, name = json.dumps({"selectedColumns": list(columns)}), f"mlflow.sharedViewState.{TABLE}"
    if client().get_experiment(experiment_id).tags.get(name) != view:
        client().set_experiment_tag(experiment_id, name, view)


def start_parent(experiment_id: str, name: str, tags: Mapping[str, str]) -> str:
    """Start the run of a pipeline; runs whose process on this machine is gone are closed as killed first."""
    host = socket.gethostname()
    for stale in client().search_runs(
        [experiment_id], f"attributes.status = 'RUNNING' and tags.`freqd.host` = '{host}'", ViewType.ACTIVE_ONLY
    ):
        if not psutil.pid_exists(int(stale.data.tags.get("freqd.pid", "0"))):
            client().set_terminated(stale.info.run_id, "KILLED")
    own = {**tags, "freqd.host": host, "freqd.pid": str(os.getpid())}
    return str(client().create_run(experiment_id, run_name=name, tags=own).info.run_id)


@contextmanager
def stage_run(experiment_id: str, parent: str, stage: str, tags: Mapping[str, str]) -> Iterator[str]:
    """Id of a child run that is closed as finished, or as failed if the block raises."""
    own = {
        MLFLOW_PARENT_RUN_ID: parent,
        "freqd.stage": stage,
        "freqd.host": socket.gethostname(),
        "freqd.pid": str(os.getpid()),
    }
    run_id = str(client().create_run(experiment_id, run_name=stage, tags={**own, **tags}).info.run_id)
    try:
        yield run_id
    except BaseException as error:
        close(run_id, status_of(error))
        raise
    client().set_terminated(run_id, "FINISHED")


def close_earlier(experiment_id: str, task_run: str) -> None:
    """Close the runs of a Prefect task's earlier attempts, which were lost with their machine and could not do it themselves."""
    found = client().search_runs([experiment_id], f"tags.`{TASK_RUN}` = '{task_run}' and attributes.status = 'RUNNING'")
    for run in found:
        close(run.info.run_id, "KILLED")


def close(run_id: str, status: str) -> None:
    """Close a run that did not finish; an error while that is done must not hide the one that led to it."""
    with suppress(Exception):
        client().set_terminated(run_id, status)


def status_of(error: BaseException) -> str:
    """What becomes of a run that is ended by this error."""
    prefect = sys.modules.get(
        "prefect.exceptions"
    )  # its signal cannot have come unless it is there; importing it takes a second
    stops = (Stopped, KeyboardInterrupt, *([prefect.TerminationSignal] if prefect else []))
    return "KILLED" if isinstance(error, stops) else "FAILED"


def log(
    run_id: str,
    *,
    metrics: Mapping[str, float | int | None] | None = None,
    params: Mapping[str, object] | None = None,
    tags: Mapping[str, str] | None = None,
    series: Iterable[Mapping[str, Json]] = (),
) -> None:
    """Send everything in as few calls as MLflow allows.

    Args:
        run_id: the run.
        metrics: final values; None and values that are not finite are left out.
        params: settings, as text.
        tags: tags of the run.
        series: one entry a validation with ``epoch`` and numbers or lists of numbers, which become one metric an element.
    """
    now = int(time.time() * 1000)
    points = [
        Metric(_metric_name(k), v, now, 0) for k, v in (metrics or {}).items() if v is not None and math.isfinite(v)
    ]
    for entry in series:
        step = entry["epoch"]
        assert isinstance(step, int | float)
        for name, value in entry.items():
            for index, number in enumerate(value) if isinstance(value, list) else ((None, value),):
                if name != "epoch" and _finite(number):
                    full = name if index is None else f"{name}_band_{index}"
                    points.append(Metric(_metric_name(full), float(number), now, int(step)))
    pairs = [Param(k, str(v)[:VALUE_LENGTH]) for k, v in (params or {}).items()]
    labels = [RunTag(k, str(v)[:VALUE_LENGTH]) for k, v in (tags or {}).items()]
    for start in range(0, max(len(points), len(pairs), len(labels)), ENTRIES_A_BATCH):
        stop = start + ENTRIES_A_BATCH
        client().log_batch(run_id, points[start:stop], pairs[start:stop], labels[start:stop])


def log_data(run_id: str, entry: Dataset, *, context: str) -> None:
    """Record which data a run used, and for what, so that the MLflow page shows it."""
    client().log_inputs(run_id, [DatasetInput(entry, [InputTag(MLFLOW_DATASET_CONTEXT, context)])])


def page(experiment_id: str, run_id: str) -> str | None:
    """Where a browser finds a run; None where MLflow is a file and not a server."""
    address = client().tracking_uri
    return f"{_open(address)}/#/experiments/{experiment_id}/runs/{run_id}" if _served(address) else None


def version_page(model: str, version: str) -> str | None:
    """Where a browser finds a registered version; None where MLflow is a file and not a server."""
    address = client().tracking_uri
    return f"{_open(address)}/#/models/{quote(model, safe='')}/versions/{version}" if _served(address) else None


def table_page(server: str, experiment_id: str) -> str:
    """Where a browser finds the table of runs that ``offer_table`` keeps."""
    return f"{server.rstrip('/')}/#/experiments/{experiment_id}/runs?viewStateShareKey={TABLE}"


def log_file(run_id: str, path: Path, folder: str | None = None) -> None:
    """Keep a file with a run."""
    client().log_artifact(run_id, str(path), folder)


def log_text(run_id: str, text: str, name: str) -> None:
    """Keep a text with a run, as the file ``name``."""
    client().log_text(run_id, text, name)


def flat(settings: Mapping[str, object], prefix: str = "") -> dict[str, object]:
    """Nested settings as one level with dotted names."""
    rows: dict[str, object] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping):
            rows |= flat(value, f"{prefix}{name}.")
        else:
            rows[f"{prefix}{name}"] = value
    return rows


def _served(address: str) -> bool:
    return address.startswith(("http://", "https://"))


def _open(address: str) -> str:
    """An address without a password that it may hold."""
    return re.sub(r"://[^/@\s]*@", "://", address).rstrip("/")


def _metric_name(name: str) -> str:
    return re.sub(r"[^\w./ -]", "_", name)


def _finite(value: object) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
