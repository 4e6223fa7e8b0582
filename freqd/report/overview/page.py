"""The overview as one HTML page: no script, no picture from elsewhere; figures are drawn as SVG."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from freqd import numbers as fmt
from freqd.report.overview import text
from freqd.report.overview.facts import ModelFacts, Overview
from freqd.report.run.html import template
from freqd.report.table import Table

SHOWN = 40
"""Versions and checks in a figure, and rows of a table, at the most."""
MOVES = {"promote": "promoted", "rollback": "rolled back to", "refuse": "refused", "fail": "failed"}
"""Words of the audit trail, for a reader."""
WIDTH, HEIGHT, LEFT, TOP, BOTTOM = 720, 220, 56, 14, 30


class Point(NamedTuple):
    """A value of a figure, in its coordinates; ``low`` and ``high`` are the ends of its whisker."""

    x: float
    y: float
    low: float | None
    high: float | None
    kind: str
    label: str
    note: str


class Tick(NamedTuple):
    """A line of the scale."""

    y: float
    label: str


class Figure(NamedTuple):
    """What the template draws."""

    caption: str
    points: Sequence[Point]
    ticks: Sequence[Tick]
    line: str
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT


def page(found: Overview) -> str:
    """The page as HTML text."""
    return template("overview.html.j2").render(
        title="freqd: what stands in production",
        time=text.day(found.time),
        workdir=found.workdir,
        well=found.well,
        rows=list(text.screen(found)),
        models=[
            {
                "name": model.name,
                "quality": _quality(model),
                "drift": _drift(model),
                "versions": _versions(model),
                "addresses": [version.address for version in model.versions[:SHOWN]],
                "moves": _moves(model),
            }
            for model in found.models
        ],
        runs=_runs(found),
        run_addresses=[run.address for run in found.runs[:SHOWN]],
        schedules=_schedules(found),
        servers=_servers(found),
        links=found.links,
    )


def _quality(model: ModelFacts) -> Figure | None:
    known = [version for version in reversed(model.versions[:SHOWN]) if version.ndcg_at_10 is not None]
    if not known:
        return None
    values = [version.ndcg_at_10 or 0.0 for version in known]
    lows = [version.low if version.low is not None else value for version, value in zip(known, values, strict=True)]
    highs = [version.high if version.high is not None else value for version, value in zip(known, values, strict=True)]
    scale = _Scale(min(lows), max(highs), len(known))
    champion = model.champion.version.version if model.champion else None
    points = [
        Point(
            scale.x(place),
            scale.y(value),
            scale.y(low) if version.low is not None else None,
            scale.y(high) if version.high is not None else None,
            "champion" if version.version == champion else "promoted" if version.verdict == "promoted" else "refused",
            version.version,
            f"version {version.version}, {text.day(version.created)}: {text.figures(version)}; {version.verdict}",
        )
        for place, (version, value, low, high) in enumerate(zip(known, values, lows, highs, strict=True))
    ]
    data = {version.data for version in known}
    apart = " Versions were judged on the data of their time, so a step between them may be the data's." * (
        len(data) > 1
    )
    caption = f"NDCG@10 by version with its interval; filled: promoted, ringed: the champion, hollow: refused.{apart}"
    return Figure(caption, points, scale.ticks(lambda value: f"{value:.3f}"), "")


def _drift(model: ModelFacts) -> Figure | None:
    known = [check for check in reversed(model.drift[:SHOWN]) if check.worst is not None]
    if not known:
        return None
    values = [check.worst or 0.0 for check in known]
    scale = _Scale(0.0, max(1.2, *values), len(known))
    points = [
        Point(
            scale.x(place),
            scale.y(value),
            None,
            None,
            "over" if check.found else "within",
            f"{check.time:%m-%d}",
            f"{text.day(check.time)}: {check.headline}; {check.outcome}",
        )
        for place, (check, value) in enumerate(zip(known, values, strict=True))
    ]
    limit = f"{scale.y(1.0):.1f}"
    caption = "Drift checks: the greatest measure as a share of its limit; red: drift."
    return Figure(caption, points, scale.ticks(fmt.percent), limit)


class _Scale:
    """From values to a figure's coordinates."""

    def __init__(self, low: float, high: float, count: int) -> None:
        room = (high - low) * 0.08 or abs(high) * 0.1 or 1.0
        self._low, self._high, self._count = max(0.0, low - room), high + room, count

    def x(self, place: int) -> float:
        return LEFT + (place + 0.5) * (WIDTH - LEFT) / self._count

    def y(self, value: float) -> float:
        share = (value - self._low) / (self._high - self._low)
        return TOP + (1.0 - share) * (HEIGHT - TOP - BOTTOM)

    def ticks(self, show: Callable[[float], str]) -> list[Tick]:
        values = [self._low + share * (self._high - self._low) for share in (0.05, 0.35, 0.65, 0.95)]
        return [Tick(self.y(value), show(value)) for value in values]


def _versions(model: ModelFacts) -> Table:
    champion = model.champion.version.version if model.champion else None
    shown = model.versions[:SHOWN]
    body = [
        [
            version.version,
            text.day(version.created),
            version.run,
            text.quality(version),
            fmt.percent(version.gap_closed),
            fmt.size(version.n_bytes),
            version.verdict,
            version.why,
        ]
        for version in shown
    ]
    strong = next((place for place, version in enumerate(shown) if version.version == champion), None)
    header = ["Version", "Registered", "Run", "NDCG@10", "Gap closed", "Size", "Verdict", "Why"]
    return Table("Versions, and why each was or was not promoted", header, body, frozenset({4, 5}), strong=strong)


def _moves(model: ModelFacts) -> Table:
    body = [
        [text.day(move.time), MOVES.get(move.what, move.what), move.version, move.who, move.why]
        for move in model.moves[:SHOWN]
    ]
    return Table("Moves of the champion, from the audit trail", ["When", "What", "Version", "By", "Why"], body)


def _runs(found: Overview) -> Table:
    body = [
        [run.name, text.day(run.started), fmt.duration(run.seconds), run.state, run.decision, run.why]
        for run in found.runs[:SHOWN]
    ]
    return Table("The latest runs", ["Run", "Started", "Took", "State", "Decision", "Why"], body, frozenset({2}))


def _schedules(found: Overview) -> Table:
    body = [
        [s.name, s.does, s.cron, f"{s.next:%a %Y-%m-%d %H:%M}" if s.next else "paused"] for s in found.schedules or ()
    ]
    return Table("Schedules", ["Schedule", "Does", "Cron", "Next run"], body)


def _servers(found: Overview) -> Table:
    body = [
        [server.name, server.state, str(server.pid or ""), fmt.size(server.memory_bytes), server.address]
        for server in found.servers
    ]
    return Table(
        "Processes of freqd up", ["Process", "State", "Process id", "Memory", "Address"], body, frozenset({2, 3})
    )
