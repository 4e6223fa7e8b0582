"""The check itself: measures, their limits, and what they mean in words."""

from __future__ import annotations

import numpy as np

from freqd.config import DriftConfig
from freqd.data.interactions import Interactions
from freqd.data.time_units import ORDINAL_BELOW
from freqd.drift.findings import Drift, Measure, NewInteractions, OwnInteractions, SideShift
from freqd.drift.popularity import GROUPS, ks_distance, psi
from freqd.drift.spectral import SIDES, Side, SpectralModel, SpectralShift, spectral_shift
from freqd.drift.windows import Fresh, Known, latest
from freqd.evaluate.strata import equal_groups, popularity_order
from freqd.spectral import band_edges

DAY = 86_400
LOT_SEED = 0
"""Of the graphs drawn at random: the same check gives the same numbers."""


def check_drift(known: Known, fresh: Fresh, model: SpectralModel, config: DriftConfig) -> Drift:
    """Hold new interactions against the last as many of the model's own.

    The same interactions on both sides give 0 for every distance and 1 for the ratio of the volumes.

    Args:
        known: the interactions that the model knows of.
        fresh: the new ones, over the same rows.
        model: its features, with the graphs and bands of its run.
        config: limits, and how many interactions it takes to judge.
    """
    window = latest(known.interactions, len(fresh.known))
    times = window.time if len(window) else None
    shifts = _shifts(known, fresh, model, config)
    return Drift(
        measures=(
            _volume(known.interactions, fresh, config),
            *_strangers(fresh, config),
            *_popularity(known.interactions, window, fresh.known, config),
            *(_spectral(side, shifts.get(side), config, known) for side in SIDES),
        ),
        new=NewInteractions(
            pairs=fresh.pairs,
            between_known=len(fresh.known),
            unknown_users=fresh.unknown_users,
            unknown_items=fresh.unknown_items,
            passed_over=fresh.passed_over,
            first=fresh.first,
            last=fresh.last,
        ),
        compared_with=OwnInteractions(
            pairs=len(window),
            first=None if times is None else int(times[0]),
            last=None if times is None else int(times[-1]),
        ),
        edges=band_edges(model.spectral.bands).tolist(),
        spectrum={side: SideShift.of(shift) for side, shift in shifts.items()},
    )


def _shifts(known: Known, fresh: Fresh, model: SpectralModel, config: DriftConfig) -> dict[Side, SpectralShift]:
    """Empty if there are too few interactions that the features were not trained on, on either side."""
    if known.held_out is None:
        return {}
    count = min(len(known.held_out), len(fresh.known))
    if count < config.min_interactions:
        return {}
    windows = latest(known.held_out, count), latest(fresh.known, count)
    return spectral_shift(*windows, model, np.random.default_rng(LOT_SEED))


def _volume(known: Interactions, fresh: Fresh, config: DriftConfig) -> Measure:
    """New interactions a day, between users and items that the model knows, against as many of the model's last days.

    The day on which the model's data end and the last day of the new ones are left out: they may not be whole.
    """
    name, limit = "volume", config.max_volume_ratio
    count = f"{len(fresh.known):,} new interactions"
    if not fresh.pairs:
        return Measure(
            name, None, limit, False, f"nothing new; {fresh.passed_over:,} interactions are known or too old"
        )
    if known.time is None or fresh.known.time is None or fresh.first is None or fresh.last is None:
        return Measure(name, None, limit, False, f"{count}; without times there is no rate")
    if max(int(known.time[-1]), fresh.last) < ORDINAL_BELOW:
        return Measure(name, None, limit, False, f"{count}; the times are no dates, so there is no rate")
    day, before_day, cut = fresh.known.time // DAY, known.time // DAY, int(known.time[-1]) // DAY
    start, end = max(fresh.first // DAY, cut + 1), fresh.last // DAY
    days, before_days = end - start, min(end - start, cut - int(before_day[0]))
    if min(days, before_days) < 1:
        return Measure(name, None, limit, False, f"{count}; less than one whole day")
    after = int(((day >= start) & (day < end)).sum())
    before = int(((before_day >= cut - before_days) & (before_day < cut)).sum())
    if max(before, after) < config.min_interactions or not before:
        return Measure(name, None, limit, False, f"{count}; too few to judge")
    rates = before / before_days, after / days
    ratio = rates[1] / rates[0]
    words = f"{rates[1]:,.1f} interactions a day in {days:,} whole days, before it {rates[0]:,.1f}"
    return Measure(name, ratio, limit, not 1.0 / limit <= ratio <= limit, words)


def _strangers(fresh: Fresh, config: DriftConfig) -> list[Measure]:
    measures = []
    for what, pairs, different, limit in (
        ("users", fresh.unknown_user_pairs, fresh.unknown_users, config.max_unknown_users),
        ("items", fresh.unknown_item_pairs, fresh.unknown_items, config.max_unknown_items),
    ):
        share = pairs / fresh.pairs if fresh.pairs >= config.min_interactions else None
        words = f"in {pairs:,} of {fresh.pairs:,} new interactions: {different:,} {what} that the model does not know"
        measures.append(Measure(f"unknown {what}", share, limit, share is not None and share > limit, words))
    return measures


def _popularity(known: Interactions, window: Interactions, new: Interactions, config: DriftConfig) -> list[Measure]:
    limits = {"item popularity (PSI)": config.max_popularity_psi, "item popularity (KS)": config.max_popularity_ks}
    if min(len(window), len(new)) < config.min_interactions:
        return [Measure(name, None, limit, False, _TOO_FEW) for name, limit in limits.items()]
    overall, before, after = (np.bincount(part.item, minlength=known.n_items) for part in (known, window, new))
    groups = equal_groups(overall, GROUPS)
    by_group = [np.bincount(groups, weights=counts).astype(np.int64) for counts in (before, after)]
    order = popularity_order(overall)
    values = psi(*by_group), ks_distance(before[order], after[order])
    top = [counts[0] / counts.sum() for counts in by_group]
    words = (
        f"the {int((groups == 0).sum()):,} most popular items get {top[1]:.1%} of the interactions, before {top[0]:.1%}",
        "the most that the share of any number of most popular items has changed",
    )
    return [
        Measure(name, value, limit, value > limit, text)
        for (name, limit), value, text in zip(limits.items(), values, words, strict=True)
    ]


def _spectral(side: Side, shift: SpectralShift | None, config: DriftConfig, known: Known) -> Measure:
    name, limit = f"spectrum of the {side}s", config.max_spectral_loss
    if shift is None:
        why = _TOO_FEW if known.held_out is not None else "what the model was trained on is not in the store any more"
        return Measure(name, None, limit, False, why)
    who = {"user": "users who choose the same", "item": "items that are chosen together"}[side]
    before, after, lot = (1.0 - f for f in (shift.frequency_before, shift.frequency_after, shift.frequency_lot))
    text = f"{who} are alike by {after:.3f} in the model's features, before by {before:.3f}, at random by {lot:.3f}"
    if not shift.telling:
        return Measure(name, None, limit, False, f"{text}: too little before to distinguish a loss from chance")
    over = shift.lost > limit and shift.beyond_chance
    return Measure(name, shift.lost, limit, over, f"{text}; {shift.moved:.1%} of the energy is in another band")


_TOO_FEW = "too few interactions between users and items that the model knows"
