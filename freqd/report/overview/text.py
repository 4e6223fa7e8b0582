"""The overview in words: for the terminal, and for the page."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from freqd import numbers as fmt
from freqd.report.overview.facts import ChampionFacts, ModelFacts, Overview, RunFacts, VersionFacts


def screen(found: Overview) -> Iterator[tuple[str, str]]:
    """Labels with what stands behind them, the model's name first; one screen."""
    for model in found.models:
        yield "model", model.name
        yield "champion", champion(model, found.time)
        yield "drift", drift(model, found.time)
    for line in found.trouble:
        yield "trouble", line
    if not found.models and not found.trouble:
        yield "model", "none is registered yet; `freqd run` registers one"
    yield "last run", last_run(found)
    yield "next run", next_run(found)
    yield "disk", disk(found)


def champion(model: ModelFacts, now: datetime) -> str:
    """Which version is served, how old it is, and its figures."""
    found = model.champion
    if found is None:
        return f"none: {len(model.versions)} version{'s were' if len(model.versions) != 1 else ' was'} registered and not promoted"
    return f"version {found.version.version}{_since(found, now)}: {figures(found.version)}"


def _since(found: ChampionFacts, now: datetime) -> str:
    if found.since is None:
        return ""
    by = f", by {found.by}" if found.by else ""
    return f", champion since {day(found.since)} ({age(found.since, now)}{by})"


def figures(version: VersionFacts) -> str:
    """The headline numbers of a version."""
    parts = [f"NDCG@10 {quality(version)}"]
    if version.gap_closed is not None:
        parts.append(f"{fmt.percent(version.gap_closed)} of the gap closed")
    if version.n_bytes is not None:
        parts.append(fmt.size(version.n_bytes))
    return ", ".join(parts)


def quality(version: VersionFacts) -> str:
    """NDCG@10 with its interval."""
    value = fmt.metric(version.ndcg_at_10)
    if version.low is None or version.high is None:
        return value
    return f"{value} ({fmt.metric(version.low)} to {fmt.metric(version.high)})"


def drift(model: ModelFacts, now: datetime) -> str:
    """The latest check."""
    if not model.drift:
        return "never checked; `freqd drift --new FILE` does"
    latest = model.drift[0]
    return f"{latest.headline}, {age(latest.time, now)} ago{'' if latest.outcome == 'none' else f'; {latest.outcome}'}"


def last_run(found: Overview) -> str:
    """The latest run, and what came of it."""
    if not found.runs:
        return "none yet"
    run = found.runs[0]
    return f"{run.name}, {age(run.started, found.time)} ago: {outcome(run)}"


def outcome(run: RunFacts) -> str:
    """What came of a run: its verdict, or that it did not come to its end."""
    if run.state != "finished":
        return f"{run.state}{f': {run.why}' if run.why and run.state == 'failed' else ''}"
    return f"{run.decision or 'finished'}{f': {run.why}' if run.why else ''}"


def next_run(found: Overview) -> str:
    """The schedule that comes next."""
    if found.schedules is None:
        return "not known: the servers are down; `freqd up` starts them"
    coming = [(schedule.next, schedule.name) for schedule in found.schedules if schedule.next is not None]
    if not coming:
        return "none is scheduled; `freqd schedule` adds one"
    when, name = min(coming)
    return f"{when:%a %Y-%m-%d %H:%M} ({name})"


def disk(found: Overview) -> str:
    """What the working directory takes, and what is left."""
    return f"{fmt.size(found.disk.used)} in {found.workdir}, {fmt.size(found.disk.free)} free"


def day(when: datetime) -> str:
    """A day and a minute."""
    return f"{when:%Y-%m-%d %H:%M}"


def age(since: datetime, now: datetime) -> str:
    """How long ago, in the greatest unit of which there are two or more."""
    seconds = max(0.0, (now - since).total_seconds())
    for unit, length in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{int(seconds // length)} {unit}"
    return f"{int(seconds)} seconds"
