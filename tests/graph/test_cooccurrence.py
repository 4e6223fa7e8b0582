from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from freqd.graph.cooccurrence import cooccurrence_neighbours
from freqd.graph.neighbours import symmetrised
from freqd.numerics import threads
from tests.oracles import dense_cooccurrence, grocery_like


def neighbours_matrix(incidence: np.ndarray, k: int) -> np.ndarray:
    neighbours = cooccurrence_neighbours(sparse.csr_array(incidence.astype(np.float32)), k)
    return neighbours.directed(neighbours.scores.astype(np.float32)).toarray()


def binary(draw_rows: list[list[int]], n_columns: int) -> np.ndarray:
    matrix = np.zeros((len(draw_rows), n_columns))
    for row, columns in enumerate(draw_rows):
        matrix[row, columns] = 1.0
    return matrix


incidences = st.integers(1, 8).flatmap(
    lambda m: st.lists(st.lists(st.integers(0, m - 1), max_size=m), min_size=1, max_size=12).map(
        lambda rows: binary(rows, m)
    )
)


@settings(max_examples=60)
@given(incidences, st.integers(1, 14))
def test_equals_dense_reference(incidence, k):
    np.testing.assert_array_equal(neighbours_matrix(incidence, k), dense_cooccurrence(incidence, k))


@pytest.mark.parametrize("k", [1, 5, 10, 60, 1000])
def test_equals_dense_reference_on_skewed_data_with_popular_items(k):
    incidence = grocery_like(0).matrix().toarray()
    np.testing.assert_array_equal(neighbours_matrix(incidence, k), dense_cooccurrence(incidence, k))
    np.testing.assert_array_equal(neighbours_matrix(incidence.T, k), dense_cooccurrence(incidence.T, k))


def test_trap_ties_lose_no_neighbour_and_leave_no_self_loop():
    # Four equal rows: each count ties with the row's own; "top-(K+1) without column 0" would drop a real neighbour.
    found = neighbours_matrix(np.ones((4, 2)), 3)
    np.testing.assert_array_equal(found, 2.0 * (1.0 - np.eye(4)))


def test_trap_rows_with_few_co_neighbours_are_not_filled_up():
    incidence = np.array([[1, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, 0]])
    found = neighbours_matrix(incidence, 4)
    expected = np.zeros((5, 5))
    expected[0, 1] = expected[1, 0] = 1.0
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("shared", [65_535, 65_536, 70_000])
def test_counts_beyond_short_counters_are_right(shared):
    incidence = np.ones((3, shared))
    incidence[2, 1:] = 0.0
    expected = np.array([[0, shared, 1], [shared, 0, 1], [1, 1, 0]])
    np.testing.assert_array_equal(neighbours_matrix(incidence, 2), expected)


def test_ties_go_to_the_lower_id():
    found = neighbours_matrix(np.array([[1, 1], [1, 0], [0, 1], [1, 0], [1, 1]]), 2)
    assert np.flatnonzero(found[0]).tolist() == [1, 4]


def test_same_for_any_number_of_threads():
    incidence = sparse.csr_array(grocery_like(1).matrix())
    found = []
    for workers in (1, 2):
        with threads.limited(workers):
            neighbours = cooccurrence_neighbours(incidence, 7)
            found.append(neighbours.directed(neighbours.scores.astype(np.float32)).toarray())
    np.testing.assert_array_equal(found[0], found[1])


def test_work_is_cut_into_ranges_that_cover_all_rows(monkeypatch):
    monkeypatch.setattr(threads, "count", lambda: 3)
    incidence = grocery_like(2).matrix().toarray()
    np.testing.assert_array_equal(neighbours_matrix(incidence, 4), dense_cooccurrence(incidence, 4))


def test_symmetrised_halves_an_edge_that_only_one_node_chose():
    directed = sparse.csr_array(np.array([[0, 4, 2], [4, 0, 0], [0, 6, 0]], np.float32))
    np.testing.assert_array_equal(symmetrised(directed).toarray(), [[0, 4, 1], [4, 0, 3], [1, 3, 0]])
