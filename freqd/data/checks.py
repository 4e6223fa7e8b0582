"""What data and settings must allow, and what is reported about a split that shows little."""

from __future__ import annotations

from datetime import date

import numpy as np

from freqd.config import DataConfig
from freqd.data import splits
from freqd.data.columns import Columns
from freqd.data.info import How
from freqd.data.interactions import PARTS, Split
from freqd.data.pairs import Pairs, users_of
from freqd.data.quality import CleaningReport
from freqd.data.sources import Source
from freqd.errors import InputError

WARN_UNKNOWN, REFUSE_UNKNOWN = 0.2, 0.98
"""Share of a given part's users, or items, that train does not know: from here on it is reported; nothing could be evaluated."""


def wanted_split(config: DataConfig, source: Source) -> How | None:
    """How to split, as far as settings and files decide it; None where a time column would.

    Raises:
        InputError: the owner's splits are wanted, and there are none.
    """
    if config.split == "given" and not source.has_parts:
        raise InputError(
            f"data.split=given, but {', '.join(source.labels)} has no splits",
            "give data.train and data.test, or set data.split to time or random",
        )
    if config.split == "auto":
        return "given" if source.has_parts else None
    return config.split


def no_times(place: str, day: date) -> InputError:
    """Of data that do not show what was there by a day."""
    return InputError(
        f"what was there as of {day} (data.as_of) is not known: {place} has no time column",
        "name it with data.columns.time; data without times can only be run as they are: `freqd run` without data.as_of",
    )


def resolve_split(how: How | None, config: DataConfig, source: Source, columns: Columns) -> How:
    """How to split, now that the columns are known.

    Args:
        how: the wanted split, see ``wanted_split``.
        config: the settings.
        source: where the rows are from.
        columns: of it.

    Raises:
        InputError: the settings need times or weights, and there are none.
    """
    place = ", ".join(source.labels)
    listed = "name it with data.columns.time"
    if columns.time is None and how == "time":
        raise InputError(f"data.split=time, but {place} has no time column", f"{listed}, or set data.split=random")
    if columns.time is None and config.as_of is not None:
        raise no_times(place, config.as_of)
    if columns.weight is None and config.min_weight is not None:
        raise InputError(
            f"data.min_weight is set, but {place} has no weight column",
            "name it with data.columns.weight, or leave min_weight out",
        )
    return how or ("time" if columns.time is not None else "random")


def require_parts(pairs: Pairs, how: How, config: DataConfig, ledger: CleaningReport) -> None:
    """See that every part holds something, and train enough.

    Raises:
        InputError: a part is empty, or train has fewer than two users or items.
    """
    assert pairs.part is not None
    remedies: dict[How, str] = {
        "time": "check the time column, or set data.split=random",
        "random": f"give more data, or raise data.valid_fraction ({config.valid_fraction:g}) and data.test_fraction "
        f"({config.test_fraction:g})",
        "given": "check the files of the splits: their ids have to be those of train",
    }
    for name, count in zip(PARTS, np.bincount(pairs.part, minlength=3), strict=True):
        ledger.require(int(count), f"the split ({how}) leaves no {name} split", remedies[how])
    if any(int(known.sum()) < 2 for known in splits.known_in_train(pairs)):
        raise InputError(f"train has fewer than two users or two items ({ledger.history()})", remedies[how])


def check_given(pairs: Pairs, ledger: CleaningReport) -> None:
    """See that the owner's validation and test splits can be judged by models of train.

    Raises:
        InputError: next to none of the users, items or pairs of a part are known in train.
    """
    assert pairs.part is not None
    known_user, known_item = splits.known_in_train(pairs)
    for code, name in ((splits.VALID, "validation"), (splits.TEST, "test")):
        rows = pairs.part == code
        users, items = users_of(pairs, rows), pairs.item[rows]
        of_users, of_items = np.unique(users), np.unique(items)
        judged = known_user[users] & known_item[items]
        shares = {
            "users": 1.0 - float(known_user[of_users].mean()),
            "items": 1.0 - float(known_item[of_items].mean()),
            "interactions": 1.0 - float(judged.mean()),
        }
        for what, share in shares.items():
            problem = f"{share:.0%} of the {what} of the {name} part are not known in train"
            if what == "interactions":
                problem = f"{share:.0%} of the interactions of the {name} part are with users or items that train does not know"
            if share >= REFUSE_UNKNOWN:
                raise InputError(
                    f"{problem}, so no model can be judged by it",
                    "give splits of the same users and items, with ids written alike; or give all files as data.source and let "
                    "freqd split them",
                )
            if share >= WARN_UNKNOWN and what != "interactions":
                ledger.warnings.append(f"{problem}: what is measured there says little about the others")


def warn_of_split(split: Split, cold_test_items: float, ledger: CleaningReport) -> None:
    """Note what makes numbers measured on ``split`` say little, or its models odd.

    Args:
        split: the split.
        cold_test_items: share of the test pairs whose item train does not know.
        ledger: what was read and dropped; takes the warnings.
    """
    with_test = np.count_nonzero(np.bincount(split.test.user))
    if with_test < 100:
        ledger.warnings.append(
            f"only {with_test:,} users have a test interaction: differences between models will be mostly noise"
        )
    total = sum(len(split.part(name)) for name in PARTS)
    distinct = ledger.rows_read - sum(row.rows for row in ledger.dropped if row.reason.startswith("repeats"))
    if total < ledger.rows_read / 2 and distinct - total > distinct / 2:
        ledger.warnings.append(f"{(distinct - total) / distinct:.0%} of the distinct pairs were dropped: see the table")
    if cold_test_items > 0.2:
        ledger.warnings.append(
            f"{cold_test_items:.0%} of the test interactions are with items that train does not know"
        )
    busiest = int(np.bincount(split.train.user).max())
    if busiest > max(0.1 * len(split.train), 100):
        ledger.warnings.append(
            f"one user has {busiest / len(split.train):.0%} of all train interactions: perhaps a test account or a bot"
        )
