from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from freqd.data.pairs import choose_per_user, distinct, k_core, keep

ROWS = st.lists(
    st.tuples(st.integers(0, 6), st.integers(0, 5), st.integers(0, 2), st.integers(-5, 5)), min_size=1, max_size=60
)
Rows = list[tuple[int, int, int, int]]


def arrays(rows: Rows) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    table = np.array(rows, np.int64)
    return table[:, 0].astype(np.int32), table[:, 1].astype(np.int32), table[:, 2].astype(np.int8), table[:, 3].copy()


@given(ROWS)
@settings(max_examples=60)
def test_a_pair_counts_once_in_its_first_part_at_its_earliest_time(rows: Rows) -> None:
    user, item, part, time = arrays(rows)
    pairs, repeated, overlap = distinct(user, item, (7, 6), part=part, time=time)
    expected: dict[tuple[int, int], tuple[int, int]] = {}
    for u, i, p, t in rows:
        expected[u, i] = min(expected.get((u, i), (p, t)), (p, t))
    found = zip(pairs.users(), pairs.item, pairs.part, pairs.time, strict=True)  # type: ignore[arg-type]
    assert [((u, i), (p, t)) for u, i, p, t in found] == sorted(expected.items())
    later = [0, 0, 0]
    for u, i, p, _ in rows:
        later[p] += p != expected[u, i][0]
    assert overlap.tolist() == later
    assert repeated + overlap.sum() + len(pairs) == len(rows)
    assert overlap[0] == 0


@given(ROWS, st.integers(1, 4), st.integers(1, 4))
@settings(max_examples=60)
def test_core_is_the_fixed_point_of_peeling(rows: Rows, min_user: int, min_item: int) -> None:
    user, item, _, _ = arrays(rows)
    pairs, _, _ = distinct(user, item, (7, 6), part=None, time=None)
    left = set(zip(user.tolist(), item.tolist(), strict=True))
    while True:
        users, items = [u for u, _ in left], [i for _, i in left]
        stay = {(u, i) for u, i in left if users.count(u) >= min_user and items.count(i) >= min_item}
        if stay == left:
            break
        left = stay
    user_alive, item_alive = k_core(pairs, min_user, min_item)
    rows_kept = user_alive[pairs.users()] & item_alive[pairs.item]
    kept = keep(pairs, rows_kept)
    assert set(zip(kept.users().tolist(), kept.item.tolist(), strict=True)) == left


@given(ROWS, st.floats(0.05, 0.45), st.floats(0.05, 0.45), st.integers(0, 5))
@settings(max_examples=60)
def test_every_user_keeps_a_train_item_and_gives_its_share(rows: Rows, valid: float, test: float, seed: int) -> None:
    user, item, _, _ = arrays(rows)
    pairs, _, _ = distinct(user, item, (7, 6), part=None, time=None)
    part = choose_per_user(pairs, valid, test, np.random.default_rng(seed))
    for u in range(7):
        own = part[pairs.indptr[u] : pairs.indptr[u + 1]]
        if len(own) == 0:
            continue
        assert (own == 0).sum() >= 1
        assert (own == 2).sum() <= np.ceil(len(own) * test)
        assert (own == 1).sum() <= np.ceil(len(own) * valid)


def test_the_shares_come_out_right_and_are_random_over_items() -> None:
    n_users, n_items = 500, 7
    user = np.repeat(np.arange(n_users, dtype=np.int32), n_items)
    item = np.tile(np.arange(n_items, dtype=np.int32), n_users)
    pairs, _, _ = distinct(user, item, (n_users, n_items), part=None, time=None)
    part = choose_per_user(pairs, 0.1, 0.2, np.random.default_rng(0))
    assert abs((part == 2).sum() - 700) <= 1
    assert abs((part == 1).sum() - 350) <= 1
    by_item = np.bincount(pairs.item[part == 2], minlength=n_items)
    assert by_item.min() > 60
    assert by_item.max() < 140
