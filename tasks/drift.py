"""The drift check: the champion found, held against what is there now, written down, and a retraining asked for."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from filelock import FileLock
from mlflow.entities.model_registry import ModelVersion
from prefect import get_run_logger, task
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.events import emit_event
from prefect.events.worker import EventsWorker
from prefect.settings import PREFECT_API_URL

from freqd import data, provenance
from freqd.config import RunConfig, load
from freqd.data.catalog import CATALOG
from freqd.data.recognise import find_files
from freqd.data.sources import labels_of
from freqd.drift import Known, check_drift, find_fresh
from freqd.errors import DamagedArtifactError, InputError
from freqd.numerics.threads import limited
from freqd.report.results import RunResult
from freqd.serve.recommender import Recommender
from freqd.storage.files import storage_error, write_atomic
from freqd.storage.store import Store
from tasks.mlops import registry
from tasks.run_context import flow_run_id
from tasks.runtime import embedded
from tasks.runtime.workspace import Workspace

FOUND, COOLING = "freqd.drift.found", "freqd.drift.cooling-down"
"""Events: the first starts a retraining, the second only says that there would have been another one."""
RESOURCE = "freqd.model."
"""Resource of the events, followed by the model's name."""

SENT, COOLING_DOWN, NO_SERVER, SWITCHED_OFF, NOTHING, ELSEWHERE = (
    "retraining asked for",
    "cooling down",
    "servers down",
    "switched off",
    "none",
    "not among the data",
)
"""What came of a check."""
COLUMNS = ("measure", "value", "limit", "verdict", "meaning")


def champion_settings(workspace: Workspace, model: str) -> dict[str, Any]:
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
    return dict(data.anchored(own, Path(result.folder)).model_dump(mode="json"))


@task(name="drift")
def check(workspace: Workspace, model: str, config: RunConfig, new: tuple[str, ...]) -> dict[str, Any]:
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
    recommender = registry.load_champion(model, str(version.version))
    source = config.data if not new else config.data.of(new[0]).model_copy(update={"source": new})
    observed = data.observe(source, data_dir=workspace.data_dir, cache_dir=workspace.downloads)
    known = _known(workspace.store, version, recommender)
    after = _start(config, observed, known, new)
    fresh = find_fresh(observed, recommender.user_ids, recommender.item_ids, recommender.seen, after=after)
    with limited(config.threads or provenance.cores()):
        drift = check_drift(
            known, fresh, recommender.features, config.drift, graph=config.graph, spectral=config.spectral
        )
    record = {
        "model": model,
        "version": str(version.version),
        "source": list(source.source) if source.train is None and source.sql is None else [observed.name],
        "rows_read": observed.rows_read,
        "dropped": [row.model_dump() for row in observed.dropped],
        "limits": config.drift.model_dump(mode="json"),
        **drift.as_dict(),
    }
    record["elsewhere"] = elsewhere(config, new)
    record = conclude(workspace, model, record, config, datetime.now(UTC))
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


def conclude(
    workspace: Workspace, model: str, record: Mapping[str, Any], config: RunConfig, now: datetime
) -> dict[str, Any]:
    """Ask for a retraining if the check found drift, unless one was asked for not long ago; the record as it is kept.

    Two checks at once wait for each other, so that only one of them asks.

    Args:
        workspace: keeps the records, one JSON file a check.
        model: name of the registered model.
        record: of the check.
        config: settings of the retraining, and the cool-down.
        now: the time of the check.
    """
    folder = workspace.drift / model
    locks = workspace.store.root / "locks"
    try:
        locks.mkdir(parents=True, exist_ok=True)
        with FileLock(locks / f"drift-{model}.lock"):
            outcome, until = _outcome(folder, record, config, now)
            full = {
                "time": now.isoformat(timespec="microseconds"),
                **record,
                "outcome": outcome,
                "cooling_down_until": None if until is None else until.isoformat(timespec="seconds"),
                "flow_run": flow_run_id(),
            }
            if outcome in (SENT, COOLING_DOWN):
                _emit(FOUND if outcome == SENT else COOLING, workspace, model, full, config)
            write_atomic(folder / f"{now:%Y%m%dT%H%M%S.%f}.json", json.dumps(full, indent=1))
    except OSError as error:
        raise storage_error(error, workspace.root) from error
    return full


def records(folder: Path) -> Iterator[dict[str, Any]]:
    """The checks of a model, the latest first; unreadable ones are passed over."""
    for path in sorted(folder.glob("*.json"), reverse=True):
        try:
            yield json.loads(path.read_text())
        except (OSError, ValueError):
            continue


def _outcome(folder: Path, record: Mapping[str, Any], config: RunConfig, now: datetime) -> tuple[str, datetime | None]:
    """What comes of a check, and until when it or the one before it keeps others from asking."""
    if not record["found"]:
        return NOTHING, None
    if not config.drift.retrain:
        return SWITCHED_OFF, None
    if record.get("elsewhere"):
        return ELSEWHERE, None
    pause = timedelta(hours=config.drift.cooldown_hours)
    for earlier in records(folder):
        asked = datetime.fromisoformat(earlier["time"])
        if asked + pause <= now:
            break
        if earlier["outcome"] == SENT:
            return COOLING_DOWN, asked + pause
    if not PREFECT_API_URL.value() or embedded.running() is not None:
        return NO_SERVER, None
    return SENT, now + pause


def _emit(name: str, workspace: Workspace, model: str, record: Mapping[str, Any], config: RunConfig) -> None:
    """Send an event and wait until it is on the server. The retraining takes its settings from it."""
    emit_event(
        name,
        resource={"prefect.resource.id": f"{RESOURCE}{model}", "prefect.resource.name": model},
        payload={
            "headline": record["headline"],
            "reasons": record["reasons"],
            "version": record["version"],
            "cooling_down_until": record["cooling_down_until"],
            "workdir": str(workspace.root),
            "config": config.model_dump(mode="json"),
        },
    )
    EventsWorker.instance().wait_until_empty()


def _champion(model: str) -> ModelVersion:
    version = registry.champion_of(model)
    if version is None:
        raise InputError(f"model {model} has no champion", "promote a version with `freqd promote VERSION --why ...`")
    return version


def _known(store: Store, version: ModelVersion, recommender: Recommender) -> Known:
    """The champion's interactions with their times, from its run; else the pairs that it has seen, without."""
    try:
        return Known.of(registry.split_of(store, version))
    except DamagedArtifactError as error:
        get_run_logger().warning("no times and no spectrum: %s", error)
        return Known.of_seen(recommender.seen)


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


def _show(record: Mapping[str, Any]) -> None:
    """The check on the Prefect page: one key a model, so that the page keeps its history."""
    key = f"drift-{re.sub(r'[^a-z0-9]+', '-', str(record['model']).lower()).strip('-')}"
    title = f"{record['model']} version {record['version']}: {record['headline']}"
    create_table_artifact(table(record), key=key, description=title)
    create_markdown_artifact(markdown(record), key=f"{key}-report", description=title)
    get_run_logger().log(30 if record["found"] else 20, "%s (%s)", title, record["outcome"])


def table(record: Mapping[str, Any]) -> list[dict[str, str]]:
    """One row a measure, all texts; the keys are ``COLUMNS``."""
    rows = []
    for measure in record["measures"]:
        value = "not measured" if measure["value"] is None else f"{measure['value']:.3f}"
        verdict = "OVER" if measure["over"] else "" if measure["value"] is None else "ok"
        row = (measure["name"], value, f"{measure['limit']:g}", verdict, measure["words"])
        rows.append(dict(zip(COLUMNS, row, strict=True)))
    return rows


def markdown(record: Mapping[str, Any]) -> str:
    """The check as a page: what was found, what came of it, the numbers, and the energies by band."""
    new = record["new"]
    stretch = "" if new["first"] is None else f", {_day(new['first'])} to {_day(new['last'])}"
    lines = [
        f"# {record['headline'][0].upper()}{record['headline'][1:]}",
        "",
        f"{record['model']} version {record['version']}, against {new['pairs']:,} new interactions{stretch}, "
        f"{new['between_known']:,} of them between users and items that it knows.",
        "",
        f"**{sentence(record)}**",
        "",
        f"| {' | '.join(COLUMNS)} |",
        f"|{'---|' * len(COLUMNS)}",
        *(f"| {' | '.join(row.values())} |" for row in table(record)),
    ]
    for side, shift in record["spectrum"].items():
        lines += ["", f"## Energy of the {side} features by frequency", "", "| band | before | new |", "|---|---|---|"]
        pairs = zip(shift["energy"]["before"], shift["energy"]["new"], strict=True)
        edges = record["edges"]
        lines += [f"| {edges[b]:.3f} to {edges[b + 1]:.3f} | {p:.1%} | {q:.1%} |" for b, (p, q) in enumerate(pairs)]
    return "\n".join(lines) + "\n"


def sentence(record: Mapping[str, Any]) -> str:
    """What came of the check, in words."""
    return {
        NOTHING: "Nothing is to be done.",
        SENT: "A retraining was asked for; further drift starts none until "
        f"{str(record['cooling_down_until'])[:16].replace('T', ' ')} UTC.",
        COOLING_DOWN: "A retraining was asked for not long ago; the next one can be from "
        f"{str(record['cooling_down_until'])[:16].replace('T', ' ')} UTC on.",
        NO_SERVER: "The servers are down, so no retraining was asked for: `freqd up`, or retrain by hand with `freqd run`.",
        SWITCHED_OFF: "No retraining was asked for: drift.retrain is off.",
        ELSEWHERE: f"No retraining was asked for: {', '.join(record.get('elsewhere') or [])} is not among the data that it would "
        "use (data.source), so it would change nothing. Name a pattern there that new files match.",
    }[record["outcome"]]


def _day(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d}"
