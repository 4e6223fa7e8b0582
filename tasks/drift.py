"""The drift check: the champion found, held against what is there now, written down, and a retraining asked for."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from filelock import FileLock
from mlflow.entities.model_registry import ModelVersion
from prefect import get_run_logger, task
from prefect.artifacts import create_markdown_artifact, create_table_artifact

from freqd import data, provenance
from freqd.config import RunConfig, load
from freqd.data.catalog import CATALOG
from freqd.data.recognise import find_files
from freqd.data.sources import labels_of
from freqd.drift import Known, SpectralModel, check_drift, find_fresh
from freqd.errors import DamagedArtifactError, InputError
from freqd.json_types import JsonObject
from freqd.numerics.threads import limited
from freqd.report.run_result import RunResult
from freqd.serve.recommender import Recommender
from freqd.storage.files import storage_error, write_atomic
from freqd.storage.store import Store
from tasks.drift_record import (
    COOLING_DOWN,
    ELSEWHERE,
    NO_SERVER,
    NOTHING,
    SENT,
    SWITCHED_OFF,
    DriftCheck,
    DriftRecord,
    markdown,
    records,
    sentence,
    table,
)
from tasks.events import COOLING, FOUND, RESOURCE, SEEN, server_listens, tell
from tasks.mlops import registry
from tasks.run_context import flow_run_id
from tasks.runtime.workspace import Workspace


def champion_settings(workspace: Workspace, model: str) -> JsonObject:
    """The settings of the run that made the champion, without its ``as_of``: newer data is what is asked for.

    Its relative paths are those of the folder in which it was started.

    Raises:
        InputError: there is no champion, or its run is not in this working directory.
    """
    run = _champion(model).tags.get("freqd.run", "")
    path = workspace.runs / run / "summary.json"
    try:
        result = RunResult.load(path)
    except InputError as error:
        raise InputError(
            f"the settings of the champion of {model} are not available: {error.problem}",
            "name the settings file with --config",
        ) from error
    own = load.build([result.config, {"data": {"as_of": None}}])
    settings: JsonObject = data.anchored(own, Path(result.folder)).model_dump(mode="json")
    return settings


@task(name="drift")
def check(workspace: Workspace, model: str, config: RunConfig, new: tuple[str, ...]) -> DriftRecord:
    """Compare, show, ask for a retraining if need be, and keep it all; what was kept.

    Args:
        workspace: the working directory.
        model: name of the registered model whose champion is looked at.
        config: settings of the retraining; its data are looked at too unless ``new`` names others.
        new: files that hold the new interactions.

    Raises:
        InputError: there is no champion, or the data cannot be used.
    """
    version = _champion(model)
    recommender, known = _known(workspace.store, version)
    source = config.data if not new else config.data.of(new[0]).model_copy(update={"source": new})
    observed = data.observe(source, workspace.places)
    after = _start(config, observed, known, new)
    fresh = find_fresh(observed, recommender.user_ids, recommender.item_ids, recommender.seen, after=after)
    analysed = SpectralModel(recommender.features, config.graph, config.spectral)
    with limited(config.threads or provenance.cores()):
        drift = check_drift(known, fresh, analysed, config.drift)
    found = DriftCheck(
        model=model,
        version=str(version.version),
        source=list(source.source) if source.train is None and source.sql is None else [observed.name],
        rows_read=observed.rows_read,
        dropped=list(observed.dropped),
        limits=config.drift.model_dump(mode="json"),
        found=drift.found,
        judged=drift.judged,
        headline=drift.headline(),
        reasons=drift.reasons(),
        **dict(drift),
        elsewhere=elsewhere(config, new),
    )
    record = conclude(workspace, found, config, datetime.now(UTC))
    _show(record)
    return record


def elsewhere(config: RunConfig, new: Sequence[str]) -> list[str]:
    """Those of the new files that are not among the data of the settings: a retraining would not see them."""
    own = set()
    if config.data.sql is None and config.data.train is None:
        own = {file.path.resolve() for name in config.data.source if name not in CATALOG for file in find_files(name)}
    return [name for name in new if not {file.path.resolve() for file in find_files(name)} <= own]


def require_among(config: RunConfig, new: Sequence[str]) -> None:
    """See that a retraining would see the new files.

    Raises:
        InputError: it is switched on, and would not.
    """
    outside = elsewhere(config, new) if config.drift.retrain else []
    if outside:
        raise InputError(
            f"{', '.join(outside)} is not among the data of the settings ({', '.join(labels_of(config.data))}), so a retraining "
            "that drift starts would change nothing",
            "name a pattern in data.source that new files match, or set drift.retrain=false to get a report only",
        )


def conclude(workspace: Workspace, found: DriftCheck, config: RunConfig, now: datetime) -> DriftRecord:
    """Ask for a retraining if the check found drift, unless one was asked for not long ago; the record as it is kept.

    Two checks at once wait for each other, so that only one of them asks.

    Args:
        workspace: keeps the records, one JSON file a check.
        found: what the check found.
        config: settings of the retraining, and the cool-down.
        now: the time of the check.
    """
    folder = workspace.drift / found.model
    locks = workspace.store.root / "locks"
    try:
        locks.mkdir(parents=True, exist_ok=True)
        with FileLock(locks / f"drift-{found.model}.lock"):
            outcome, until = _outcome(folder, found, config, now)
            record = DriftRecord(
                **dict(found),
                time=now.isoformat(timespec="microseconds"),
                outcome=outcome,
                cooling_down_until=None if until is None else until.isoformat(timespec="seconds"),
                flow_run=flow_run_id(),
            )
            if outcome in (SENT, COOLING_DOWN):
                _ask(FOUND if outcome == SENT else COOLING, workspace, record, config)
            if found.found and server_listens():
                _tell(record)
            write_atomic(folder / f"{now:%Y%m%dT%H%M%S.%f}.json", json.dumps(record.as_json(), indent=1))
    except OSError as error:
        raise storage_error(error, workspace.root) from error
    return record


def _outcome(folder: Path, check: DriftCheck, config: RunConfig, now: datetime) -> tuple[str, datetime | None]:
    """What comes of a check, and until when it or the one before it keeps others from asking."""
    if not check.found:
        return NOTHING, None
    if not config.drift.retrain:
        return SWITCHED_OFF, None
    if check.elsewhere:
        return ELSEWHERE, None
    pause = timedelta(hours=config.drift.cooldown_hours)
    for earlier in records(folder):
        asked = datetime.fromisoformat(earlier.time)
        if asked + pause <= now:
            break
        if earlier.outcome == SENT:
            return COOLING_DOWN, asked + pause
    if not server_listens():
        return NO_SERVER, None
    return SENT, now + pause


def _ask(name: str, workspace: Workspace, record: DriftRecord, config: RunConfig) -> None:
    """Ask for a retraining, which takes its settings from the event."""
    payload = {
        "headline": record.headline,
        "reasons": record.reasons,
        "version": record.version,
        "cooling_down_until": record.cooling_down_until,
        "workdir": str(workspace.root),
        "config": config.model_dump(mode="json"),
    }
    tell(name, RESOURCE, record.model, payload)


def _tell(record: DriftRecord) -> None:
    """Tell who wants to know that there is drift."""
    payload = {
        "model": record.model,
        "version": record.version,
        "headline": record.headline,
        "reasons": "; ".join(record.reasons),
        "outcome": sentence(record),
    }
    tell(SEEN, RESOURCE, record.model, payload)


def _champion(model: str) -> ModelVersion:
    version = registry.champion_of(model)
    if version is None:
        raise InputError(f"model {model} has no champion", "promote a version with `freqd promote VERSION --why ...`")
    return version


def _known(store: Store, version: ModelVersion) -> tuple[Recommender, Known]:
    """The champion as it was judged and its interactions with their times, from its run; else what is served, and the pairs that
    it has seen, without.
    """
    try:
        return registry.judged_twin(store, version), Known.of(registry.split_of(store, version))
    except DamagedArtifactError as error:
        get_run_logger().warning("no times and no spectrum: %s", error)
        served = registry.load_champion(str(version.name), str(version.version))
        return served, Known.of_seen(served.seen)


def _start(config: RunConfig, observed: data.Observed, known: Known, new: tuple[str, ...]) -> int | None:
    """Seconds after which an interaction is new; None: whenever it was, for the user has said that all are."""
    since, place = config.drift.since, ", ".join(new) or observed.name
    if since is None and known.interactions.time is not None and observed.interactions.time is not None:
        return int(known.interactions.time[-1])
    if since is None and new:
        return None
    if since is None:  # what cleaning dropped when the champion was made would look like a crowd of strangers
        why = "the champion's interactions have no times" if known.interactions.time is None else "it has no times"
        raise InputError(f"what is new in {place} is not known: {why}", "name the files with what is new with --new")
    if observed.interactions.time is None:
        raise InputError(
            f"drift.since is set, but {place} has no time column",
            "name it with data.columns.time, or leave drift.since out",
        )
    return int(datetime(since.year, since.month, since.day, tzinfo=UTC).timestamp()) - 1


def _show(record: DriftRecord) -> None:
    """The check on the Prefect page: one key a model, so that the page keeps its history."""
    key = f"drift-{re.sub(r'[^a-z0-9]+', '-', record.model.lower()).strip('-')}"
    title = f"{record.model} version {record.version}: {record.headline}"
    create_table_artifact(table(record), key=key, description=title)
    create_markdown_artifact(markdown(record), key=f"{key}-report", description=title)
    get_run_logger().log(30 if record.found else 20, "%s (%s)", title, record.outcome)
