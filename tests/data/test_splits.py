from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from freqd.data.splits import iso, time_cut


@given(st.lists(st.integers(-20, 20), min_size=1, max_size=80), st.floats(0.01, 0.99))
@settings(max_examples=200)
def test_the_cut_is_the_best_that_leaves_both_sides_and_parts_no_time(times: list[int], fraction: float) -> None:
    time = np.array(times, np.int64)
    cut = time_cut(time, fraction)
    candidates = sorted(set(times))[1:]
    if not candidates:
        assert cut is None
        return
    assert cut in candidates
    wanted = min(max(round(len(times) * fraction), 1), len(times) - 1)

    def error(at: int) -> int:
        return abs(sum(t >= at for t in times) - wanted)

    assert error(cut) <= min(error(at) for at in candidates) + 1  # rounding of the wanted count


def test_distinct_times_give_the_exact_share() -> None:
    assert time_cut(np.arange(100), 0.1) == 90
    assert time_cut(np.arange(10), 0.001) == 9
    assert time_cut(np.empty(0, np.int64), 0.1) is None


def test_iso() -> None:
    assert iso(0) == "1970-01-01T00:00:00+00:00"
    assert iso(10**18) == str(10**18)
