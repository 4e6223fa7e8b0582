"""The quick look at the bytes of a text file against a plain reading of them, and against the closer look."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import example, given, settings

from freqd.data import layout
from freqd.data.tally import Bytes, QuickCount, tally

PIECES = st.lists(
    st.sampled_from(["a", ",", '"', "\n", "\r\n", "\r", '""', '"b,c"', '"d\ne"', "u1,i1,2\n"]), max_size=90
)


def _blocks(text: str, size: int) -> Iterator[Bytes]:
    data = np.frombuffer(text.encode(), np.uint8)
    return (data[first : first + size] for first in range(0, len(data), size))


def _plainly(text: str) -> QuickCount:
    """Byte by byte."""
    text = text.lstrip("\r\n")
    lines = quotes = separators = 0
    width, lone, orderly, inside, before = -1, -1, True, False, ""
    closed = False
    for place, byte in enumerate(text):
        orderly &= not closed or byte in ',"\r\n'
        if before == "\r" and byte != "\n" and lone < 0:
            lone = lines
        opens = byte == '"' and not inside
        orderly &= not opens or place == 0 or before in ",\n" or closed
        closed = byte == '"' and inside
        inside ^= byte == '"'
        quotes += byte == '"'
        separators += byte == "," and not inside
        orderly &= byte != "\n" or not inside
        if byte == "\n" and not inside and width < 0:
            width = separators
        lines += byte == "\n"
        before = byte
    if text and before != "\n":
        lines += 1
        width = separators if width < 0 else width
    return QuickCount(lines, quotes, separators, max(width, 0), lone, orderly and not inside)


@given(PIECES, st.integers(1, 130))
@example(["u1,i1,2\n"] * 40, 64)
@example(["a" * 63, '"', ","], 64)
@example(["a," * 32, '"b,c"', "\n"], 128)
@settings(max_examples=400, deadline=None)
def test_the_tally_is_what_a_plain_reading_says(pieces: list[str], size: int) -> None:
    text = "".join(pieces)
    assert tally(_blocks(text, size), ",") == _plainly(text)


@given(st.lists(st.sampled_from(["u,i,t\n", 'u,"i",t\n', 'u,"i, j",t\r\n', "u,i\n", '5" x,i,t\n', "\n"]), max_size=40))
@settings(max_examples=200, deadline=None)
def test_where_the_tally_is_enough_the_closer_look_says_the_same(lines: list[str]) -> None:
    text = ("a,b,c\n" + "".join(lines)).encode()
    at_once = layout.count_records(text, ",", header=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layout, "tally", lambda blocks, separator: replace(tally(blocks, separator), orderly=False))
        assert layout.count_records(text, ",", header=True) == at_once


def test_an_empty_file_and_one_of_empty_lines() -> None:
    assert tally([], ",") == tally(_blocks("\n\r\n\n", 2), ",") == QuickCount(0, 0, 0, 0, -1, orderly=True)
