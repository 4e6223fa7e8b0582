"""Train, validation and test: by one cut in time, at random per user, or as given."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt

from freqd.data.info import Cuts
from freqd.data.pairs import Pairs, PartArray, TimeArray, choose_per_user, keep, users_of
from freqd.errors import InputError

TRAIN, VALID, TEST = 0, 1, 2


def iso(seconds: int) -> str:
    """Seconds since 1970 as ISO time in UTC; numbers beyond the calendar as they are."""
    try:
        return datetime.fromtimestamp(seconds, UTC).isoformat()
    except (OverflowError, OSError, ValueError):
        return str(seconds)


def time_cut(time: TimeArray, fraction: float) -> int | None:
    """The time from which on about ``fraction`` of the interactions lie.

    Equal times stay together: of the two cuts around the wanted quantile, the nearer one that leaves something on both
    sides. O(n).

    Returns:
        The first time after the cut, or None if all times are equal.
    """
    n = len(time)
    if n == 0:
        return None
    wanted = min(max(n - round(n * fraction), 1), n - 1) if n > 1 else 0
    at = np.partition(time, wanted)[wanted]
    before, through = int((time < at).sum()), int((time <= at).sum())
    cuts: list[tuple[int, int]] = []
    if before > 0:
        cuts.append((abs(before - wanted), int(at)))
    if through < n:
        cuts.append((abs(through - wanted), int(time[time > at].min())))
    return min(cuts)[1] if cuts else None


def by_time(pairs: Pairs, valid_fraction: float, test_fraction: float) -> tuple[PartArray, Cuts]:
    """Parts (n,) by one global cut each for test and validation, and the cuts as ISO times.

    Raises:
        InputError: the times leave no test or no validation split.
    """
    time = pairs.time
    assert time is not None
    test_from = time_cut(time, test_fraction)
    if test_from is None:
        raise InputError(
            f"all {len(time):,} interactions have the same time ({iso(int(time[0]))}), "
            "so a cut in time leaves no test split",
            "check the time column, or set data.split=random",
        )
    earlier = time[time < test_from]
    valid_from = time_cut(earlier, valid_fraction * len(time) / len(earlier))
    if valid_from is None:
        raise InputError(
            f"all interactions before the test cut ({iso(test_from)}) have the same time, "
            "which leaves no validation split",
            "check the time column, or set data.split=random",
        )
    part = np.zeros(len(time), np.int8)
    part[time >= valid_from] = VALID
    part[time >= test_from] = TEST
    return part, Cuts(valid_from=iso(valid_from), test_from=iso(test_from))


def at_random(pairs: Pairs, valid_fraction: float, test_fraction: float, seed: int) -> PartArray:
    """Parts (n,) by a random share of every user's items."""
    return choose_per_user(pairs, valid_fraction, test_fraction, np.random.default_rng([seed, 1]))


def as_given(pairs: Pairs, valid_fraction: float, seed: int) -> PartArray:
    """The owner's splits (n,); a missing validation split is cut off train, at random per user; test is untouched.

    An item that would lose its last train interaction keeps it.
    """
    part = pairs.part
    assert part is not None
    if (part == VALID).any():
        return part
    in_train = part == TRAIN
    train = keep(replace(pairs, item=pairs.item.copy(), part=None, time=None), in_train)
    cut = choose_per_user(train, valid_fraction, 0.0, np.random.default_rng([seed, 2]))
    left = np.zeros(pairs.n_items, np.bool_)
    left[train.item[cut == TRAIN]] = True
    cut[~left[train.item]] = TRAIN
    part = part.copy()
    part[in_train] = cut
    return part


def known_in_train(pairs: Pairs) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """(n_users,), (n_items,) bool: the users and items that have a train interaction."""
    assert pairs.part is not None
    train = pairs.part == TRAIN
    users, items = np.zeros(pairs.n_users, np.bool_), np.zeros(pairs.n_items, np.bool_)
    users[users_of(pairs, train)] = True
    items[pairs.item[train]] = True
    return users, items
