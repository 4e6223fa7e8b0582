"""One quick pass over the bytes of a text file: enough where it is in order, else ``freqd.data.layout`` reads it closely.

64 bytes at a time, as the bits of words: which of them are quotes, separators, line ends, and by the exclusive or of all
quotes before them which lie within quotes (Langdale & Lemire, Parsing Gigabytes of JSON per Second, 2019).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from freqd.numerics.jit import njit

Bytes = npt.NDArray[np.uint8]
_NEWLINE, _RETURN, _QUOTE = 10, 13, 34
_NONE = 256
"""As a separator: one that no byte is."""


@dataclass(frozen=True)
class QuickCount:
    """What the bytes of a text file say at first sight.

    Attributes:
        lines: how many there are from the first one that is not empty, the last one with or without its line end.
        quotes: how many there are.
        separators: outside of quotes.
        width: separators of the first line.
        lone_return: the line (from 0) of the first carriage return that no line feed follows; -1 if there is none.
        orderly: every quote opens or closes a field as RFC 4180 says, and no line end lies within quotes.
    """

    lines: int
    quotes: int
    separators: int
    width: int
    lone_return: int
    orderly: bool


def tally(blocks: Iterable[Bytes], separator: str) -> QuickCount:
    """Time O(bytes), about that of reading them.

    Args:
        blocks: the bytes of the file, in order.
        separator: of one character; empty: fields are not recognised.
    """
    state = np.zeros(_STATE, np.int64)
    state[[_WIDTH, _LONE]] = -1
    state[_STARTS] = 1
    last = _NEWLINE
    for block in blocks:
        if last == _NEWLINE and not state[_LINES]:  # still before the first line
            kept = np.flatnonzero((block != _NEWLINE) & (block != _RETURN))
            if not len(kept):
                continue
            block = block[int(kept[0]) :]
        whole = block if block.flags.aligned and block.ctypes.data % 8 == 0 else block.copy()
        _tally(whole[: len(whole) // 64 * 64].view(np.uint64), whole, ord(separator) if separator else _NONE, state)
        last = int(block[-1])
    open_line = last != _NEWLINE
    return QuickCount(
        int(state[_LINES]) + open_line,
        int(state[_QUOTES]),
        int(state[_SEPARATORS]),
        int(state[_SEPARATORS] if open_line and state[_WIDTH] < 0 else max(state[_WIDTH], 0)),
        int(state[_LONE]),
        not (state[_AMISS] or state[_INSIDE]),
    )


_STATE = 10
(
    _LINES, _QUOTES, _SEPARATORS, _WIDTH, _LONE, _AMISS, _INSIDE, _STARTS, _CLOSED, _RETURNED,
) = range(_STATE)  # fmt: skip
_ONES, _LOW, _HIGH = np.uint64(0x0101010101010101), np.uint64(0x7F7F7F7F7F7F7F7F), np.uint64(0x8080808080808080)
_GATHER = np.uint64(0x0102040810204080)
_1, _2, _4, _7, _8, _16, _32, _56, _63 = (np.uint64(k) for k in (1, 2, 4, 7, 8, 16, 32, 56, 63))
_PAIRS, _FOURS, _EIGHTS = (np.uint64(m) for m in (0x5555555555555555, 0x3333333333333333, 0x0F0F0F0F0F0F0F0F))
_0 = np.uint64(0)


@njit(cache=True, nogil=True)
def _equal(word: Any, wanted: Any) -> Any:  # pragma: no cover - compiled
    """One bit for each of eight bytes: whether it is the wanted one (given eight times)."""
    difference = word ^ wanted
    zero = ~(((difference & _LOW) + _LOW) | difference | _LOW)
    return ((zero >> _7) * _GATHER) >> _56


@njit(cache=True, nogil=True)
def _count(bits: Any) -> Any:  # pragma: no cover - compiled
    bits = bits - ((bits >> _1) & _PAIRS)
    bits = (bits & _FOURS) + ((bits >> _2) & _FOURS)
    return np.int64((((bits + (bits >> _4)) & _EIGHTS) * _ONES) >> _56)


@njit(cache=True, nogil=True)
def _tally(words: Any, data: Any, separator: int, state: Any) -> None:  # pragma: no cover - compiled
    inside, starts, closed, returned = (
        np.uint64(state[_INSIDE]), np.uint64(state[_STARTS]), np.uint64(state[_CLOSED]), np.uint64(state[_RETURNED]),
    )  # fmt: skip
    quote, newline, back = np.uint64(_QUOTE) * _ONES, np.uint64(_NEWLINE) * _ONES, np.uint64(_RETURN) * _ONES
    between = np.uint64(separator) * _ONES
    n = len(data)
    for first in range(0, n, 64):
        Q, N, S, R = _0, _0, _0, _0
        size = min(64, n - first)
        if size == 64:
            for k in range(8):
                word, place = words[first // 8 + k], np.uint64(8 * k)
                Q |= _equal(word, quote) << place
                N |= _equal(word, newline) << place
                S |= _equal(word, between) << place
                R |= _equal(word, back) << place
            if separator == _NONE:
                S = _0
        else:
            for k in range(size):
                byte, bit = data[first + k], _1 << np.uint64(k)
                Q |= bit if byte == _QUOTE else _0
                N |= bit if byte == _NEWLINE else _0
                S |= bit if byte == separator else _0
                R |= bit if byte == _RETURN else _0
        there = ~_0 if size == 64 else (_1 << np.uint64(size)) - _1
        end = np.uint64(size - 1)
        within = Q ^ (Q << _1)
        within ^= within << _2
        within ^= within << _4
        within ^= within << _8
        within ^= within << _16
        within ^= within << _32
        within ^= _0 - inside
        begin, close = (N | S) & ~within, Q & ~within
        amiss = (Q & within & ~(((begin | close) << _1) | starts | closed)) | (N & within)
        amiss |= ((close << _1) | closed) & ~(N | S | R | Q)
        alone = ((R << _1) | returned) & ~N & there
        if amiss & there:
            state[_AMISS] = 1
        if alone and state[_LONE] < 0:
            state[_LONE] = state[_LINES] + _count(N & ((alone & (_0 - alone)) - _1))
        if state[_WIDTH] < 0 and N & ~within:
            line_end = N & ~within
            state[_WIDTH] = state[_SEPARATORS] + _count(S & ~within & ((line_end & (_0 - line_end)) - _1))
        state[_LINES] += _count(N)
        state[_QUOTES] += _count(Q)
        state[_SEPARATORS] += _count(S & ~within)
        inside, starts = (within >> end) & _1, (begin >> end) & _1
        closed, returned = (close >> end) & _1, (R >> end) & _1
    state[_INSIDE], state[_STARTS], state[_CLOSED], state[_RETURNED] = (
        np.int64(inside), np.int64(starts), np.int64(closed), np.int64(returned),
    )  # fmt: skip
