"""Chebyshev polynomials of the Laplacian: spectral moments of signals, and band filters, with no eigenvector.

With x = λ − 1, T_k(L − I) X follows T_0 = X, T_1 = −ÂX, T_{k+1} = −2ÂT_k − T_{k−1}: one sparse product a degree.
The ideal filter of a band has the series c_k below; cut at degree N it would ring at the band's edges (Gibbs), so
it is damped with Jackson's factors g_k. The damped filter stays in [0, 1], and instead of a jump at an edge it
rises over about ±π/N · sqrt(1 − (λ − 1)²): ±0.05 in the middle of [0, 2] for N = 64, less towards 0 and 2.
The damped filters of all bands still sum to 1 everywhere.

Sources: Weisse, Wellein, Alvermann & Fehske, "The kernel polynomial method", Rev. Mod. Phys. 78 (2006), eq. 71 (g_k);
Di Napoli, Polizzi & Saad, 2016 (c_k); Hammond, Vandergheynst & Gribonval, 2011 (filters on graphs).

Signals are float32, since a product is bound by memory (the rounding of 128 steps is below 1e-5, the damping's
error is far above it); everything that is summed over nodes is float64.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from scipy import sparse

from freqd.data.interactions import IdArray
from freqd.embeddings import FloatMatrix
from freqd.numerics import threads
from freqd.numerics.jit import njit

FloatArray = npt.NDArray[np.float64]
T = TypeVar("T")

MAX_BLOCK = 32
"""Feature columns that go through the recurrence together: wide enough for vector units, few enough for the cache."""

BLOCK_BYTES = 160 << 20
"""Memory of the blocks that are under way; where n is large the blocks get narrower."""

LINE = 16
"""Columns that share a cache line: where a block of so many is too large for the cache, a narrower one reads as many lines from memory."""

MOST_BLOCK_BYTES = 2 << 30
"""Memory that blocks may take to be as wide as a line."""

MAX_BYTES = 512 << 20
"""Memory of the bands that one recurrence serves."""

STORED_DEGREES = 8
"""Degrees that are kept before they are added to all bands by one matrix product."""

FEW = 2
"""Bands up to which each degree is added by itself, which takes less memory."""


def band_coefficients(edges: npt.ArrayLike, degree: int) -> FloatArray:
    """Jackson-damped Chebyshev coefficients of the bands' indicators, (bands, degree + 1) float64.

    For the band [a, b): c_0 = (φ_a − φ_b)/π, c_k = 2 (sin kφ_a − sin kφ_b)/(kπ) with φ_t = arccos(t − 1), times
    g_k = [(N − k + 1) cos(πk/(N + 1)) + sin(πk/(N + 1)) cot(π/(N + 1))]/(N + 1), N = degree + 1.
    """
    angle = np.arccos(np.clip(np.asarray(edges, np.float64) - 1.0, -1.0, 1.0))[:, None]
    k = np.arange(degree + 1)
    integral = np.concatenate([angle, np.sin(k[1:] * angle) * (2.0 / k[1:])], axis=1) / np.pi
    count = degree + 1
    turn = np.pi / (count + 1)
    jackson = ((count - k + 1) * np.cos(k * turn) + np.sin(k * turn) / np.tan(turn)) / (count + 1)
    coefficients: FloatArray = (integral[:-1] - integral[1:]) * jackson
    return coefficients


def spectral_moments(norm_adj: sparse.csr_array, signal: FloatMatrix, degree: int) -> FloatArray:
    """μ_k = Σ_columns xᵀ T_k(L − I) x for k = 0 ... 2·degree, float64, from ``degree`` sparse products.

    2 T_j T_k = T_{j+k} + T_{|j−k|} gives two moments a step: μ_2k = 2⟨t_k, t_k⟩ − μ_0, μ_2k+1 = 2⟨t_k+1, t_k⟩ − μ_1.
    For a polynomial h of the same degree, Σ_k c_k μ_k = ⟨X, h(L) X⟩.

    Cost: O(degree · nnz · d) time, O(n) memory beyond ``signal`` on each of numba's threads.

    Args:
        norm_adj: Â, (n, n) symmetric float32 CSR.
        signal: X, (n, d) float32.
        degree: at least 1.
    """

    def block_moments(columns: slice) -> FloatArray:
        moments = _no_moments(degree, columns)
        for k, (_, squared, cross) in enumerate(_recurrence(norm_adj, signal[:, columns], degree)):
            _note(moments, k, squared, cross)
        return moments

    return _total(_over_blocks(block_moments, signal, columns_held=2))


def _recurrence(
    norm_adj: sparse.csr_array, block: FloatMatrix, degree: int
) -> Iterator[tuple[FloatMatrix, FloatArray, FloatArray]]:
    """t_k = T_k(L − I) X with ⟨t_k, t_k⟩ and ⟨t_k, t_k−1⟩ by column, for k = 0 ... degree; each is overwritten by the next but one."""
    previous = np.array(block, order="C")  # a copy: it is overwritten
    yield previous, _squares(previous), np.zeros(previous.shape[1])
    current, factor = np.empty_like(previous), 1.0
    for _ in range(degree):
        if factor == 1.0:
            squared, cross = _step(*_parts(norm_adj), np.float32(1.0), previous, previous, current)
        else:
            squared, cross = _step(*_parts(norm_adj), np.float32(2.0), current, previous, previous)
            previous, current = current, previous
        factor = 2.0
        yield current, squared, cross


def _squares(block: FloatMatrix) -> FloatArray:
    squares: FloatArray = np.einsum("nd,nd->d", block, block, dtype=np.float64)
    return squares


def _no_moments(degree: int, columns: slice) -> FloatArray:
    """(2·degree + 1, columns): kept by column, so that their sum is the same however columns are put into blocks."""
    return np.zeros((2 * degree + 1, columns.stop - columns.start))


def _total(blocks: list[FloatArray]) -> FloatArray:
    """The sum over all columns."""
    total: FloatArray = np.concatenate(blocks, axis=1).sum(axis=1)
    return total


def _note(moments: FloatArray, k: int, squared: FloatArray, cross: FloatArray) -> None:
    """The moments that t_k adds to those of t_0 ... t_k−1."""
    if k == 0:
        moments[0] = squared
        return
    moments[2 * k - 1] = cross if k == 1 else 2.0 * cross - moments[1]
    moments[2 * k] = 2.0 * squared - moments[0]


def band_forms(
    norm_adj: sparse.csr_array, basis: FloatMatrix, other: FloatMatrix, coefficients: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Bᵀ h_b(L) B, (bands, d, d), and ⟨h_b(L) B, Y⟩, (bands,), by one recurrence and without the parts themselves; float64.

    Cost: O(degree · (nnz + n · d) · d) time, O(n) memory on each of numba's threads.

    Args:
        norm_adj: Â, (n, n) symmetric float32 CSR.
        basis: B, (n, d) float32.
        other: Y, (n, d) float32.
        coefficients: (bands, degree + 1) of the filters.
    """
    degree = coefficients.shape[1] - 1

    def forms(columns: slice) -> tuple[slice, FloatArray, FloatArray]:
        width = columns.stop - columns.start
        own, cross = np.zeros((degree + 1, width, basis.shape[1])), np.zeros(degree + 1)
        for k, (term, _, _) in enumerate(_recurrence(norm_adj, basis[:, columns], degree)):
            own[k] = term.T @ basis
            cross[k] = np.einsum("nd,nd->", term, other[:, columns], dtype=np.float64)
        return columns, np.einsum("bk,kij->bij", coefficients, own), coefficients @ cross

    own = np.zeros((len(coefficients), basis.shape[1], basis.shape[1]))
    cross = np.zeros(len(coefficients))
    for columns, own_part, cross_part in _over_blocks(forms, basis, columns_held=2):
        own[:, columns] = own_part
        cross += cross_part
    return own, cross


def apply_bands(
    norm_adj: sparse.csr_array, signal: FloatMatrix, coefficients: FloatArray, *, max_bytes: int = MAX_BYTES
) -> Iterator[FloatMatrix]:
    """h_b(L) X for each row b of ``coefficients``, in their order, each (n, d) float32.

    One recurrence serves as many bands as fit into ``max_bytes``; with room for fewer it runs again for the next ones.

    Cost: O(degree · (nnz + bands · n) · d) time a run, ``max_bytes`` memory plus O(n) on each of numba's threads.
    """
    return split_bands(norm_adj, signal, coefficients, max_bytes=max_bytes)[1]


def split_bands(
    norm_adj: sparse.csr_array,
    signal: FloatMatrix,
    coefficients: FloatArray,
    *,
    rows: IdArray | None = None,
    max_bytes: int = MAX_BYTES,
) -> tuple[FloatArray, Iterator[FloatMatrix]]:
    """The moments of ``spectral_moments``, of the coefficients' degree, and the parts of ``apply_bands``, by one recurrence.

    With ``rows`` (k,) of the parts only these, (k, d) each: one recurrence then serves all bands of any signal.
    """
    if rows is not None:
        moments, parts = _rows_of_parts(norm_adj, signal, coefficients, rows)
        return moments, _handed_over(parts)
    together = max(1, int(max_bytes // max(signal.nbytes, 1)))
    moments, parts = _apply_together(norm_adj, signal, coefficients[:together])

    def each() -> Iterator[FloatMatrix]:
        yield from _handed_over(parts)
        for first in range(together, len(coefficients), together):
            yield from _handed_over(_apply_together(norm_adj, signal, coefficients[first : first + together])[1])

    return moments, each()


def _handed_over(parts: list[FloatMatrix]) -> Iterator[FloatMatrix]:
    """One after the other, each kept by nobody but who takes it."""
    while parts:
        yield parts.pop(0)


def _rows_of_parts(
    norm_adj: sparse.csr_array, signal: FloatMatrix, coefficients: FloatArray, rows: IdArray
) -> tuple[FloatArray, list[FloatMatrix]]:
    """The moments, and some rows of the parts of all the coefficients."""
    n_bands, n_degrees = coefficients.shape
    results = [np.empty((len(rows), signal.shape[1]), np.float32) for _ in range(n_bands)]
    weights = coefficients.astype(np.float32)

    def fill(columns: slice) -> FloatArray:
        terms = np.empty((n_degrees, len(rows), columns.stop - columns.start), np.float32)
        moments = _no_moments(n_degrees - 1, columns)
        for k, (term, squared, cross) in enumerate(_recurrence(norm_adj, signal[:, columns], n_degrees - 1)):
            terms[k] = term[rows]
            _note(moments, k, squared, cross)
        for result, band in zip(results, weights @ terms.reshape(n_degrees, -1), strict=True):
            result[:, columns] = band.reshape(terms.shape[1:])
        return moments

    return _total(_over_blocks(fill, signal, columns_held=2)), results


def _apply_together(
    norm_adj: sparse.csr_array, signal: FloatMatrix, coefficients: FloatArray
) -> tuple[FloatArray, list[FloatMatrix]]:
    """The moments, and the parts of all the coefficients."""
    n_bands, n_degrees = coefficients.shape
    results = [np.zeros_like(signal, order="C") for _ in range(n_bands)]
    weights = coefficients.astype(np.float32)

    def fill_few(columns: slice) -> FloatArray:
        moments = _no_moments(n_degrees - 1, columns)
        share = np.empty((len(signal), columns.stop - columns.start), np.float32)
        for k, (term, squared, cross) in enumerate(_recurrence(norm_adj, signal[:, columns], n_degrees - 1)):
            _note(moments, k, squared, cross)
            for result, of_band in zip(results, weights, strict=True):
                result[:, columns] += np.multiply(term, of_band[k], out=share)
        return moments

    def fill(columns: slice) -> FloatArray:
        width = columns.stop - columns.start
        shape = (len(signal), width)
        total = np.zeros((n_bands, shape[0] * width), np.float32)
        stored = np.empty((STORED_DEGREES, *shape), np.float32)
        moments = _no_moments(n_degrees - 1, columns)
        for k in range(n_degrees):
            slot = k % STORED_DEGREES
            if k == 0:
                stored[0] = signal[:, columns]
                squared, cross = _squares(stored[0]), np.zeros(width)
            else:
                current = stored[(k - 1) % STORED_DEGREES]
                # the recurrence reads the last two; for slots 0 and 1 they lie at the end of what was kept before
                factor, before = (1.0, current) if k == 1 else (2.0, stored[slot - 2])
                squared, cross = _step(*_parts(norm_adj), np.float32(factor), current, before, stored[slot])
            _note(moments, k, squared, cross)
            if slot == STORED_DEGREES - 1 or k == n_degrees - 1:
                total += weights[:, k - slot : k + 1] @ stored[: slot + 1].reshape(slot + 1, -1)
        for result, band in zip(results, total, strict=True):
            result[:, columns] = band.reshape(shape)
        return moments

    if n_bands <= FEW:
        blocks = _over_blocks(fill_few, signal, columns_held=3)
    else:
        blocks = _over_blocks(fill, signal, columns_held=STORED_DEGREES + 2 * n_bands)
    return _total(blocks), results


def _over_blocks(work: Callable[[slice], T], signal: FloatMatrix, columns_held: int) -> list[T]:
    """Run ``work`` for each block of columns on numba's threads; results by block.

    ``columns_held`` is how many columns of length n the work keeps for each column of the block.
    """
    n, n_columns = signal.shape
    share = -(-n_columns // threads.count())  # a block for each thread, if there are columns for it
    a_column = max(1, 4 * n * columns_held * threads.count())
    fitting = BLOCK_BYTES // a_column
    if fitting < LINE:
        fitting = min(LINE, MOST_BLOCK_BYTES // a_column)
    width = int(np.clip(min(fitting - fitting % 8, share + -share % 4), 4, MAX_BLOCK))  # whole vectors
    with threads.one_blas_thread():
        return threads.run(work, threads.blocks_of(n_columns, width))


def _parts(norm_adj: sparse.csr_array) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32], npt.NDArray[np.float32]]:
    return norm_adj.indptr, norm_adj.indices, norm_adj.data


@njit(cache=True, nogil=True, fastmath={"contract", "reassoc", "nsz"})
def _step(
    indptr: npt.NDArray[np.int32],
    indices: npt.NDArray[np.int32],
    data: npt.NDArray[np.float32],
    factor: np.float32,
    current: npt.NDArray[np.float32],
    previous: npt.NDArray[np.float32],
    out: npt.NDArray[np.float32],
) -> tuple[FloatArray, FloatArray]:
    """out = −factor·Â·current − (factor − 1)·previous; returns ⟨out, out⟩ and ⟨out, current⟩ by column.

    ``out`` may be ``previous``: a row is read before it is written, and no other row reads it.
    """
    width = current.shape[1]
    keep = factor - np.float32(1.0)
    row_sum = np.empty(width, np.float32)
    squared = np.zeros(width, np.float64)
    cross = np.zeros(width, np.float64)
    for row in range(indptr.shape[0] - 1):
        row_sum[:] = np.float32(0.0)
        for p in range(indptr[row], indptr[row + 1]):
            weight = -factor * data[p]
            column = indices[p]
            for c in range(width):
                row_sum[c] += weight * current[column, c]
        for c in range(width):
            value = row_sum[c] - keep * previous[row, c]
            out[row, c] = value
            squared[c] += value * value
            cross[c] += value * current[row, c]
    return squared, cross
