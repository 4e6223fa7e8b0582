"""Frequency bands: where the energy of a feature matrix lies, its part in each band, and what a student has learnt.

Both resolvers answer the same questions for the same edges; ``ExactBands`` from all eigenpairs, ``ChebyshevBands``
from sparse products only. Energies are quadratic forms ⟨X, h_b(L) X⟩ and not ‖h_b(L) X‖²: for the ideal filter of a
band, which is a projector, the two are the same, while for damped filters only the former sum to ‖X‖² over the bands.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Literal, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
from scipy import linalg

from freqd.config import SpectralConfig
from freqd.data.interactions import IdArray
from freqd.embeddings import FloatMatrix
from freqd.graph import Graph
from freqd.spectral.chebyshev import apply_bands, band_coefficients, band_forms, spectral_moments, split_bands
from freqd.spectral.density import stochastic_density
from freqd.spectral.eigen import Eigenpairs, eigenpairs

FloatArray = npt.NDArray[np.float64]
Method = Literal["exact", "chebyshev"]

NO_ENERGY = 1e-6
"""A band with less than this share of the teacher's energy holds nothing that a student could master."""


def band_edges(bands: int) -> FloatArray:
    """Edges of ``bands`` bands on [0, 2], (bands + 1,) float64: equal width, and none at λ = 1.

    Equal width, not equal mass: the edges are then the same for users and items, for all data sets and for next
    week's graph, so that energies can be compared; the share of the eigenvalues in a band is reported beside them.
    Equal mass would crowd the edges around λ = 1, where a kNN graph has most eigenvalues, closer together than a
    polynomial can tell apart, and leave the low end, where most energy lies, to a single band.

    λ = 1 itself is an eigenvalue many times over (each isolated node, each pair of nodes with equal neighbours), so
    an edge there would split it by rounding. An even number of bands is therefore shifted by half a band: the first
    band is half as wide and the last one and a half times. 8 bands: 0, 1/8, 3/8, 5/8, 7/8, 9/8, 11/8, 13/8, 2.

    Raises:
        ValueError: fewer than two bands.
    """
    if bands < 2:
        raise ValueError(f"bands = {bands}: at least 2 are needed to tell frequencies apart")
    shift = 0.5 if bands % 2 == 0 else 0.0
    inner = (np.arange(1, bands) - shift) * (2.0 / bands)
    return np.concatenate([[0.0], inner, [2.0]])


class BandSplit(NamedTuple):
    """A signal by bands.

    Attributes:
        energies: as ``Bands.energies``.
        part_energies: as ``Bands.part_energies``.
        parts: as ``Bands.parts``, perhaps of some rows only.
    """

    energies: FloatArray
    part_energies: FloatArray
    parts: Iterator[FloatMatrix]


class Bands(Protocol):
    """What can be asked about the bands of one graph."""

    method: Method
    edges: FloatArray

    def energies(self, signal: FloatMatrix) -> FloatArray:
        """⟨X, h_b(L) X⟩ for each band b, (bands,) float64; their sum is ‖X‖²."""
        ...

    def parts(self, signal: FloatMatrix) -> Iterator[FloatMatrix]:
        """h_b(L) X for each band b in order, (n, d) float32 each; their sum is X."""
        ...

    def split(self, signal: FloatMatrix, rows: IdArray | None = None) -> BandSplit:
        """``energies``, ``part_energies`` and ``parts``, in the time of the latter; with ``rows`` (k,) only these of the parts."""
        ...

    def forms(self, basis: FloatMatrix, other: FloatMatrix) -> tuple[FloatArray, FloatArray]:
        """Bᵀ part_b(B), (bands, d, d) float64, and ⟨part_b(B), Y⟩, (bands,), for bases and others of (n, d)."""
        ...

    def part_energies(self, signal: FloatMatrix) -> FloatArray:
        """⟨X, part_b⟩ for each band b: like ``energies``, but consistent with ``parts`` where these are less sharp."""
        ...

    def density(self, probes: int, rng: np.random.Generator) -> FloatArray:
        """Share of the eigenvalues in each band, (bands,) float64; their sum is 1."""
        ...


class ExactBands:
    """Bands from all eigenpairs: h_b is 1 on [edge_b, edge_b+1) and 0 elsewhere (the last band includes 2)."""

    method: Method = "exact"

    def __init__(self, pairs: Eigenpairs, edges: FloatArray) -> None:
        self.edges = edges
        self._vectors = pairs.vectors
        # Â is float32: without slack, rounding would scatter a multiple eigenvalue to both sides of an edge it lies on.
        cuts = np.searchsorted(pairs.values, edges[1:-1] - 1e-6)
        self._limits = np.concatenate([[0], cuts, [len(pairs.values)]])

    def energies(self, signal: FloatMatrix) -> FloatArray:
        """⟨X, h_b(L) X⟩; O(n² d)."""
        coefficients = self._vectors.T @ signal
        power = np.concatenate([[0.0], np.cumsum(np.einsum("kd,kd->k", coefficients, coefficients))])
        energies: FloatArray = np.diff(power[self._limits])
        return energies

    def parts(self, signal: FloatMatrix) -> Iterator[FloatMatrix]:
        """Q_b Q_bᵀ X; O(n² d)."""
        for first, last in pairwise(self._limits):
            vectors = self._vectors[:, first:last]
            yield (vectors @ (vectors.T @ signal)).astype(np.float32)

    def split(self, signal: FloatMatrix, rows: IdArray | None = None) -> BandSplit:
        """All of it; nothing is shared."""
        energies, parts = self.energies(signal), self.parts(signal)
        return BandSplit(energies, energies, parts if rows is None else (part[rows] for part in parts))

    def forms(self, basis: FloatMatrix, other: FloatMatrix) -> tuple[FloatArray, FloatArray]:
        """Of the parts themselves."""
        parts = list(self.parts(basis))
        own = np.stack([part.T @ basis for part in parts]).astype(np.float64)
        return own, np.array([np.einsum("nk,nk->", part, other, dtype=np.float64) for part in parts])

    def part_energies(self, signal: FloatMatrix) -> FloatArray:
        """The same as ``energies``: nothing is smeared."""
        return self.energies(signal)

    def density(self, probes: int, rng: np.random.Generator) -> FloatArray:
        """Counted; neither argument is needed."""
        density: FloatArray = np.diff(self._limits) / self._limits[-1]
        return density


class ChebyshevBands:
    """Bands from Jackson-damped Chebyshev series of ``degree``; energies and density from twice that degree.

    An edge is smeared over about ±π/degree · sqrt(1 − (λ − 1)²) (energies: half of that). What that costs, measured
    against ``ExactBands`` at degree 64 on co-occurrence graphs of a thousand nodes, as the largest error of any band:
    ``energies`` .3 % of ‖X‖² with 8 bands and .9 % with 16; ``part_energies`` .7 % and 1.8 %. A part itself differs
    from the exact one by up to 18 % of ‖X‖ (13 % at degree 128), all of it at frequencies next to an edge, which two
    neighbouring bands share instead of one having them whole.
    """

    method: Method = "chebyshev"

    def __init__(self, graph: Graph, edges: FloatArray, degree: int) -> None:
        self.edges = edges
        self._norm_adj = graph.norm_adj
        self._degree = degree

    def energies(self, signal: FloatMatrix) -> FloatArray:
        """⟨X, h_b(L) X⟩ of degree 2·degree; O(degree · nnz · d)."""
        moments = spectral_moments(self._norm_adj, signal, self._degree)
        energies: FloatArray = band_coefficients(self.edges, 2 * self._degree) @ moments
        return energies

    def parts(self, signal: FloatMatrix) -> Iterator[FloatMatrix]:
        """h_b(L) X; O(degree · (nnz + bands · n) · d)."""
        return apply_bands(self._norm_adj, signal, band_coefficients(self.edges, self._degree))

    def split(self, signal: FloatMatrix, rows: IdArray | None = None) -> BandSplit:
        """All of it by one recurrence, where memory allows all parts or they are of some rows."""
        coefficients = band_coefficients(self.edges, self._degree)
        moments, parts = split_bands(self._norm_adj, signal, coefficients, rows=rows)
        energies = band_coefficients(self.edges, 2 * self._degree) @ moments
        return BandSplit(energies, coefficients @ moments[: self._degree + 1], parts)

    def forms(self, basis: FloatMatrix, other: FloatMatrix) -> tuple[FloatArray, FloatArray]:
        """By one recurrence; O(degree · (nnz + n · d) · d)."""
        return band_forms(self._norm_adj, basis, other, band_coefficients(self.edges, self._degree))

    def part_energies(self, signal: FloatMatrix) -> FloatArray:
        """⟨X, h_b(L) X⟩ with the filters of ``parts``; half the time of ``energies``."""
        coefficients = band_coefficients(self.edges, self._degree)
        moments = spectral_moments(self._norm_adj, signal, (self._degree + 1) // 2)
        energies: FloatArray = coefficients @ moments[: self._degree + 1]
        return energies

    def density(self, probes: int, rng: np.random.Generator) -> FloatArray:
        """Estimated from ``probes`` random vectors."""
        return stochastic_density(self._norm_adj, self.edges, degree=self._degree, probes=probes, rng=rng)


def resolve_bands(graph: Graph, edges: FloatArray, config: SpectralConfig) -> Bands:
    """The bands of ``graph`` by ``config.method``; auto: exact up to ``config.exact_below`` nodes."""
    if config.method == "exact" or (config.method == "auto" and graph.n <= config.exact_below):
        return ExactBands(eigenpairs(graph), edges)
    return ChebyshevBands(graph, edges, config.degree)


class Mastery:
    """How much of a teacher's features a student can express, band by band.

    mastery_b = 1 − ⟨E, h_b(L) E⟩ / ⟨T, h_b(L) T⟩ with E = T − P(S), and P the least-squares linear projector:
    P(S) = B BᵀT for an orthonormal basis B of the columns of S. Since h_b(L) E = h_b(L) T − (h_b(L) B) BᵀT,
    each student costs filters in d dimensions only, not in D.

    Args:
        teacher: T, (n, D) float32.
        graph: of the same side.
        edges: of the bands, as ``Spectrum.edges``.
        energies: ⟨T, h_b(L) T⟩ where the analysis has them, as ``SideSpectrum.part_energies``; else they are computed here.
    """

    def __init__(
        self,
        teacher: FloatMatrix,
        graph: Graph,
        edges: FloatArray,
        config: SpectralConfig,
        energies: FloatArray | None = None,
    ) -> None:
        if len(teacher) != graph.n:
            raise ValueError(f"features of {len(teacher)} rows do not fit a graph of {graph.n} nodes")
        self._teacher = teacher
        self._bands = resolve_bands(graph, edges, config)
        self._energies = self._bands.part_energies(teacher) if energies is None else energies

    def __call__(self, student: FloatMatrix) -> FloatArray:
        """Mastery of each band, (bands,) float64.

        At most 1; below 0 where P(S), which is fitted to all bands together, adds more error than the band has
        energy; 0 where the teacher has no energy to speak of.

        Args:
            student: S, (n, d) float32.

        Raises:
            ValueError: another number of rows than the teacher has.
        """
        if len(student) != len(self._teacher):
            raise ValueError(f"a student of {len(student)} rows does not fit a teacher of {len(self._teacher)} rows")
        basis = column_basis(student)
        weights = (basis.T @ self._teacher).astype(np.float64)
        seen = self._teacher @ weights.T.astype(np.float32)  # (n, rank): ⟨weights, partᵀT⟩ = ⟨part, T weightsᵀ⟩
        forms, cross = self._bands.forms(basis, seen)
        own = np.einsum("rd,brs,sd->b", weights, forms, weights, optimize=True)
        there = self._energies > NO_ENERGY * self._energies.sum()
        result = np.zeros(len(self._energies))
        result[there] = (2.0 * cross - own)[there] / self._energies[there]
        return result


def column_basis(matrix: FloatMatrix) -> FloatMatrix:
    """Orthonormal basis of the column space, (n, rank) float32: a thin QR and the SVD of its small factor."""
    q, r = linalg.qr(matrix.astype(np.float64), mode="economic", check_finite=False)
    left, singular, _ = linalg.svd(r, full_matrices=False)
    rank = int((singular > np.finfo(np.float32).eps * max(matrix.shape) ** 0.5 * singular.max(initial=0.0)).sum())
    basis: FloatMatrix = (q @ left[:, :rank]).astype(np.float32)
    return basis
