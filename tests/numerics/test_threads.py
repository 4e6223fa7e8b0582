"""Blocks cover every row once, whatever the rows hold."""

from __future__ import annotations

import numba
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from freqd.numerics.threads import blocks_of, even_blocks, for_blocks


@given(lengths=st.lists(st.integers(0, 50), min_size=1, max_size=40), count=st.integers(1, 20))
def test_even_blocks_cover_all_rows_in_order_and_are_even(lengths: list[int], count: int) -> None:
    indptr = np.concatenate([[0], np.cumsum(lengths)])
    blocks = even_blocks(indptr, count)
    assert [row for block in blocks for row in range(block.start, block.stop)] == list(range(len(lengths)))
    assert len(blocks) <= count
    fair = indptr[-1] / count + max(lengths)
    assert all(indptr[block.stop] - indptr[block.start] <= fair for block in blocks)


@given(n_rows=st.integers(0, 40), size=st.integers(1, 50))
def test_blocks_of_a_size_cover_all_rows(n_rows: int, size: int) -> None:
    assert [row for block in blocks_of(n_rows, size) for row in range(block.start, block.stop)] == list(range(n_rows))


@pytest.mark.parametrize("threads", [1, 2])
def test_all_blocks_are_done_and_errors_are_raised(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numba, "get_num_threads", lambda: threads)
    done = np.zeros(10, int)

    def work(block: slice) -> None:
        done[block] += 1

    for_blocks(blocks_of(10, 3), work)
    assert done.tolist() == [1] * 10

    def fail(block: slice) -> None:
        raise ValueError(f"rows from {block.start}")

    with pytest.raises(ValueError, match="rows from 0"):
        for_blocks(blocks_of(10, 3), fail)
