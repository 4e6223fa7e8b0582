"""The record of a drift check: what is kept of it, and how it is shown."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from freqd.data.info import Dropped
from freqd.drift.findings import Measure, NewInteractions, OwnInteractions, SideShift
from freqd.drift.spectral import Side
from freqd.json_types import JsonObject

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


class DriftCheck(BaseModel):
    """What a check looked at, and what it found.

    Attributes:
        model, version: the champion.
        source: what was read; ``rows_read`` of it, and ``dropped`` in cleaning.
        limits: the settings of the check, as JSON.
        found, judged, headline, reasons, measures, new, compared_with, edges, spectrum: as ``freqd.drift.Drift`` has them.
        elsewhere: new files that a retraining would not see.
    """

    model_config = ConfigDict(frozen=True)

    model: str
    version: str
    source: list[str]
    rows_read: int
    dropped: list[Dropped]
    limits: JsonObject
    found: bool
    judged: bool
    headline: str
    reasons: list[str]
    measures: tuple[Measure, ...]
    new: NewInteractions
    compared_with: OwnInteractions
    edges: list[float]
    spectrum: dict[Side, SideShift]
    elsewhere: list[str] = []


class DriftRecord(DriftCheck):
    """A check with what came of it.

    Attributes:
        time: of the check, ISO 8601 in UTC.
        outcome: one of the words above.
        cooling_down_until: until when it or the one before it keeps others from asking for a retraining.
        flow_run: Prefect's id of the run that checked.
    """

    time: str
    outcome: str
    cooling_down_until: str | None
    flow_run: str

    def as_json(self) -> JsonObject:
        """As the file has it."""
        return {"time": self.time, **self.model_dump(mode="json", exclude={"time"})}


def records(folder: Path) -> Iterator[DriftRecord]:
    """The checks of a model, the latest first; unreadable ones are passed over."""
    for path in sorted(folder.glob("*.json"), reverse=True):
        try:
            yield DriftRecord.model_validate(json.loads(path.read_text()))
        except (OSError, ValueError):
            continue


def table(record: DriftRecord) -> list[dict[str, str]]:
    """One row a measure, all texts; the keys are ``COLUMNS``."""
    rows = []
    for measure in record.measures:
        value = "not measured" if measure.value is None else f"{measure.value:.3f}"
        verdict = "OVER" if measure.over else "" if measure.value is None else "ok"
        row = (measure.name, value, f"{measure.limit:g}", verdict, measure.words)
        rows.append(dict(zip(COLUMNS, row, strict=True)))
    return rows


def markdown(record: DriftRecord) -> str:
    """The check as a page: what was found, what came of it, the numbers, and the energies by band."""
    new = record.new
    stretch = "" if new.first is None or new.last is None else f", {_day(new.first)} to {_day(new.last)}"
    lines = [
        f"# {record.headline[0].upper()}{record.headline[1:]}",
        "",
        f"{record.model} version {record.version}, against {new.pairs:,} new interactions{stretch}, "
        f"{new.between_known:,} of them between users and items that it knows.",
        "",
        f"**{sentence(record)}**",
        "",
        f"| {' | '.join(COLUMNS)} |",
        f"|{'---|' * len(COLUMNS)}",
        *(f"| {' | '.join(row.values())} |" for row in table(record)),
    ]
    for side, shift in record.spectrum.items():
        lines += ["", f"## Energy of the {side} features by frequency", "", "| band | before | new |", "|---|---|---|"]
        pairs = zip(shift.energy.before, shift.energy.new, strict=True)
        edges = record.edges
        lines += [f"| {edges[b]:.3f} to {edges[b + 1]:.3f} | {p:.1%} | {q:.1%} |" for b, (p, q) in enumerate(pairs)]
    return "\n".join(lines) + "\n"


def sentence(record: DriftRecord) -> str:
    """What came of the check, in words."""
    return {
        NOTHING: "Nothing is to be done.",
        SENT: "A retraining was asked for; further drift starts none until "
        f"{str(record.cooling_down_until)[:16].replace('T', ' ')} UTC.",
        COOLING_DOWN: "A retraining was asked for not long ago; the next one can be from "
        f"{str(record.cooling_down_until)[:16].replace('T', ' ')} UTC on.",
        NO_SERVER: "The servers are down, so no retraining was asked for: `freqd up`, or retrain by hand with `freqd run`.",
        SWITCHED_OFF: "No retraining was asked for: drift.retrain is off.",
        ELSEWHERE: f"No retraining was asked for: {', '.join(record.elsewhere)} is not among the data that it would "
        "use (data.source), so it would change nothing. Name a pattern there that new files match.",
    }[record.outcome]


def _day(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d}"
