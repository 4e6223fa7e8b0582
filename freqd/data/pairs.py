"""Interactions as (user, item) pairs in one flat, sorted form: the hot loops of ingest, compiled.

The form is that of a CSR matrix: user u owns the positions ``indptr[u] : indptr[u + 1]``. Optional arrays (part, time)
are passed to the kernels with length 0 when absent.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from freqd.data.interactions import IdArray
from freqd.numerics.jit import njit

PartArray = npt.NDArray[np.int8]
TimeArray = npt.NDArray[np.signedinteger[Any]]


@dataclass(frozen=True, eq=False)
class Pairs:
    """Distinct (user, item) pairs, sorted by user and item.

    Attributes:
        indptr: (n_users + 1,) int64.
        item: (n,) int32.
        n_items: size of the items' id space.
        part: (n,) int8, 0 train, 1 valid, 2 test; None if all are one part.
        time: (n,) int64 seconds, or int32 where memory is short; None without times.
    """

    indptr: npt.NDArray[np.int64]
    item: IdArray
    n_items: int
    part: PartArray | None
    time: TimeArray | None

    def __len__(self) -> int:
        return len(self.item)

    @property
    def n_users(self) -> int:
        """Size of the users' id space."""
        return len(self.indptr) - 1

    def users(self) -> IdArray:
        """(n,) int32: the user of every pair."""
        return np.repeat(np.arange(self.n_users, dtype=np.int32), np.diff(self.indptr))

    def present(self) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
        """(n_users,), (n_items,) bool: the users and items that have a pair."""
        items = np.zeros(self.n_items, np.bool_)
        items[self.item] = True
        return np.diff(self.indptr) > 0, items


@njit(cache=True, nogil=True)
def _place(
    user: Any, item: Any, part: Any, time: Any, place: Any, items: Any, parts: Any, times: Any
) -> None:  # pragma: no cover - compiled
    """A part of a counting sort by user: O(n). ``place`` says where each user's next row goes, and is moved on."""
    for k in range(len(user)):
        p = place[user[k]]
        place[user[k]] = p + 1
        items[p] = item[k]
        if len(part):
            parts[p] = part[k]
        if len(time):
            times[p] = time[k]


@njit(cache=True, nogil=True)
def _unique(starts: Any, stops: Any, item: Any, part: Any, time: Any) -> Any:  # pragma: no cover - compiled
    """Sort each user's pairs by (item, part) and keep the first of every item, with the earliest time of that part.

    User u's lie from ``starts[u]`` to ``stops[u]``. Works in place: the kept pairs move to the front. Returns the new
    indptr, the pairs repeated within a part, and for every part the pairs that an earlier part holds as well.
    """
    n_users = len(starts)
    kept_ptr = np.zeros(n_users + 1, np.int64)
    overlap = np.zeros(3, np.int64)
    repeated = 0
    write = 0
    for u in range(n_users):
        start, stop = starts[u], stops[u]
        length = stop - start
        key = np.empty(length, np.int64)
        for j in range(length):
            key[j] = np.int64(item[start + j]) * 4
            if len(part):
                key[j] += part[start + j]
        order = np.argsort(key)
        own_time = time[start:stop].copy() if len(time) else time[:0].copy()
        last_item, last_part = np.int64(-1), np.int64(-1)
        for j in range(length):
            here, here_part = key[order[j]] >> 2, key[order[j]] & 3
            if here != last_item:
                item[write] = here
                if len(part):
                    part[write] = here_part
                if len(time):
                    time[write] = own_time[order[j]]
                write += 1
                last_item, last_part = here, here_part
            elif here_part == last_part:
                repeated += 1
                if len(time) and own_time[order[j]] < time[write - 1]:
                    time[write - 1] = own_time[order[j]]
            else:
                overlap[here_part] += 1
        kept_ptr[u + 1] = write
    return kept_ptr, repeated, overlap


@njit(cache=True, nogil=True)
def _kept_indptr(indptr: Any, rows: Any) -> Any:  # pragma: no cover - compiled
    """The indptr once only the pairs with ``rows`` true are left."""
    kept_ptr = np.zeros(len(indptr), np.int64)
    for u in range(len(indptr) - 1):
        count = 0
        for k in range(indptr[u], indptr[u + 1]):
            count += rows[k]
        kept_ptr[u + 1] = kept_ptr[u] + count
    return kept_ptr


@njit(cache=True, nogil=True)
def _core(indptr: Any, item: Any, n_items: int, min_user: int, min_item: int) -> Any:  # pragma: no cover - compiled
    """Users and items that survive; every pass costs O(pairs of the users that are left)."""
    n_users = len(indptr) - 1
    user_alive = np.ones(n_users, np.bool_)
    item_alive = np.ones(n_items, np.bool_)
    item_degree = np.zeros(n_items, np.int64)
    for k in range(indptr[n_users]):
        item_degree[item[k]] += 1
    while True:
        changed = False
        for i in range(n_items):
            if item_alive[i] and item_degree[i] < min_item:
                item_alive[i] = False
                changed = True
        for u in range(n_users):
            if not user_alive[u]:
                continue
            degree = 0
            for k in range(indptr[u], indptr[u + 1]):
                degree += item_alive[item[k]]
            if degree < min_user:
                user_alive[u] = False
                changed = True
                for k in range(indptr[u], indptr[u + 1]):
                    item_degree[item[k]] -= 1
        if not changed:
            return user_alive, item_alive


@njit(cache=True, nogil=True)
def _choose(indptr: Any, key: Any, n_valid: Any, n_test: Any) -> Any:  # pragma: no cover - compiled
    """Of every user's pairs, those with the smallest keys become test, the next ones validation."""
    part = np.zeros(len(key), np.int8)
    for u in range(len(indptr) - 1):
        held = n_test[u] + n_valid[u]
        if held == 0:
            continue
        start, stop = indptr[u], indptr[u + 1]
        order = np.argsort(key[start:stop])
        for j in range(held):
            part[start + order[j]] = 2 if j < n_test[u] else 1
    return part


def _frozen(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """A read-only view: some columns of a frame are read-only, and every mix would be compiled anew."""
    view = np.ascontiguousarray(array).view()
    view.flags.writeable = False
    return view


class PairsInMaking:
    """Rows that become distinct pairs, taken in one portion after the other.

    Args:
        rows_of: (n_users,) int64, how many rows each user has at the most.
        n_items: size of the items' id space.
        parted: whether rows have a part.
        time: the type in which times are kept; None without times. Of int32 it becomes int64 once a time does not fit.
    """

    def __init__(
        self, rows_of: npt.NDArray[np.int64], n_items: int, *, parted: bool, time: npt.DTypeLike | None
    ) -> None:
        ends = np.cumsum(rows_of, dtype=np.int64)
        self._starts: npt.NDArray[np.int64] = ends - rows_of
        self._place = self._starts.copy()
        self._n_items, self._parted, self._timed = n_items, parted, time is not None
        n = int(ends[-1]) if len(ends) else 0
        self._item = np.empty(n, np.int32)
        self._part = np.empty(n if parted else 0, np.int8)
        self._time = np.empty(n if self._timed else 0, np.int64 if time is None else time)

    def add(self, user: IdArray, item: IdArray, part: PartArray | None, time: TimeArray | None) -> None:
        """Take rows: (n,) each. O(n)."""
        if time is not None and len(time) and not _fits(time, self._time.dtype):
            self._time = self._time.astype(np.int64)
        _place(
            _frozen(user),
            _frozen(item),
            _frozen(np.empty(0, np.int8) if part is None else part),
            _frozen(np.empty(0, np.int64) if time is None else time),
            self._place,
            self._item,
            self._part,
            self._time,
        )

    def finish(self) -> tuple[Pairs, int, npt.NDArray[np.int64]]:
        """The pairs, as ``distinct``; no rows can be added any more. O(n log(longest user)), in place."""
        kept_ptr, repeated, overlap = _unique(self._starts, self._place, self._item, self._part, self._time)
        n = int(kept_ptr[-1])
        pairs = Pairs(
            kept_ptr,
            self._item[:n],
            self._n_items,
            self._part[:n] if self._parted else None,
            self._time[:n] if self._timed else None,
        )
        return pairs, int(repeated), overlap


def _fits(values: TimeArray, dtype: npt.DTypeLike) -> bool:
    bounds = np.iinfo(dtype)
    return bool(values.min() >= bounds.min and values.max() <= bounds.max)


def distinct(
    user: IdArray, item: IdArray, shape: tuple[int, int], *, part: PartArray | None, time: TimeArray | None
) -> tuple[Pairs, int, npt.NDArray[np.int64]]:
    """Sorted distinct pairs: a pair counts once, at its earliest time; a pair in several parts stays in the first.

    O(n log(longest user)) time, O(n) memory.

    Args:
        user, item: (n,) int32 dense ids.
        shape: numbers of users and of items.
        part: (n,) int8 or None.
        time: (n,) int64 or None.

    Returns:
        The pairs, the number of rows that repeat a pair of their own part, and (3,) for each part the number of rows
        whose pair an earlier part holds.
    """
    n_users, n_items = shape
    made = PairsInMaking(
        np.bincount(user, minlength=n_users), n_items, parted=part is not None, time=None if time is None else np.int64
    )
    made.add(user, item, part, time)
    return made.finish()


def k_core(pairs: Pairs, min_user: int, min_item: int) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """The largest set of users and items in which every user has ``min_user`` items and every item ``min_item`` users.

    Returns:
        (n_users,) and (n_items,) bool: who stays.
    """
    users, items = _core(pairs.indptr, pairs.item, pairs.n_items, min_user, min_item)
    return users, items


def keep(pairs: Pairs, rows: npt.NDArray[np.bool_]) -> Pairs:
    """Only the pairs where ``rows`` (n,) is true; the id spaces stay. The arrays of ``pairs`` are overwritten."""
    return Pairs(
        _kept_indptr(pairs.indptr, rows),
        compacted(pairs.item, rows),
        pairs.n_items,
        None if pairs.part is None else compacted(pairs.part, rows),
        None if pairs.time is None else compacted(pairs.time, rows),
    )


def users_of(pairs: Pairs, rows: npt.NDArray[np.bool_], names: IdArray | None = None) -> IdArray:
    """(k,) int32: the users of the k pairs where ``rows`` (n,) is true, or what each is called in ``names`` (n_users,)."""
    names = np.arange(pairs.n_users, dtype=np.int32) if names is None else names
    return np.repeat(names, np.diff(_kept_indptr(pairs.indptr, rows)))


def rows_with(pairs: Pairs, users: npt.NDArray[np.bool_], items: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """(n,) bool: the pairs of which both the user and the item are among these, (n_users,) and (n_items,) bool."""
    return np.repeat(users, np.diff(pairs.indptr)) & items[pairs.item]


def compacted(values: npt.NDArray[Any], rows: npt.NDArray[np.bool_]) -> npt.NDArray[Any]:
    """The values where ``rows`` is true, moved to the front of their own array."""
    return values[: _compact(values, rows)]


def parted(values: npt.NDArray[Any], part: PartArray) -> list[npt.NDArray[Any]]:
    """The values of each of the three parts; those of the first are moved to the front of their own array."""
    others = [values[part == code] for code in (1, 2)]
    return [compacted(values, part == 0), *others]


@njit(cache=True, nogil=True)
def _compact(values: Any, rows: Any) -> int:  # pragma: no cover - compiled
    write = 0
    for k in range(len(rows)):
        if rows[k]:
            values[write] = values[k]
            write += 1
    return write


def choose_per_user(pairs: Pairs, valid_fraction: float, test_fraction: float, rng: np.random.Generator) -> PartArray:
    """A random share of every user's pairs for validation and test: (n,) int8 parts.

    A user with n pairs gives n · fraction of them, rounded up or down at random such that the whole comes out right
    (systematic sampling over the users); at least one pair of every user stays in train.
    """

    def quota(fraction: float) -> npt.NDArray[np.int64]:
        steps = np.floor(pairs.indptr * fraction + rng.random())
        whole: npt.NDArray[np.int64] = np.diff(steps).astype(np.int64)
        return whole

    spare = np.maximum(np.diff(pairs.indptr) - 1, 0)
    n_test = np.minimum(quota(test_fraction), spare) if test_fraction else np.zeros_like(spare)
    n_valid = np.minimum(quota(valid_fraction), spare - n_test) if valid_fraction else np.zeros_like(spare)
    key = rng.random(len(pairs), dtype=np.float32)
    part: PartArray = _choose(pairs.indptr, key, n_valid, n_test)
    return part
