"""Which filter the feature loss gets: the one that trains the best student in short trials."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from freqd.embeddings import FeatureTrial
from freqd.evaluate.metrics import PerUser
from freqd.spectral.filters import SideFilters

TRIAL_STEPS = 400
"""Steps of a trial, in whole epochs and at least one."""

MIN_ERRORS = 2.0
"""Standard errors over the validation users that a filter must gain over none."""


@dataclass(frozen=True)
class MeasuredFilters:
    """The filters of the feature loss, and why.

    Attributes:
        filters: the chosen ones.
        trials: what was measured.
        reason: why these, in plain words.
    """

    filters: SideFilters
    trials: tuple[FeatureTrial, ...]
    reason: str


def trial_epochs(n_interactions: int, batch_size: int) -> int:
    """Epochs that make about ``TRIAL_STEPS`` steps."""
    return max(1, round(TRIAL_STEPS * batch_size / max(n_interactions, 1)))


def choose_by_trials(candidates: Sequence[SideFilters], train: Callable[[SideFilters], PerUser]) -> MeasuredFilters:
    """The candidate whose student ranks best, if it gains more over the first than ``MIN_ERRORS`` standard errors.

    Args:
        candidates: filters of both sides; the first one is kept where none of the others is better beyond chance.
        train: trains a student under these filters, from the same start and with the same random choices, and gives the NDCG@10
            of every validation user, always in the same order.
    """
    values = [np.asarray(train(filters), np.float64) for filters in candidates]
    trials: list[FeatureTrial] = []
    for filters, mine in zip(candidates, values, strict=True):
        difference = mine - values[0]
        error = float(difference.std(ddof=1) / len(difference) ** 0.5) if len(difference) > 1 else 0.0
        trials.append(
            {
                "user": filters.user.label(),
                "item": filters.item.label(),
                "valid_ndcg_at_10": float(mine.mean()),
                "gain": float(difference.mean()),
                "error": error,
            }
        )
    best = max(range(len(trials)), key=lambda n: trials[n]["gain"])
    told = trials[best]
    name = f"users {told['user']}, items {told['item']}"
    gained = f"validation NDCG@10 {trials[0]['valid_ndcg_at_10']:.4f} to {told['valid_ndcg_at_10']:.4f} in short trials"
    if told["gain"] > MIN_ERRORS * told["error"]:
        return MeasuredFilters(candidates[best], tuple(trials), f"Feature loss: {name} ({gained}).")
    why = (
        "no filter does better in short trials"
        if best == 0
        else f"the best, {name}, may gain by chance alone: {gained}"
    )
    return MeasuredFilters(candidates[0], tuple(trials), f"Feature loss: no filter ({why}).")
