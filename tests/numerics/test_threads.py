"""Blocks cover every row once, whatever the rows hold."""

from __future__ import annotations

import os
import subprocess
import sys
from time import sleep

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from threadpoolctl import threadpool_info

from freqd.numerics import threads
from freqd.numerics.threads import blocks_of, even_blocks, limited, run


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


@pytest.mark.parametrize("workers", [1, 2])
def test_all_pieces_are_done_in_order_and_errors_are_raised(workers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "count", lambda: workers)
    done = np.zeros(10, int)

    def work(block: slice) -> int:
        done[block] += 1
        return block.start

    assert run(work, blocks_of(10, 3)) == [0, 3, 6, 9]
    assert done.tolist() == [1] * 10

    def fail(block: slice) -> None:
        raise ValueError(f"rows from {block.start}")

    with pytest.raises(ValueError, match="rows from 0"):
        run(fail, blocks_of(10, 3))


def test_pieces_of_pieces_do_not_wait_for_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "count", lambda: 2)
    rows = blocks_of(6, 1)
    assert run(lambda outer: run(lambda inner: (outer.start, inner.start), rows)[5], rows) == [(n, 5) for n in range(6)]


def test_after_an_error_nothing_goes_on_in_the_background(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "count", lambda: 2)
    done: list[int] = []

    def work(piece: int) -> None:
        if piece == 0:
            raise ValueError("the first")
        sleep(0.2)
        done.append(piece)

    with pytest.raises(ValueError, match="the first"):
        run(work, range(20))
    before = len(done)
    sleep(0.5)
    assert len(done) == before < 19


def test_a_process_that_is_forked_off_has_threads_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "count", lambda: 2)
    assert run(abs, [-1, 2]) == [1, 2]
    child = os.fork()
    if child == 0:
        os._exit(0 if run(abs, [-1, 2]) == [1, 2] else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_a_limit_holds_for_a_while() -> None:
    def now() -> tuple[int, int, set[int]]:
        blas = {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}
        return threads.count(), torch.get_num_threads(), blas

    before = now()
    with limited(1):
        assert now() == (1, 1, {1})
    assert now() == before
    with pytest.raises(KeyError), limited(1):
        raise KeyError
    assert now() == before


def test_libraries_that_are_loaded_later_are_kept_to_one_thread_too() -> None:
    """ALS calls scipy's BLAS, which is loaded with implicit: after the first ranking, for example."""
    code = """
from threadpoolctl import threadpool_info
from freqd.numerics import threads
with threads.one_blas_thread():
    pass
import implicit.cpu.als
with threads.one_blas_thread():
    print({pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"})
"""
    several = os.environ | {"OPENBLAS_NUM_THREADS": "2", "OMP_NUM_THREADS": "2"}
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=several, check=True)
    assert found.stdout == "{1}\n"
