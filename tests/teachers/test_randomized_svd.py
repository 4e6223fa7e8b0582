"""The randomised SVD against the dense one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from freqd.numerics import threads
from freqd.teachers.randomized_svd import randomized_svd


def sloping(n: int, m: int, decay: float, seed: int = 0) -> np.ndarray:
    """A matrix with singular values decay^k."""
    rng = np.random.default_rng(seed)
    left, _ = np.linalg.qr(rng.standard_normal((n, min(n, m))))
    right, _ = np.linalg.qr(rng.standard_normal((m, min(n, m))))
    return ((left * decay ** np.arange(min(n, m))) @ right.T).astype(np.float32)


@pytest.mark.parametrize("shape", [(150, 90), (90, 150)])
def test_it_is_the_dense_svd(shape: tuple[int, int]) -> None:
    matrix = sloping(*shape, 0.9)
    found = randomized_svd(matrix, 20, seed=0)
    left, sizes, right = np.linalg.svd(matrix.astype(np.float64), full_matrices=False)
    np.testing.assert_allclose(found.sizes, sizes[:20], rtol=1e-5)
    best = (left[:, :20] * sizes[:20]) @ right[:20]
    np.testing.assert_allclose((found.left * found.sizes) @ found.right.T, best, atol=1e-4)


def test_a_sparse_matrix_is_taken_as_its_dense_one() -> None:
    matrix = sparse.random_array((200, 120), density=0.1, rng=np.random.default_rng(1), dtype=np.float32).tocsr()
    one, other = (randomized_svd(form, 15, seed=3) for form in (matrix, matrix.toarray()))
    np.testing.assert_allclose(one.sizes, other.sizes, rtol=1e-5)
    np.testing.assert_allclose(one.sizes, np.linalg.svd(matrix.toarray())[1][:15], rtol=1e-2)


@settings(max_examples=25)
@given(
    n=st.integers(1, 40),
    m=st.integers(1, 40),
    true_rank=st.integers(0, 10),
    rank=st.integers(1, 60),
    seed=st.integers(0, 99),
)
def test_of_any_rank_the_columns_are_orthonormal_and_the_rest_is_zero(
    n: int, m: int, true_rank: int, rank: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    matrix = (rng.standard_normal((n, true_rank)) @ rng.standard_normal((true_rank, m))).astype(np.float32)
    found = randomized_svd(matrix, rank, seed=seed)
    kept = min(rank, true_rank, n, m)
    there = found.sizes > 1e-4 * max(found.sizes.max(initial=0.0), 1e-30)
    assert there.sum() <= kept
    assert (np.diff(found.sizes) <= 0).all()
    for table in (found.left, found.right):
        assert table.shape[1] == rank
        gram = table.T.astype(np.float64) @ table
        np.testing.assert_allclose(gram[np.ix_(there, there)], np.eye(there.sum()), atol=1e-3)
    if rank >= kept == min(true_rank, n, m):
        np.testing.assert_allclose((found.left * found.sizes) @ found.right.T, matrix, atol=2e-3)


def test_the_number_of_threads_and_a_second_run_change_nothing() -> None:
    matrix = sparse.csr_array(sloping(3000, 150, 0.95))
    with threads.limited(1):
        alone = randomized_svd(matrix, 12, seed=5)
    with threads.limited(2):
        together = randomized_svd(matrix, 12, seed=5)
    for name in ("left", "sizes", "right"):
        np.testing.assert_array_equal(getattr(alone, name), getattr(together, name))


def test_a_rank_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="rank must be at least 1"):
        randomized_svd(np.ones((3, 3), np.float32), 0, seed=0)
