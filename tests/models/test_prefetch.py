import numpy as np
from numba import njit

from freqd.models.prefetch import prefetch


@njit
def asking(table):
    total = 0.0
    for row in range(len(table)):
        prefetch(table, row + 10**9, 0)  # far outside: a hint, not a read
        total += table[row, 0]
    return total


def test_a_hint_changes_nothing_and_never_faults():
    table = np.ones((5, 3), np.float32)
    assert asking(table) == 5.0
    np.testing.assert_array_equal(table, np.ones((5, 3)))
