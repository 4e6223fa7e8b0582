"""What the gate said: in a sentence, with its reasons, and condition by condition."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from freqd import numbers as fmt
from freqd.report.run import sentences
from freqd.report.run_result import RunResult
from freqd.report.table import Table


class GateView(NamedTuple):
    """What the gate said; ``promoted`` is None where it was not asked."""

    sentence: str
    reasons: Sequence[str]
    against: str
    promoted: bool | None


def gate_view(summary: RunResult) -> GateView:
    """What the gate said, for the page."""
    gate, against = summary.gate, ""
    if gate and (difference := gate.difference):
        version = f" (version {gate.champion})" if gate.champion else ""
        against = (
            f"Against the champion{version} on the same test users: {fmt.signed(difference.mean)} NDCG@10, "
            f"interval {fmt.signed(difference.low)} to {fmt.signed(difference.high)}, {fmt.probability(difference.p_value)}."
        )
    return GateView(
        sentence=sentences.gate_sentence(summary),
        reasons=gate.reasons if gate else [],
        against=against,
        promoted=None if gate is None else gate.promoted,
    )


def gate_checks(summary: RunResult) -> Table:
    """What the gate looked at, one condition a row; no rows where it was not asked."""
    body = [
        [
            _sentence_case(check.name),
            _check_value(check.name, check.value),
            fmt.limit(check.limit) if check.limit != "none" else "",
            "yes" if check.passed else "NO",
            check.detail,
        ]
        for check in (summary.gate.checks if summary.gate else ())
    ]
    header = ["Condition", "This model", "Required", "Passed", "Held against"]
    return Table("Conditions of the gate", header, body, frozenset({1, 2}))


def _sentence_case(name: str) -> str:
    return f"{name[:1].upper()}{name[1:]}"


def _check_value(name: str, value: float | None) -> str:
    if name == "size in bytes":
        return fmt.size(value)
    return fmt.plain(value)
