"""How often to retrain, and in which way: a plain rule on the measured losses.

The rule is that of the gate. A model has decayed at an age at which a fresh one, compared with it over the same users,
would be promoted in its place: the lower end of the interval of the fresh one's NDCG@10 minus its own exceeds
``registry.margin``. Retraining is due when the first such age is reached. Where no age shows decay, the data give no
reason to retrain more often than the longest age that was measured; they cannot say more, and a decay below the upper
end of the interval may be there all the same.

Re-distillation will do if the same rule finds nothing against it, full against re-distilled model, and it is cheaper.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from freqd.cadence.aging import StalenessEffect

Kind = Literal["full", "re-distilled"]
FULL: Kind = "full"
REDISTILLED: Kind = "re-distilled"


@dataclass(frozen=True)
class Advice:
    """What to do.

    Attributes:
        every: periods between two retrainings; None if no user could be judged.
        decayed_at: the age, in periods, at which decay is beyond chance; None if it is at none.
        undetected: what no measured age has lost beyond chance may still be lost: the largest upper end of the
            intervals; None where decay was found.
        kind: the way of retraining.
        why: full, because: ``worse`` (beyond chance), ``costlier``, or ``unknown`` (there was none to judge);
            empty for re-distillation.
    """

    every: int | None
    decayed_at: int | None
    undetected: float | None
    kind: Kind
    why: Literal["", "worse", "costlier", "unknown"]


def recommend(
    losses: Mapping[int, StalenessEffect | None],
    redistilled: StalenessEffect | None,
    seconds: Mapping[Kind, float | None],
    margin: float,
) -> Advice:
    """The advice of the rule above.

    Args:
        losses: by age in periods, 1 and up, fresh against aged model; None where no user could be judged.
        redistilled: full against re-distilled model on the window right after both.
        seconds: of one retraining of each kind.
        margin: the gate's.
    """
    known = {age: loss for age, loss in sorted(losses.items()) if loss is not None}
    decayed = next((age for age, loss in known.items() if loss.loss.low > margin), None)
    every = None if not known else max(known) + 1 if decayed is None else decayed
    undetected = max(loss.loss.high for loss in known.values()) if known and decayed is None else None
    kind, why = _kind(redistilled, seconds, margin)
    return Advice(every, decayed, undetected, kind, why)


def _kind(
    redistilled: StalenessEffect | None, seconds: Mapping[Kind, float | None], margin: float
) -> tuple[Kind, Literal["", "worse", "costlier", "unknown"]]:
    full, again = seconds[FULL], seconds[REDISTILLED]
    if redistilled is None or full is None or again is None:
        return FULL, "unknown"
    if redistilled.loss.low > margin:
        return FULL, "worse"
    return (FULL, "costlier") if again >= full else (REDISTILLED, "")
