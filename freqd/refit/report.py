"""What was found of a student that was trained again on all interactions."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from freqd.data.interactions import Split
from freqd.gate import Check


class RefitReport(BaseModel):
    """What was found of a refit.

    Attributes:
        accepted: whether it may be deployed.
        reasons: why not; empty if it may.
        checks: value and bound of each check; none where there is no refit to look at.
        interactions: that it has learnt from; ``new_users`` and ``new_items`` of theirs the judged twin does not know.
    """

    model_config = ConfigDict(frozen=True)

    accepted: bool
    reasons: tuple[str, ...]
    checks: tuple[Check, ...]
    interactions: int
    users: int
    items: int
    new_users: int
    new_items: int


def report_of(judged: Split, whole: Split, reasons: tuple[str, ...], checks: tuple[Check, ...] = ()) -> RefitReport:
    """The report of a refit on ``whole``, the data of ``judged`` with all that is newer; accepted if there is no reason against it."""
    return RefitReport(
        accepted=not reasons,
        reasons=reasons,
        checks=checks,
        interactions=len(whole.train),
        users=whole.n_users,
        items=whole.n_items,
        new_users=whole.n_users - judged.n_users,
        new_items=whole.n_items - judged.n_items,
    )
