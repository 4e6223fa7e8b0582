"""What a working directory can do without: old runs with what only they need, and what killed processes left.

Never taken is what a registered version came from (its run, its data, its models and those that it started from), a run that is
kept or has not finished, and the results of `freqd compare`, `tune` and `cadence`. What is taken can be computed again.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from mlflow.entities import Run, ViewType

from tasks.mlops import registry, tracking
from tasks.runtime import server_state
from tasks.runtime.workspace import Workspace

UNFINISHED_DAYS = 7.0
"""What belongs to no run that is there counts as that of a run in progress for so long."""
LEFT_HOURS = 1.0
"""Temporary files of this age belong to no process that writes."""
_TEMPORARY = (".*.tmp", ".*.old", ".writable-*", ".mlflow.*.tmp*")
MARK = "freqd.host"
"""Tag of the MLflow runs that are freqd's own."""


@dataclass
class Plan:
    """What is to go.

    Attributes:
        runs: folders of runs.
        files: artifacts, entries of the index, checkpoints, temporary files and locks: paths by kind.
        mlflow: ids of MLflow runs.
        prefect: ids of flow runs.
        bytes: of all that lies in files.
    """

    runs: list[Path] = field(default_factory=list)
    files: dict[str, list[Path]] = field(default_factory=dict)
    mlflow: list[str] = field(default_factory=list)
    prefect: list[str] = field(default_factory=list)
    bytes: int = 0

    def rows(self) -> list[tuple[str, int]]:
        """Kind and number, for a table."""
        counts = [("runs", len(self.runs)), *((kind, len(paths)) for kind, paths in self.files.items())]
        return [*counts, ("MLflow runs", len(self.mlflow)), ("Prefect runs", len(self.prefect))]


def plan(workspace: Workspace, keep: int, older_than_days: float, now: float | None = None) -> Plan:
    """Find what can be removed; nothing is changed.

    Args:
        workspace: the working directory.
        keep: the latest runs, so many of them, stay.
        older_than_days: what is younger stays.
        now: seconds since 1970.
    """
    now = time.time() if now is None else now
    before = now - 86_400 * older_than_days
    found = Plan()
    tags = _version_tags()
    summaries = sorted(workspace.runs.glob("*/summary.json"), key=lambda path: -path.stat().st_mtime)
    used = {value for version in tags for value in version.values()}
    for number, path in enumerate(summaries):
        if number < keep or path.stat().st_mtime >= before or path.parent.name in used:
            continue
        found.runs.append(path.parent)
    kept = [path for path in summaries if path.parent not in found.runs]
    needed = used | {digest for path in kept for digest in _digests(path)}
    for folder in ("comparisons", "tuned", "cadences"):
        needed |= {digest for path in (workspace.root / folder).glob("*/*.json") for digest in _digests(path)}
    _files(workspace, found, needed, min(before, now - 86_400 * UNFINISHED_DAYS), now)
    found.mlflow = [run.info.run_id for run in _mlflow_runs(workspace, tags, kept, 1000 * before)]
    found.prefect = _prefect_runs(datetime.fromtimestamp(before, UTC), {_flow_run(path) for path in kept})
    found.bytes = sum(_size(path) for paths in (found.runs, *found.files.values()) for path in paths)
    return found


def _version_tags() -> list[Mapping[str, str]]:
    """The tags of all registered versions that say what they came from."""
    wanted = ("freqd.run", "freqd.start_run")
    return [
        {tag: value for tag, value in version.tags.items() if tag in wanted or tag.endswith("_digest")}
        | {"mlflow_run": version.run_id or ""}
        for name in registry.names()
        for version in registry.versions(name)
    ]


def _digests(path: Path) -> Iterator[str]:
    """The digests that a result names, wherever they stand in it."""
    try:
        pending: list[Any] = [json.loads(path.read_text())]
    except (OSError, ValueError):
        return
    while pending:
        value = pending.pop()
        if isinstance(value, dict):
            pending += value.values()
        elif isinstance(value, list):
            pending += value
        elif isinstance(value, str) and len(value) == 64:
            yield value


def _files(workspace: Workspace, found: Plan, needed: set[str], before: float, now: float) -> None:
    store = workspace.store.root
    index = list((store / "index").glob("*/*.json"))
    young = {digest for path in index if path.stat().st_mtime >= before for digest in _digests(path)}
    stale = [path for path in index if path.stat().st_mtime < before and not set(_digests(path)) & (needed | young)]
    artifacts = [path for path in (store / "artifacts").glob("*/*") if not path.name.startswith(".")]
    found.files["results of stages"] = stale
    found.files["artifacts"] = [
        path for path in artifacts if path.name not in needed | young and path.stat().st_mtime < before
    ]
    found.files["checkpoints"] = [path for path in (store / "scratch").glob("*/*") if _newest(path) < before]
    found.files["figures"] = [path for path in (workspace.runs / ".figures").glob("*") if _newest(path) < before]
    left = now - 3600 * LEFT_HOURS
    places = (workspace.root, *(p for p in workspace.root.glob("*") if p.is_dir()), *(store / "artifacts").glob("*"))
    found.files["left by killed processes"] = sorted(
        {path for place in places for mark in _TEMPORARY for path in place.glob(mark) if _newest(path) < left}
    )
    locks = (store / "locks").glob("*.lock")
    found.files["locks"] = [path for path in locks if path.stat().st_mtime < before and _free(path)]


def _mlflow_runs(workspace: Workspace, tags: list[Mapping[str, str]], kept: list[Path], before: float) -> Iterator[Run]:
    """freqd's MLflow runs that ended before, without those of versions and of runs that are kept."""
    experiment = tracking.client().get_experiment_by_name("freqd")
    if experiment is None:
        return
    stay = {version["mlflow_run"] for version in tags} | {_mlflow_run(path) for path in kept}
    for folder in ("comparisons", "tuned", "cadences"):
        stay |= {_mlflow_run(path) for path in (workspace.root / folder).glob("*/*.json")}
    token: str | None = None
    while True:
        page = tracking.client().search_runs(
            [experiment.experiment_id], f"attributes.end_time < {int(before)}", ViewType.ALL, 1000, page_token=token
        )
        for run in page:
            parent = run.data.tags.get("mlflow.parentRunId", run.info.run_id)
            if (
                MARK in run.data.tags
                and run.info.run_id not in stay
                and parent not in stay
                and run.info.status != "RUNNING"
            ):
                yield run
        token = page.token
        if not token:
            return


def _mlflow_run(path: Path) -> str:
    try:
        return str(json.loads(path.read_text())["mlflow"]["run_id"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _flow_run(path: Path) -> str:
    try:
        return str(json.loads(path.read_text())["prefect"]["flow_run_id"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _prefect_runs(before: datetime, stay: set[str]) -> list[str]:
    """Ids of flow runs that ended before."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterEndTime

    ended = FlowRunFilter(end_time=FlowRunFilterEndTime(before_=before))
    found: list[str] = []
    with get_client(sync_client=True) as client:
        while True:
            page = client.read_flow_runs(flow_run_filter=ended, limit=200, offset=len(found))
            found += [str(run.id) for run in page]
            if len(page) < 200:
                return [run for run in found if run not in stay]


def carry_out(workspace: Workspace, what: Plan) -> None:
    """Take away what the plan says."""
    from uuid import UUID

    from prefect.client.orchestration import get_client
    from prefect.exceptions import ObjectNotFound

    for path in (*what.runs, *(path for paths in what.files.values() for path in paths)):
        _take(path)
    with get_client(sync_client=True) as client:
        for identity in what.prefect:
            try:
                client.delete_flow_run(UUID(identity))
            except ObjectNotFound:  # gone with its parent
                continue
    for identity in what.mlflow:
        tracking.client().delete_run(identity)
    _forget(workspace, what.mlflow)


def _forget(workspace: Workspace, runs: list[str]) -> None:
    """MLflow only marks runs as deleted; its own command takes them and their files away."""
    own = {**os.environ, **{k: v for k, v in server_state.stores(workspace).items() if k.startswith("MLFLOW_")}}
    if os.environ.get("MLFLOW_TRACKING_URI", "").startswith("http") and server_state.Stack.running(workspace) is None:
        return  # a server of somebody else's, whose database is out of reach
    for first in range(0, len(runs), 100):
        subprocess.run(
            [
                *(sys.executable, "-m", "mlflow", "gc", "--run-ids", ",".join(runs[first : first + 100])),
                *("--backend-store-uri", own["MLFLOW_BACKEND_STORE_URI"]),
                *("--artifacts-destination", workspace.mlflow_artifacts.as_uri()),
            ],
            env={**own, "MLFLOW_TRACKING_URI": own["MLFLOW_BACKEND_STORE_URI"]},
            check=True,
            capture_output=True,
        )


def _take(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        aside = path.with_name(f".{path.name}.old")  # so that nobody finds it half gone
        path.rename(aside)
        shutil.rmtree(aside, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _newest(path: Path) -> float:
    """Time of the latest change in a file or a folder."""
    return float(max(p.stat().st_mtime for p in (path, *(path.rglob("*") if path.is_dir() else ()))))


def _size(path: Path) -> int:
    return sum(p.stat().st_size for p in (path, *(path.rglob("*") if path.is_dir() else ())) if p.is_file())


def _free(lock: Path) -> bool:
    """Whether nobody holds a lock."""
    try:
        with FileLock(lock, timeout=0):
            return True
    except (Timeout, OSError):
        return False
