"""Spectral bands: 16 bands of users and items at D = 256, and their error against exact eigenvectors."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from benchmarks import data
from benchmarks.harness import Figure, Limits, Measured, Options, Report, main, measure
from freqd.config import GraphConfig, SpectralConfig
from freqd.embeddings import Embeddings, FloatMatrix
from freqd.graph import Graph, Graphs, build_graphs
from freqd.spectral import band_edges
from freqd.spectral.bands import resolve_bands
from freqd.spectral.chebyshev import band_coefficients

CONFIG = SpectralConfig(bands=16, method="chebyshev")
REFERENCE_COLUMNS = 16


def run(options: Options, limits: Limits) -> Report:
    """Measure."""
    dataset = data.load("gowalla", tiny=options.tiny)
    dim = 32 if options.tiny else 256
    teacher = data.features(dataset.split, dim, sweeps=1)
    graphs = build_graphs(dataset.split.train, GraphConfig())
    sides = ((graphs.user, teacher.users), (graphs.item, teacher.items))
    edges = band_edges(CONFIG.bands)
    coefficients = band_coefficients(edges, CONFIG.degree).astype(np.float32)
    found = measure(
        {
            "freqd: energies, density, all bands": lambda: _bands(graphs, teacher, edges),
            "freqd: all bands": lambda: _parts(graphs, teacher, edges),
            "scipy recurrence: all bands": lambda: [
                _plain_bands(graph.norm_adj, signal[:, :REFERENCE_COLUMNS], coefficients) for graph, signal in sides
            ],
        },
        options,
    )
    factor = dim / REFERENCE_COLUMNS
    plain = found["scipy recurrence: all bands"].scaled(
        factor, f"extrapolated: {REFERENCE_COLUMNS} of {dim} columns timed (memory too), x {factor:g}"
    )
    found[plain.name] = plain
    parts, everything = found["freqd: all bands"], found["freqd: energies, density, all bands"]
    error_of, error = _error(options)
    return Report(
        f"Spectral bands, {CONFIG.bands} bands, degree {CONFIG.degree}, D = {dim}, users and items",
        dataset.label,
        tuple(found.values()),
        (
            Figure("freqd, seconds", everything.seconds, everything.cpu_seconds, "<= 60"),
            _ratio_to_flops("freqd, all bands / its operations at the measured GEMM FLOP/s", parts, sides, limits),
            Figure(
                "scipy recurrence / freqd, all bands",
                plain.seconds / parts.seconds,
                plain.cpu_seconds / parts.cpu_seconds,
            ),
            Figure(f"largest error of a band's energy, share of all energy, {error_of}", error, None, "< 0.01"),
        ),
        (
            "Validations of the importance are rankings and are not in here. The reference works on a narrow block of "
            "columns, which suits the cache: the whole matrix at once may take longer than extrapolated.",
        ),
    )


def _bands(graphs: Graphs, teacher: Embeddings, edges: np.ndarray) -> None:
    for graph, signal in ((graphs.user, teacher.users), (graphs.item, teacher.items)):
        bands = resolve_bands(graph, edges, CONFIG)
        bands.energies(signal)
        bands.density(CONFIG.probes, np.random.default_rng(0))
    _parts(graphs, teacher, edges)


def _parts(graphs: Graphs, teacher: Embeddings, edges: np.ndarray) -> None:
    for graph, signal in ((graphs.user, teacher.users), (graphs.item, teacher.items)):
        for _ in resolve_bands(graph, edges, CONFIG).parts(signal):
            pass


def _plain_bands(norm_adj: sparse.csr_array, signal: FloatMatrix, coefficients: FloatMatrix) -> list[FloatMatrix]:
    """Σ_k c_bk T_k(L − I) X for each band b, by scipy's sparse product and numpy's sums."""
    previous, current = signal, -(norm_adj @ signal)
    bands = [row[0] * previous + row[1] * current for row in coefficients]
    for k in range(2, coefficients.shape[1]):
        previous, current = current, np.float32(-2.0) * (norm_adj @ current) - previous
        for band, row in zip(bands, coefficients, strict=True):
            band += row[k] * current
    return bands


def _ratio_to_flops(text: str, parts: Measured, sides: tuple[tuple[Graph, FloatMatrix], ...], limits: Limits) -> Figure:
    flops = 0.0
    for graph, signal in sides:
        product = 2.0 * graph.norm_adj.nnz * signal.shape[1]
        sums = 2.0 * CONFIG.bands * signal.size
        flops += CONFIG.degree * product + (CONFIG.degree + 1) * sums
    return Figure(text, parts.seconds / (flops / limits.gemm_flops))


def _error(options: Options) -> tuple[str, float]:
    """Largest |energy − exact energy| of any band as a share of ‖T‖², on CiteULike's users."""
    dataset = data.load("citeulike", tiny=options.tiny)
    teacher = data.features(dataset.split, 16 if options.tiny else 64, sweeps=1).users
    graph = build_graphs(dataset.split.train, GraphConfig()).user
    edges = band_edges(CONFIG.bands)
    exact, approximate = (
        resolve_bands(graph, edges, CONFIG.model_copy(update={"method": method})).energies(teacher)
        for method in ("exact", "chebyshev")
    )
    worst = float(np.abs(exact - approximate).max() / exact.sum())
    return f"users of {dataset.label.split(':')[0]}", worst


if __name__ == "__main__":
    main(run)
