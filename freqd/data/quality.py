"""What ingest dropped and why, and the gate that stops hopeless data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from freqd.errors import InputError


@dataclass
class Ledger:
    """Counts of rows dropped, in the order of the checks, and warnings."""

    rows_read: int = 0
    dropped: list[dict[str, Any]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def drop(self, reason: str, rows: int, remedy: str) -> None:
        """Note that ``rows`` rows were dropped; nothing is noted for 0."""
        if rows:
            self.dropped.append({"reason": reason, "rows": int(rows), "remedy": remedy})

    def history(self) -> str:
        """The drops in one line, for an error that explains how nothing came to be left."""
        steps = [f"{row['rows']:,} x {row['reason']}" for row in self.dropped]
        return f"{self.rows_read:,} rows read; dropped: {'; '.join(steps) or 'none'}"

    def require(self, rows: int, what: str, remedy: str) -> None:
        """Raise ``InputError`` if no row is left."""
        if rows == 0:
            raise InputError(f"{what} ({self.history()})", remedy)


@dataclass(frozen=True)
class QualityReport:
    """The outcome of `freqd data check`.

    Attributes:
        ok: whether a run could use the data.
        info: what ``Split.info`` would hold; empty if not ok.
        problem, remedy: what is wrong, if not ok.
    """

    ok: bool
    info: dict[str, Any]
    problem: str = ""
    remedy: str = ""

    def table(self) -> list[dict[str, Any]]:
        """Rows (check, rows, note): what was read, dropped and kept; what is wrong comes first."""
        if not self.ok:
            return [{"check": "stopped", "rows": None, "note": f"{self.problem}; remedy: {self.remedy}"}]
        info = self.info
        rows: list[dict[str, Any]] = [{"check": "read", "rows": info["rows_read"], "note": ", ".join(info["source"])}]
        rows += [{"check": label, "rows": None, "note": text} for label, text in taken(info)]
        rows += [{"check": f"dropped: {d['reason']}", "rows": d["rows"], "note": d["remedy"]} for d in info["dropped"]]
        kept = info["kept"]
        note = f"{kept['users']:,} users, {kept['items']:,} items"
        rows.append({"check": "kept", "rows": kept["interactions"], "note": note})
        rows += [{"check": part, "rows": count, "note": ""} for part, count in info["parts"].items()]
        rows += [{"check": "warning", "rows": None, "note": text} for text in info["warnings"]]
        return rows


def taken(info: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What the data were taken for, label and text: columns, times, the cuts of a split by time."""
    columns = ", ".join(f"{role} = {name}" for role, name in info["columns"].items() if name is not None)
    rows = [("columns", columns)]
    times = info.get("times")
    if times:
        rows.append(("times", f"read as {times['read_as']}: {_minute(times['first'])} to {_minute(times['last'])} UTC"))
    if info.get("cuts") and times:
        valid, test = (_minute(info["cuts"][f"{part}_from"]) for part in ("valid", "test"))
        rows.append(("split", f"by time: validation from {valid}, test from {test} UTC"))
    else:
        rows.append(("split", {"given": "as given", "random": "at random"}.get(info["split"], f"by {info['split']}")))
    return rows


def _minute(time: str) -> str:
    return time[:16].replace("T", " ")
