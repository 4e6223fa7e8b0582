from __future__ import annotations

import numpy as np
import pytest

from freqd.config import GraphConfig, SpectralConfig
from freqd.graph import build_graphs
from freqd.spectral import Mastery, band_edges
from freqd.spectral.bands import column_basis, resolve_bands
from tests.oracles import dense_spectrum, grocery_like

GRAPH = build_graphs(grocery_like(5, 250, 150), GraphConfig()).user
VALUES, VECTORS = dense_spectrum(GRAPH.norm_adj)
EDGES = band_edges(6)
BAND = np.clip(np.searchsorted(EDGES, VALUES, side="right") - 1, 0, 5)
EXACT, APPROXIMATE = SpectralConfig(method="exact"), SpectralConfig(method="chebyshev", degree=200)
RNG = np.random.default_rng(0)
TEACHER = RNG.normal(size=(250, 12)).astype(np.float32)


def by_definition(student: np.ndarray) -> np.ndarray:
    """1 − ‖band(T − P(S))‖² / ‖band(T)‖² with P from an ordinary least-squares solver."""
    teacher = TEACHER.astype(np.float64)
    projector, *_ = np.linalg.lstsq(student.astype(np.float64), teacher, rcond=1e-7)
    error, wanted = band_power(teacher - student @ projector), band_power(teacher)
    return 1 - error / np.maximum(wanted, 1e-30)


def band_power(signal: np.ndarray) -> np.ndarray:
    return np.bincount(BAND, weights=((VECTORS.T @ signal.astype(np.float64)) ** 2).sum(axis=1), minlength=6)


POWER = band_power(TEACHER)
FILLED = POWER > 0


STUDENTS = {
    "columns of the teacher": TEACHER[:, :5],
    "low-pass": (VECTORS[:, :40] @ (VECTORS[:, :40].T @ TEACHER))[:, :7],
    "unrelated": RNG.normal(size=(250, 4)),
    "rank deficient": np.repeat(TEACHER[:, :2], 2, axis=1),
}


@pytest.mark.parametrize("name", STUDENTS)
def test_exact_mastery_equals_the_definition(name):
    student = STUDENTS[name].astype(np.float32)
    found = Mastery(TEACHER, GRAPH, EDGES, EXACT)(student)
    np.testing.assert_allclose(found[FILLED], by_definition(student)[FILLED], atol=1e-4)
    np.testing.assert_array_equal(found[~FILLED], 0.0)


@pytest.mark.parametrize("name", STUDENTS)
def test_chebyshev_mastery_is_near_the_definition(name):
    student = STUDENTS[name].astype(np.float32)
    kept = 0.05 * POWER.sum() < POWER
    found = Mastery(TEACHER, GRAPH, EDGES, APPROXIMATE)(student)
    np.testing.assert_allclose(found[kept], by_definition(student)[kept], atol=0.05)


@pytest.mark.parametrize("config", [EXACT, APPROXIMATE], ids=["exact", "chebyshev"])
def test_a_student_that_spans_the_teacher_masters_every_band(config):
    mixed = (TEACHER @ RNG.normal(size=(12, 12))).astype(np.float32)
    found = Mastery(TEACHER, GRAPH, EDGES, config)(mixed)
    np.testing.assert_allclose(found[FILLED], 1.0, atol=1e-3)


@pytest.mark.parametrize("config", [EXACT, APPROXIMATE], ids=["exact", "chebyshev"])
def test_a_student_without_features_masters_nothing(config):
    np.testing.assert_array_equal(Mastery(TEACHER, GRAPH, EDGES, config)(np.zeros((250, 3), np.float32)), 0.0)


def test_one_mastery_serves_many_students():
    probe = Mastery(TEACHER, GRAPH, EDGES, APPROXIMATE)
    for student in STUDENTS.values():
        student = student.astype(np.float32)
        np.testing.assert_array_equal(probe(student), Mastery(TEACHER, GRAPH, EDGES, APPROXIMATE)(student))


@pytest.mark.parametrize("config", [EXACT, APPROXIMATE])
def test_energies_that_the_analysis_has_need_not_be_computed_again(config):
    parts = resolve_bands(GRAPH, EDGES, config).parts(TEACHER)
    energies = np.array([np.vdot(TEACHER.astype(np.float64), part) for part in parts])
    student = TEACHER[:, :4] + 0.1
    given = Mastery(TEACHER, GRAPH, EDGES, config, energies)(student)
    np.testing.assert_allclose(given, Mastery(TEACHER, GRAPH, EDGES, config)(student), atol=1e-4)


def test_mastery_does_not_depend_on_scale_or_rotation_of_the_student():
    student = STUDENTS["low-pass"].astype(np.float32)
    turned = (0.01 * student @ np.linalg.qr(RNG.normal(size=(7, 7)))[0]).astype(np.float32)
    probe = Mastery(TEACHER, GRAPH, EDGES, APPROXIMATE)
    np.testing.assert_allclose(probe(student), probe(turned), atol=1e-3)


def test_column_basis_has_the_rank_of_the_matrix():
    basis = column_basis(STUDENTS["rank deficient"].astype(np.float32))
    assert basis.shape == (250, 2)
    np.testing.assert_allclose(basis.T @ basis, np.eye(2), atol=1e-6)


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="249 rows"):
        Mastery(TEACHER, GRAPH, EDGES, EXACT)(TEACHER[:249, :3])
    with pytest.raises(ValueError, match="249 rows"):
        Mastery(TEACHER[:249], GRAPH, EDGES, EXACT)
