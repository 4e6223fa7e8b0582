import numpy as np
import pytest
from numba.core.errors import NumbaError

from freqd.numerics.jit import kernel, prefetch, prefetch_to_write


@kernel(cache=False)
def total(table, line):
    value = 0.0
    for row in range(len(table)):
        prefetch(table, (row + 10**9, 0))  # far outside: a hint, not a read
        prefetch_to_write(line, np.int32(-(10**9)))
        value += table[row, 0]
    return value


def test_a_hint_changes_nothing_and_never_faults():
    table, line = np.ones((5, 3), np.float32), np.ones(4, np.uint16)
    assert total(table, line) == 5.0
    np.testing.assert_array_equal(table, np.ones((5, 3)))
    np.testing.assert_array_equal(line, np.ones(4))


def test_a_kernel_that_makes_an_array_is_refused():
    @kernel(cache=False)
    def makes(n):
        return np.empty(n)

    with pytest.raises(NumbaError, match="passed into the function as argument"):
        makes(3)
