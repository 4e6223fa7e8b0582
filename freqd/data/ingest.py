"""From the user's sources to a split: read, clean, gate, split, number.

Rules, in this order:

1. Rows without user, item or (where there is a time column) a readable, plausible time are dropped; then those after
   ``as_of``, then those below ``min_weight``. A row that is dropped is counted once, under its first reason.
2. A (user, item) pair counts once, at its earliest time. With given parts a pair that an earlier part holds as well
   (train before validation before test) is dropped from the later one.
3. Users and items below the minimum are removed until none is left (k-core; default 5, for given parts 1).
4. Split. By time: one cut in time for all users, equal times never apart. At random: a share of every user's items.
   Given: the owner's splits; a missing validation split is cut off train at random per user.
5. After a split by time or at random, validation and test keep only pairs whose user and item occur in train: no model
   can rank others; what is dropped so is kept aside (``Split.latecomers``). Given parts keep all their ids, so that numbers compare with published ones; they are refused where
   next to nothing in them could be ranked.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl

from freqd.config import DataConfig
from freqd.data import checks, splits
from freqd.data.cleaning import GIB, BoolArray, CleanPairs, clean
from freqd.data.ids import IdRegistry, Side
from freqd.data.info import Counts, Cuts, How, SplitInfo, Times
from freqd.data.interactions import PARTS, IdArray, Interactions, Observed, Split
from freqd.data.pairs import Pairs, PartArray, k_core, keep, parted, rows_with, users_of
from freqd.data.quality import CleaningReport, QualityReport
from freqd.data.scan import Reading
from freqd.data.sources import Places, Source, open_source
from freqd.errors import InputError
from freqd.progress import Progress, silent

_AT_A_TIME = 1 << 24
"""Numbers that are changed in place by one call."""


def source_digest(config: DataConfig, places: Places, *, progress: Progress = silent) -> str:
    """SHA-256 of the input's bytes: of the files, or of the rows that the query returns now.

    The rows of a query are kept for the ``ingest`` that follows within the hour, so that both see the same data.

    Raises:
        InputError: the input is missing or unreadable.
    """
    return open_source(config, places, reuse=False, progress=progress).digest()


def check(
    config: DataConfig, places: Places, *, seed: int = 0, memory: int | None = None, progress: Progress = silent
) -> QualityReport:
    """Everything ``ingest`` checks, without numbering ids or writing a result."""
    try:
        split = ingest(config, places, seed=seed, memory=memory, progress=progress)
    except InputError as error:
        return QualityReport(None, error.problem, error.remedy)
    return QualityReport(split.info)


def ingest(
    config: DataConfig,
    places: Places,
    *,
    seed: int,
    registry: IdRegistry | None = None,
    memory: int | None = None,
    progress: Progress = silent,
) -> Split:
    """Read, clean and split the interactions of ``config``; see the module's docstring for the rules.

    Time O(n log(longest user)), memory about 60 bytes a row at the peak. Where there is less (``data.memory_gb``) the files are read twice,
    first for their ids and then some rows after the others, which takes 14 bytes a row and gives the same split.

    Args:
        config: the settings.
        places: where data are looked for and kept.
        seed: of the random split, or of the validation split cut off given train data.
        registry: ids of earlier runs; dense ids then keep their order over runs. Without it they are sorted.
        memory: bytes that there are, where the settings do not say how many may be taken; None: as many as it takes.
        progress: called with the share that is done.

    Raises:
        InputError: the data cannot be used; names the file, column, row or value, and a remedy.
    """
    if config.memory_gb is not None:
        memory = int(config.memory_gb * GIB)
    progress(0.0, "finding the data")
    source = open_source(config, places, reuse=True, progress=progress)
    try:
        return _ingest(config, source, seed, registry, memory, progress)
    finally:
        if source.snapshot is not None:
            source.snapshot.discard()


def observe(config: DataConfig, places: Places, *, progress: Progress = silent) -> Observed:
    """Read and clean the interactions of ``config`` (rules 1 and 2), splits together, to show what is there.

    Users and items with few partners stay, for who is new has few.

    Args:
        config: the settings; those of the k-core and of the split do not matter.
        places: where data are looked for and kept.
        progress: called with the share that is done.

    Raises:
        InputError: the data cannot be used; names the file, column, row or value, and a remedy.
    """
    source = open_source(config, places, reuse=False, progress=progress)
    try:
        ledger = CleaningReport()
        reading = Reading(source, config, ledger)
        checks.resolve_split("random", config, source, reading.columns)
        found = clean(reading, config, "random", ledger)
    finally:
        if source.snapshot is not None:
            source.snapshot.discard()
    pairs = found.pairs
    seen = Interactions(pairs.users(), pairs.item, pairs.n_users, pairs.n_items, pairs.time)
    return Observed(seen, found.user_ids, found.item_ids, source.name, ledger.rows_read, ledger.dropped)


def _ingest(
    config: DataConfig,
    source: Source,
    seed: int,
    registry: IdRegistry | None,
    memory: int | None,
    progress: Progress,
) -> Split:
    ledger = CleaningReport()
    wanted = checks.wanted_split(config, source)
    reading = Reading(source, config, ledger)
    how = checks.resolve_split(wanted, config, source, reading.columns)
    found = clean(reading, config, how, ledger, memory, progress)
    progress(0.6, f"checking {len(found.pairs):,} pairs")
    pairs = _core(found.pairs, config, how, ledger)
    progress(0.7, f"splitting {len(pairs):,} pairs")
    part, cuts = _split(pairs, how, config, seed)
    pairs, cold_test_items, latecomers = _drop_unknown(replace(pairs, part=part), how, found, ledger)
    del part
    checks.require_parts(pairs, how, config, ledger)
    if how == "given":
        checks.check_given(pairs, ledger)
    times = _times("" if reading.times is None else reading.times.read_as, pairs)
    progress(0.85, "numbering users and items")
    split = _number(pairs, found, registry)
    checks.warn_of_split(split, cold_test_items, ledger)
    parts = {name: len(split.part(name)) for name in PARTS}
    total = sum(parts.values())
    info = SplitInfo(
        name=source.name,
        source=source.labels,
        split=how,
        columns=reading.columns.as_dict(),
        guessed=reading.columns.guessed,
        times=times,
        cold_test_items=cold_test_items,
        rows_read=ledger.rows_read,
        dropped=ledger.dropped,
        kept=Counts(users=split.n_users, items=split.n_items, interactions=total),
        parts=parts,
        warnings=tuple(ledger.warnings),
        density=total / (split.n_users * split.n_items),
        users_without_test=split.n_users - int(np.count_nonzero(np.bincount(split.test.user))),
    )
    progress(1.0, f"{split.n_users:,} users, {split.n_items:,} items")
    split = split if latecomers is None else replace(split, latecomers=latecomers)
    return replace(split, info=info if cuts is None else info.model_copy(update={"cuts": cuts}))


def _core(pairs: Pairs, config: DataConfig, how: How, ledger: CleaningReport) -> Pairs:
    default = 1 if how == "given" else 5
    min_user = config.min_user_interactions or default
    min_item = config.min_item_interactions or default
    if min_user == 1 and min_item == 1:
        return pairs
    user_alive, item_alive = k_core(pairs, min_user, min_item)
    rows = rows_with(pairs, user_alive, item_alive)
    left = int(np.count_nonzero(rows))
    users, items = pairs.present()
    gone_users, gone_items = int((users & ~user_alive).sum()), int((items & ~item_alive).sum())
    reason = (
        f"user with fewer than {min_user} items or item with fewer than {min_item} users "
        f"({gone_users:,} users and {gone_items:,} items)"
    )
    lower = "lower data.min_user_interactions and data.min_item_interactions"
    most_user = int(np.diff(pairs.indptr).max())
    most_item = int(np.bincount(pairs.item).max())
    ledger.drop(reason, len(pairs) - left, lower)
    if left == 0:
        raise InputError(
            f"nothing is left: no group of users has {min_user} items each that have {min_item} users each; "
            f"the busiest user has {most_user:,} items, the most popular item {most_item:,} users ({ledger.history()})",
            f"{lower} (now {min_user} and {min_item}), or give more data",
        )
    return pairs if left == len(pairs) else keep(pairs, rows)


def _split(pairs: Pairs, how: How, config: DataConfig, seed: int) -> tuple[PartArray, Cuts | None]:
    if how == "time":
        return splits.by_time(pairs, config.valid_fraction, config.test_fraction)
    if how == "given":
        return splits.as_given(pairs, config.valid_fraction, seed), None
    return splits.at_random(pairs, config.valid_fraction, config.test_fraction, seed), None


def _drop_unknown(
    pairs: Pairs, how: How, found: CleanPairs, ledger: CleaningReport
) -> tuple[Pairs, float, pl.DataFrame | None]:
    """Drop validation and test pairs that no model could rank.

    Also the share of test pairs with an unknown item, and what was dropped, as ``Split.latecomers``.
    """
    assert pairs.part is not None
    part, (known_user, known_item) = pairs.part, splits.known_in_train(pairs)
    test_items = pairs.item[part == splits.TEST]
    cold = float(np.mean(~known_item[test_items])) if len(test_items) else 0.0
    if how == "given":
        return pairs, cold, None
    known = rows_with(pairs, known_user, known_item)
    for code, name in ((splits.VALID, "valid"), (splits.TEST, "test")):
        ledger.drop(
            f"{name} pair whose user or item is not in train",
            int(np.count_nonzero(~known & (part == code))),
            "none needed: users and items that first appear later cannot be ranked; retrain more often",
        )
    if known.all():
        return pairs, cold, None
    late = ~known
    frame = pl.DataFrame(
        {"user": found.user_ids.gather(users_of(pairs, late)), "item": found.item_ids.gather(pairs.item[late])},
        schema={"user": pl.String, "item": pl.String},
    )
    if pairs.time is not None:
        frame = frame.with_columns(time=pl.Series(pairs.time[late].astype(np.int64)))
    return keep(pairs, known), cold, frame


def _numbering(used: BoolArray, ids: pl.Series, side: Side, registry: IdRegistry | None) -> tuple[IdArray, pl.Series]:
    """Table from provisional code to dense id, and the ids in dense order."""
    names = ids.filter(pl.Series(used))
    rank = np.arange(len(names), dtype=np.int32)
    if registry is not None:
        by_place = np.argsort(registry.order(side, names), kind="stable")
        rank[by_place] = np.arange(len(names), dtype=np.int32)
        names = names.gather(by_place)
    table = np.full(len(ids), -1, np.int32)
    table[used] = rank
    return table, names.rename("id")


def _number(pairs: Pairs, found: CleanPairs, registry: IdRegistry | None) -> Split:
    """The split; the arrays of ``pairs`` are overwritten."""
    used_users, used_items = pairs.present()
    user_table, user_ids = _numbering(used_users, found.user_ids, "user", registry)
    item_table, item_ids = _numbering(used_items, found.item_ids, "item", registry)
    assert pairs.part is not None
    users = [users_of(pairs, pairs.part == code, user_table) for code in range(len(PARTS))]
    for first in range(0, len(pairs), _AT_A_TIME):
        some = pairs.item[first : first + _AT_A_TIME]
        some[:] = item_table[some]
    items = parted(pairs.item, pairs.part)
    times = [None] * len(PARTS) if pairs.time is None else parted(pairs.time, pairs.part)
    train, valid, test = (
        Interactions(user, item, len(user_ids), len(item_ids), time)
        for user, item, time in zip(users, items, times, strict=True)
    )
    return Split(train, valid, test, user_ids, item_ids)


def _times(read_as: str, pairs: Pairs) -> Times | None:
    """How times were read, the first one and the last one; None where there are no dates."""
    if pairs.time is None or not read_as:
        return None
    first, last = (splits.iso(int(time)) for time in (pairs.time.min(), pairs.time.max()))
    return Times(read_as=read_as, first=first, last=last)
