"""The overview of a working directory, gathered from the registry, the audit trail, the checks and the servers."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import psutil
from mlflow.exceptions import MlflowException

from flows.ops import servers
from freqd.drift.findings import Measure
from freqd.errors import InputError
from freqd.report.overview.facts import (
    ChampionFacts,
    Disk,
    DriftFacts,
    ModelFacts,
    MoveFacts,
    Overview,
    RunFacts,
    ScheduleFacts,
    VersionFacts,
)
from tasks.drift_record import DriftRecord, records
from tasks.mlops import registry, tracking
from tasks.mlops.audit import AuditTrail
from tasks.mlops.champion import use_registry
from tasks.runtime.server_state import Stack, database, reachable
from tasks.runtime.workspace import Workspace

RUNS = 100
"""Runs that are looked at, the latest ones."""
CHECKS = 40
"""Drift checks of a model that are looked at."""


def gather(workspace: Workspace) -> Overview:
    """Everything, as it is now; what cannot be asked since there is no registry or no server is left out."""
    models: tuple[ModelFacts, ...] = ()
    runs: tuple[RunFacts, ...] = ()
    trouble: tuple[str, ...] = ()
    try:
        models, runs = _registry(workspace)
    except (MlflowException, InputError) as error:
        trouble = (f"the model registry does not answer: {str(error).splitlines()[0]}",)
    stack = Stack.read(workspace)
    return Overview(
        time=datetime.now(UTC),
        workdir=str(workspace.root),
        models=models,
        runs=runs,
        schedules=_schedules(workspace),
        disk=_disk(workspace.root),
        servers=tuple(servers.look(workspace)),
        trouble=trouble,
        links=() if stack is None else _links(stack, runs),
    )


def _links(stack: Stack, runs: Sequence[RunFacts]) -> tuple[tuple[str, str], ...]:
    """The pages of the servers; the table of runs is there once there was one."""
    experiments = [run.address.partition("/experiments/")[2].partition("/")[0] for run in runs if run.address]
    tables = [
        ("MLflow: table of runs", tracking.table_page(stack.mlflow, experiment)) for experiment in experiments[:1]
    ]
    return (
        ("Prefect: runs, schedules", f"{stack.prefect}/runs"),
        *tables,
        ("MLflow: models", f"{stack.mlflow}/#/models"),
    )


def _registry(workspace: Workspace) -> tuple[tuple[ModelFacts, ...], tuple[RunFacts, ...]]:
    """Models and runs; nothing where there is no registry yet."""
    nothing_yet = not (workspace.mlflow_home / "mlflow.db").is_file() and Stack.read(workspace) is None
    if nothing_yet and not os.environ.get("MLFLOW_TRACKING_URI") and database() is None:
        return (), ()
    use_registry(workspace)
    experiment = tracking.experiment_id()
    found = [] if experiment is None else tracking.main_runs(experiment, RUNS)
    metrics = {run.info.run_id: run.data.metrics for run in found}
    trail = registry.trail(workspace)
    models = tuple(_model(workspace, trail, name, metrics) for name in registry.names())
    runs = tuple(
        RunFacts(
            name=run.info.run_name,
            started=_time(run.info.start_time),
            seconds=(run.info.end_time - run.info.start_time) / 1000 if run.info.end_time else None,
            state=_state(run.info.status, run.data.tags),
            decision=run.data.tags.get("decision", ""),
            why=run.data.tags.get("decision.reason", ""),
            address=tracking.page(run.info.experiment_id, run.info.run_id) or "",
        )
        for run in found
    )
    return models, runs


def _state(status: str, tags: Mapping[str, str]) -> str:
    """What became of a run, in a word; one whose process is gone does not run, whatever MLflow says."""
    here = tags.get("freqd.host") == socket.gethostname()
    if status == "RUNNING" and here and not psutil.pid_exists(int(tags.get("freqd.pid", "0"))):
        return "killed"
    return status.lower()


def _model(
    workspace: Workspace, trail: AuditTrail, name: str, metrics: Mapping[str, Mapping[str, float]]
) -> ModelFacts:
    found = registry.entries(name)
    versions = {
        str(entry.version): VersionFacts(
            version=str(entry.version),
            created=_time(entry.creation_timestamp),
            run=entry.tags.get("freqd.run", ""),
            verdict=entry.tags.get("freqd.verdict", "not judged"),
            why=entry.tags.get("freqd.reasons", ""),
            ndcg_at_10=_number(entry.tags.get("freqd.ndcg_at_10")),
            low=metrics.get(entry.run_id or "", {}).get("student_ndcg_at_10_low"),
            high=metrics.get(entry.run_id or "", {}).get("student_ndcg_at_10_high"),
            gap_closed=_number(entry.tags.get("freqd.gap_closed")),
            n_bytes=None if "freqd.bytes" not in entry.tags else int(entry.tags["freqd.bytes"]),
            data=entry.tags.get("freqd.data_digest", ""),
            address=tracking.version_page(name, str(entry.version)) or "",
        )
        for entry in found
    }
    champion = registry.champion_of(name)
    served = None
    if champion is not None and str(champion.version) in versions:
        since = champion.tags.get("freqd.champion_since")
        served = ChampionFacts(
            version=versions[str(champion.version)],
            since=None if since is None else datetime.fromisoformat(since),
            by=champion.tags.get("freqd.champion_by", ""),
        )
    moves = tuple(
        MoveFacts(time=datetime.fromisoformat(e.time), who=e.who, what=e.what, version=e.version, why=e.why)
        for e in reversed(trail.entries(name))
        if e.time
    )
    checks = tuple(_check(record) for record, _ in zip(records(workspace.drift / name), range(CHECKS), strict=False))
    return ModelFacts(name=name, champion=served, versions=tuple(versions.values()), moves=moves, drift=checks)


def _share(measure: Measure) -> float | None:
    """A measure as a share of its limit, over 1 where it is over it: a ratio may be too small, and a difference may be chance."""
    if measure.value is None or not measure.limit:
        return None
    share = measure.value / measure.limit
    if measure.over and share <= 1.0:
        return max(1.0 / max(measure.value, 1e-9) / measure.limit, 1.001)
    return share if measure.over else min(share, 1.0)


def _check(record: DriftRecord) -> DriftFacts:
    shares = [share for measure in record.measures if (share := _share(measure)) is not None]
    return DriftFacts(
        time=datetime.fromisoformat(record.time),
        version=record.version,
        headline=record.headline,
        outcome=record.outcome,
        found=record.found,
        worst=max(shares, default=None),
    )


def _schedules(workspace: Workspace) -> tuple[ScheduleFacts, ...] | None:
    if not reachable(workspace):
        return None
    from tasks.runtime.environment import embed

    embed(workspace)
    import httpx

    from flows.ops import scheduling

    try:
        found = scheduling.schedules()
    except (httpx.HTTPError, InputError):  # the server starts just now, or nothing was deployed on it
        return None
    return tuple(ScheduleFacts(name=row.name, does=row.what, cron=row.cron, next=row.next) for row in found)


def _disk(root: Path) -> Disk:
    return Disk(used=sum(_sizes(root)), free=shutil.disk_usage(_existing(root)).free)


def _sizes(folder: Path) -> Iterator[int]:
    """Bytes of all files below a folder; what goes away meanwhile is passed over."""
    try:
        entries = list(os.scandir(folder))
    except OSError:
        return
    for entry in entries:
        try:
            if entry.is_dir(follow_symlinks=False):
                yield from _sizes(Path(entry.path))
            else:
                yield entry.stat(follow_symlinks=False).st_blocks * 512
        except OSError:
            continue


def _existing(path: Path) -> Path:
    return next(place for place in (path, *path.parents) if place.exists())


def _time(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


def _number(text: str | None) -> float | None:
    return None if text is None or text == "none" else float(text)
