"""From the user's sources to a split: read, clean, gate, split, number.

Rules, in this order:

1. Rows without user, item or (where there is a time column) a readable, plausible time are dropped; then those after
   ``as_of``, then those below ``min_weight``. A row that is dropped is counted once, under its first reason.
2. A (user, item) pair counts once, at its earliest time. With given parts a pair that an earlier part holds as well
   (train before validation before test) is dropped from the later one.
3. Users and items below the minimum are removed until none is left (k-core; default 5, for given parts 1).
4. Split. By time: one cut in time for all users, equal times never apart. At random: a share of every user's items.
   Given: the owner's parts; a missing validation part is cut off train at random per user.
5. After a split by time or at random, validation and test keep only pairs whose user and item occur in train: no model
   can rank others. Given parts keep all their ids, so that numbers compare with published ones; they are refused where
   next to nothing in them could be ranked.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import polars as pl

from freqd.config import DataConfig
from freqd.data import splits
from freqd.data.encode import Codes, encode
from freqd.data.ids import IdRegistry, Side
from freqd.data.interactions import PARTS, Interactions, Observed, Part, Split
from freqd.data.pairs import Pairs, PartArray, core, distinct, keep
from freqd.data.quality import Ledger, QualityReport
from freqd.data.scan import Rows, read_rows
from freqd.data.sources import Source, open_source
from freqd.errors import InputError
from freqd.progress import Progress, silent
from freqd.pseudonym import shape

BoolArray = npt.NDArray[np.bool_]

WARN_UNKNOWN, REFUSE_UNKNOWN = 0.2, 0.98
"""Share of a given part's users, or items, that train does not know: from here on it is told; nothing could be judged."""
How = Literal["time", "random", "given"]


@dataclass(frozen=True, eq=False)
class _Clean:
    """Distinct pairs over provisional codes, and what the codes mean."""

    pairs: Pairs
    user_ids: pl.Series
    item_ids: pl.Series


def source_digest(config: DataConfig, *, data_dir: Path | None, cache_dir: Path, progress: Progress = silent) -> str:
    """SHA-256 of the input's bytes: of the files, or of the rows that the query returns now.

    The rows of a query are kept for the ``ingest`` that follows within the hour, so that both see the same data.

    Raises:
        InputError: the input is missing or unreadable.
    """
    return open_source(config, data_dir=data_dir, cache_dir=cache_dir, reuse=False, progress=progress).digest()


def check(
    config: DataConfig, *, seed: int = 0, data_dir: Path | None, cache_dir: Path, progress: Progress = silent
) -> QualityReport:
    """Everything ``ingest`` checks, without numbering ids or writing a result."""
    try:
        split = ingest(config, seed=seed, data_dir=data_dir, cache_dir=cache_dir, progress=progress)
    except InputError as error:
        return QualityReport(False, {}, error.problem, error.remedy)
    return QualityReport(True, split.info)


def ingest(
    config: DataConfig,
    *,
    seed: int,
    data_dir: Path | None,
    cache_dir: Path,
    registry: IdRegistry | None = None,
    progress: Progress = silent,
) -> Split:
    """Read, clean and split the interactions of ``config``; see the module's docstring for the rules.

    Time O(n log(longest user)), memory about 60 bytes a row at the peak.

    Args:
        config: the settings.
        seed: of the random split, or of the validation part cut off given train data.
        data_dir: where named data sets are looked for first.
        cache_dir: where downloads and the rows of a query go.
        registry: ids of earlier runs; dense ids then keep their order over runs. Without it they are sorted.
        progress: told how far it is.

    Raises:
        InputError: the data cannot be used; names the file, column, row or value, and a remedy.
    """
    progress(0.0, "looking for the data")
    source = open_source(config, data_dir=data_dir, cache_dir=cache_dir, reuse=True, progress=progress)
    try:
        return _ingest(config, source, seed, registry, progress)
    finally:
        if source.snapshot is not None:
            source.snapshot.discard()


def observe(config: DataConfig, *, data_dir: Path | None, cache_dir: Path, progress: Progress = silent) -> Observed:
    """Read and clean the interactions of ``config`` (rules 1 and 2), parts together, for a look at what is there.

    Users and items with few partners stay, for who is new has few.

    Args:
        config: the settings; those of the k-core and of the split do not matter.
        data_dir: where named data sets are looked for first.
        cache_dir: where downloads and the rows of a query go.
        progress: told how far it is.

    Raises:
        InputError: the data cannot be used; names the file, column, row or value, and a remedy.
    """
    source = open_source(config, data_dir=data_dir, cache_dir=cache_dir, reuse=False, progress=progress)
    try:
        ledger = Ledger()
        rows = read_rows(source, config, ledger)
        _resolve_how("random", config, source, rows)
        clean = _clean(rows, config, "random", ledger)
    finally:
        if source.snapshot is not None:
            source.snapshot.discard()
    pairs = clean.pairs
    found = Interactions(pairs.users(), pairs.item, pairs.n_users, pairs.n_items, pairs.time)
    return Observed(found, clean.user_ids, clean.item_ids, source.name, ledger.rows_read, ledger.dropped)


def _ingest(config: DataConfig, source: Source, seed: int, registry: IdRegistry | None, progress: Progress) -> Split:
    how = _how(config, source)
    ledger = Ledger()
    progress(0.05, "reading")
    rows = read_rows(source, config, ledger)
    how = _resolve_how(how, config, source, rows)
    columns, rows_read_as = rows.columns, ("" if rows.ordinal else rows.read_as)
    progress(0.4, f"cleaning {ledger.rows_read:,} rows")
    clean = _clean(rows, config, how, ledger)
    del rows
    progress(0.6, f"looking at {len(clean.pairs):,} pairs")
    pairs = _core(clean.pairs, config, how, ledger)
    progress(0.7, f"splitting {len(pairs):,} pairs")
    part, cuts = _split(pairs, how, config, seed)
    pairs = splits.with_parts(pairs, part)
    pairs, cold_share = _drop_unknown(pairs, how, ledger)
    _require_parts(pairs, how, config, ledger)
    if how == "given":
        _check_given(pairs, ledger)
    progress(0.85, "numbering users and items")
    split = _number(pairs, clean, how, registry)
    split.info.update(
        name=source.name,
        source=list(source.labels),
        split=how,
        columns=columns.as_dict(),
        guessed=list(columns.guessed),
        times=_times(rows_read_as, pairs),
        cold_test_items=cold_share,
        **({"cuts": cuts} if cuts else {}),
    )
    _describe(split, ledger)
    progress(1.0, f"{split.n_users:,} users, {split.n_items:,} items")
    return split


def _how(config: DataConfig, source: Source) -> How | None:
    """How to split, as far as settings and files decide it; None where a time column would."""
    if config.split == "given" and not source.has_parts:
        raise InputError(
            f"data.split=given, but {', '.join(source.labels)} has no parts",
            "give data.train and data.test, or set data.split to time or random",
        )
    if config.split == "auto":
        return "given" if source.has_parts else None
    return config.split


def no_times(place: str, day: date) -> InputError:
    """Of data of which nobody can tell what was there by a day."""
    return InputError(
        f"what was there as of {day} (data.as_of) cannot be told: {place} has no time column",
        "name it with data.columns.time; data without times can only be run as they are: `freqd run` without data.as_of",
    )


def _resolve_how(how: How | None, config: DataConfig, source: Source, rows: Rows) -> How:
    columns = rows.columns
    place = ", ".join(source.labels)
    listed = "name it with data.columns.time"
    if columns.time is None and how == "time":
        raise InputError(f"data.split=time, but {place} has no time column", f"{listed}, or set data.split=random")
    if columns.time is None and config.as_of is not None:
        raise no_times(place, config.as_of)
    if rows.ordinal and config.as_of is not None:
        raise InputError(
            f"what was there as of {config.as_of} (data.as_of) cannot be told: column '{columns.time}' of {place} holds small "
            "numbers, not dates",
            "give dates, or leave data.as_of out",
        )
    if columns.weight is None and config.min_weight is not None:
        raise InputError(
            f"data.min_weight is set, but {place} has no weight column",
            "name it with data.columns.weight, or leave min_weight out",
        )
    return how or ("time" if columns.time is not None else "random")


def _clean(rows: Rows, config: DataConfig, how: How, ledger: Ledger) -> _Clean:
    frame = rows.frame
    users, items = encode(frame["user"]), encode(frame["item"])
    time = frame["time"] if "time" in frame.columns else None
    keepers = _good_rows(users.code, items.code, frame, config, rows, ledger)
    part = frame["part"].to_numpy() if how == "given" else None
    seconds = None if time is None else time.fill_null(0).to_numpy()
    user, item = users.code, items.code
    if keepers is not None:
        user, item = user[keepers], item[keepers]
        part = None if part is None else part[keepers]
        seconds = None if seconds is None else seconds[keepers]
    pairs, repeated, overlap = distinct(user, item, len(users.ids), len(items.ids), part=part, time=seconds)
    ledger.drop("repeats a pair (counted once, at its earliest time)", repeated, "none needed: a pair counts once")
    overlaps: tuple[tuple[Part, str], ...] = (("valid", "train"), ("test", "train or valid"))
    for later, earlier in overlaps:
        ledger.drop(
            f"{later} pair that {earlier} holds as well",
            int(overlap[PARTS.index(later)]),
            "none needed; check how the parts were made, for the test would be too easy",
        )
    sides: tuple[tuple[Side, Codes], ...] = (("user", users), ("item", items))
    for side, found in sides:
        _warn_of_mixed_ids(side, found.code, found.ids, rows, ledger)
        _refuse_inexact(side, found, rows)
        if found.alike:
            one, other = found.alike[0]
            ledger.warnings.append(
                f"{len(found.alike):,} {side} ids are written in two ways, for example {_told(side, one)} and "
                f"{_told(side, other)}, and taken for the same; if they are not, write them with a letter in front"
            )
    _require_variety(pairs, len(user), ledger)
    return _Clean(pairs, users.ids, items.ids)


def _good_rows(
    user: npt.NDArray[np.int32],
    item: npt.NDArray[np.int32],
    frame: pl.DataFrame,
    config: DataConfig,
    rows: Rows,
    ledger: Ledger,
) -> BoolArray | None:
    """(n,) bool of the rows to keep, or None if all are good; a row is counted under its first reason."""
    good: BoolArray | None = None

    def drop(bad: BoolArray, reason: str, remedy: str) -> None:
        nonlocal good
        fresh = bad if good is None else bad & good
        count = int(np.count_nonzero(fresh))
        if count == 0:
            return
        ledger.drop(reason, count, remedy)
        good = ~bad if good is None else good & ~bad

    columns = rows.columns
    missing = "empty, or a word such as NULL"
    drop(user < 0, f"no user in column '{columns.user}' ({missing})", "fill the column, or leave anonymous rows out")
    drop(item < 0, f"no item in column '{columns.item}' ({missing})", "fill the column")
    if columns.time is not None:
        drop(
            frame["time"].is_null().to_numpy(),
            f"time missing or unreadable in column '{columns.time}'",
            "fill the column, or set data.columns.time=none to do without time",
        )
    if "odd" in frame.columns:
        reason = (
            f"time in column '{columns.time}' before {config.min_time} or in the future, the first of them {rows.odd}"
        )
        drop(frame["odd"].to_numpy(), reason, "if they are right, widen data.min_time and data.max_time")
    if config.as_of is not None:
        end = datetime.combine(config.as_of, datetime.min.time(), UTC) + timedelta(days=1)
        late = (frame["time"] >= int(end.timestamp())).fill_null(False)
        drop(
            late.to_numpy(),
            f"after {config.as_of} (data.as_of)",
            "set a later data.as_of, in a backfill a later first date",
        )
    if "heavy" in frame.columns:
        reason = f"weight in column '{columns.weight}' missing or below {config.min_weight:g} (data.min_weight)"
        drop((~frame["heavy"]).to_numpy(), reason, "set a lower data.min_weight")
    if good is not None:
        ledger.require(int(np.count_nonzero(good)), "no interaction is left after cleaning", _remedies(ledger))
    return good


def _remedies(ledger: Ledger) -> str:
    worst = max(ledger.dropped, key=lambda row: int(row["rows"]))
    return str(worst["remedy"])


def _warn_of_mixed_ids(side: str, codes: npt.NDArray[np.int32], ids: pl.Series, rows: Rows, ledger: Ledger) -> None:
    """A few texts among thousands of numbers are often a repeated header or a footer."""
    numeric = ids.str.contains(r"^-?\d+$")
    odd = int((~numeric).sum())
    if 0 < odd <= len(ids) // 20:
        code = int(np.flatnonzero(~numeric.to_numpy())[0])
        place = rows.place(int(np.flatnonzero(codes == code)[0]))
        ledger.warnings.append(
            f"{odd:,} of {len(ids):,} {side} ids are not numbers while the others are; "
            f"for example {_told(side, ids[code])} in {place}"
        )


def _refuse_inexact(side: Side, codes: Codes, rows: Rows) -> None:
    """Raise ``InputError`` if ids went through a spreadsheet or a floating point that merged several to one."""
    if codes.inexact is None:
        return
    text, written = codes.inexact
    place = rows.place(int(np.flatnonzero(codes.code == int((codes.ids == text).arg_max() or 0))[0]))
    raise InputError(
        f"{place} has {written!r} in column '{rows.columns.user if side == 'user' else rows.columns.item}': digits of that id were "
        f"lost before the file was written, so {side}s may be merged already",
        "write the ids as texts or integers where the file is made (in a spreadsheet: format the column as text before it is "
        "filled); if they are meant so, put a letter in front",
    )


def _told(side: str, identity: str) -> str:
    """An id in a message: an item's as it is, of a user's how it is built."""
    return repr(identity if side == "item" else shape(identity))


def _times(read_as: str, pairs: Pairs) -> dict[str, str] | None:
    """How times were read, the first one and the last one; None where there are no dates."""
    if pairs.time is None or not read_as:
        return None
    first, last = (splits.iso(int(time)) for time in (pairs.time.min(), pairs.time.max()))
    return {"read_as": read_as, "first": first, "last": last}


def _check_given(pairs: Pairs, ledger: Ledger) -> None:
    """See that the owner's validation and test parts can be judged by models of train.

    Raises:
        InputError: next to none of the users, items or pairs of a part are known in train.
    """
    part = pairs.part
    assert part is not None
    users, known = pairs.users(), np.zeros(pairs.n_users, np.bool_)
    known[users[part == splits.TRAIN]] = True
    known_item = np.zeros(pairs.n_items, np.bool_)
    known_item[pairs.item[part == splits.TRAIN]] = True
    for code, name in ((splits.VALID, "validation"), (splits.TEST, "test")):
        rows = part == code
        of_users, of_items = np.unique(users[rows]), np.unique(pairs.item[rows])
        judged = known[users[rows]] & known_item[pairs.item[rows]]
        shares = {
            "users": 1.0 - float(known[of_users].mean()),
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
                    "give parts of the same users and items, with ids written alike; or give all files as data.source and let "
                    "freqd split them",
                )
            if share >= WARN_UNKNOWN and what != "interactions":
                ledger.warnings.append(f"{problem}: what is measured there says little about the others")


def _present(pairs: Pairs) -> tuple[BoolArray, BoolArray]:
    items = np.zeros(pairs.n_items, np.bool_)
    items[pairs.item] = True
    return np.diff(pairs.indptr) > 0, items


def _require_variety(pairs: Pairs, rows: int, ledger: Ledger) -> None:
    users, items = _present(pairs)
    n_users, n_items = int(users.sum()), int(items.sum())
    if len(pairs) == 1 and rows > 1:
        raise InputError(
            f"all {rows:,} rows are the same (user, item) pair: duplicates only ({ledger.history()})",
            "check that data.columns.user and data.columns.item name the right columns",
        )
    for count, role, other in ((n_users, "user", "users"), (n_items, "item", "items")):
        if count < 2:
            raise InputError(
                f"there is only one {role} in {rows:,} rows ({ledger.history()})",
                f"give interactions of many {other}; check that data.columns.{role} names the right column",
            )


def _core(pairs: Pairs, config: DataConfig, how: How, ledger: Ledger) -> Pairs:
    default = 1 if how == "given" else 5
    min_user = config.min_user_interactions or default
    min_item = config.min_item_interactions or default
    if min_user == 1 and min_item == 1:
        return pairs
    user_alive, item_alive = core(pairs, min_user, min_item)
    rows = np.repeat(user_alive, np.diff(pairs.indptr)) & item_alive[pairs.item]
    left = int(np.count_nonzero(rows))
    users, items = _present(pairs)
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


def _split(pairs: Pairs, how: How, config: DataConfig, seed: int) -> tuple[PartArray, dict[str, str]]:
    if how == "time":
        return splits.by_time(pairs, config.valid_fraction, config.test_fraction)
    if how == "given":
        return splits.as_given(pairs, config.valid_fraction, seed), {}
    return splits.at_random(pairs, config.valid_fraction, config.test_fraction, seed), {}


def _drop_unknown(pairs: Pairs, how: How, ledger: Ledger) -> tuple[Pairs, float]:
    """Drop validation and test pairs that no model could rank; also the share of test pairs with an unknown item."""
    part = pairs.part
    assert part is not None
    item_known = np.zeros(pairs.n_items, np.bool_)
    item_known[pairs.item[part == splits.TRAIN]] = True
    test_items = pairs.item[part == splits.TEST]
    cold = float(np.mean(~item_known[test_items])) if len(test_items) else 0.0
    if how == "given":
        return pairs, cold
    known = splits.known_in_train(pairs, part)
    for code, name in ((splits.VALID, "valid"), (splits.TEST, "test")):
        ledger.drop(
            f"{name} pair whose user or item is not in train",
            int(np.count_nonzero(~known & (part == code))),
            "none needed: users and items that first appear later cannot be ranked; retrain more often",
        )
    return (pairs if known.all() else keep(pairs, known)), cold


def _require_parts(pairs: Pairs, how: How, config: DataConfig, ledger: Ledger) -> None:
    part = pairs.part
    assert part is not None
    counts = np.bincount(part, minlength=3)
    remedies: dict[How, str] = {
        "time": "check the time column, or set data.split=random",
        "random": f"give more data, or raise data.valid_fraction ({config.valid_fraction:g}) and data.test_fraction "
        f"({config.test_fraction:g})",
        "given": "check the files of the parts: their ids have to be those of train",
    }
    for name, count in zip(PARTS, counts, strict=True):
        ledger.require(int(count), f"the split ({how}) leaves no {name} part", remedies[how])
    in_train = part == splits.TRAIN
    users, items = _present(keep(replace(pairs, part=None, time=None), in_train))
    if int(users.sum()) < 2 or int(items.sum()) < 2:
        raise InputError(f"train has fewer than two users or two items ({ledger.history()})", remedies[how])


def _numbering(used: BoolArray, ids: pl.Series, side: Side, registry: IdRegistry | None) -> tuple[Any, pl.Series]:
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


def _number(pairs: Pairs, clean: _Clean, how: How, registry: IdRegistry | None) -> Split:
    used_users, used_items = _present(pairs)
    user_table, user_ids = _numbering(used_users, clean.user_ids, "user", registry)
    item_table, item_ids = _numbering(used_items, clean.item_ids, "item", registry)
    user, item, part = user_table[pairs.users()], item_table[pairs.item], pairs.part
    assert part is not None

    def of(code: int) -> Interactions:
        rows = part == code
        time = None if pairs.time is None else pairs.time[rows]
        return Interactions(user[rows], item[rows], len(user_ids), len(item_ids), time)

    return Split(of(splits.TRAIN), of(splits.VALID), of(splits.TEST), user_ids, item_ids, {})


def _describe(split: Split, ledger: Ledger) -> None:
    parts = {name: len(split.part(name)) for name in PARTS}
    total = sum(parts.values())
    users, items = split.n_users, split.n_items
    with_test = int(np.count_nonzero(np.bincount(split.test.user, minlength=users)))
    warnings = ledger.warnings
    if with_test < 100:
        warnings.append(
            f"only {with_test:,} users have a test interaction: differences between models will be mostly noise"
        )
    if total < ledger.rows_read / 2:
        repeats = sum(int(row["rows"]) for row in ledger.dropped if row["reason"].startswith("repeats"))
        lost = ledger.rows_read - repeats - total
        if lost > (ledger.rows_read - repeats) / 2:
            warnings.append(
                f"{lost / (ledger.rows_read - repeats):.0%} of the distinct pairs were dropped: see the table"
            )
    cold = float(split.info["cold_test_items"])
    if cold > 0.2:
        warnings.append(f"{cold:.0%} of the test interactions are with items that train does not know")
    busiest = int(np.bincount(split.train.user).max())
    if busiest > max(0.1 * parts["train"], 100):
        warnings.append(
            f"one user has {busiest / parts['train']:.0%} of all train interactions: perhaps a test account or a bot"
        )
    split.info.update(
        rows_read=ledger.rows_read,
        dropped=ledger.dropped,
        kept={"users": users, "items": items, "interactions": total},
        parts=parts,
        warnings=warnings,
        density=total / (users * items),
        users_without_test=users - with_test,
    )
