"""Figures are sound PNGs, hold up on anything, and leave no trace in matplotlib's global state."""

from __future__ import annotations

import io
import subprocess
import sys
import threading
from typing import Any

import numpy as np
import pytest
from PIL import Image

from freqd.report.canvas import shorten, spread
from freqd.report.palette import ROLES, STUDENT, TEACHER
from freqd.report.run.figures import FIGURES, all_figures
from freqd.report.run.figures_quality import whisker
from freqd.report.run.spectrum_sentences import filter_label
from freqd.report.run_result import RunResult
from freqd.report.run_result_parts import ChosenFilter

NAMES = {
    "quality_size", "quality", "spectrum_user", "spectrum_item", "learning", "mastery", "gains_users", "gains_items", "differences_users",
    "differences_items", "costs_stages", "costs_models",
}  # fmt: skip


def check_png(data: bytes) -> None:
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        assert image.format == "PNG"
        assert image.width == 750
        assert 300 <= image.height <= 2000
        pixels = np.asarray(image.convert("L"))
    assert (pixels[0] == 255).all(), "something is drawn over the upper edge"
    assert 0.005 < (pixels < 250).mean() < 0.6, "an empty or a full sheet"
    assert 5_000 < len(data) < 200_000


def test_all_figures_of_a_full_run(figures: dict[str, bytes]) -> None:
    assert set(figures) == NAMES == set(FIGURES)
    for data in figures.values():
        check_png(data)
        with Image.open(io.BytesIO(data)) as image:
            assert (np.asarray(image.convert("L"))[:, 0] == 255).all(), "something is drawn over the left edge"


def test_what_is_not_there_is_not_drawn(degenerate: RunResult) -> None:
    for data in all_figures(degenerate).values():
        check_png(data)


@pytest.mark.filterwarnings("error")
def test_hostile_and_long_names(hostile: dict[str, Any], long_names: dict[str, Any]) -> None:
    for summary in (hostile, long_names):
        drawn = all_figures(RunResult.model_validate(summary))
        assert {"costs_stages", "gains_users"} <= set(drawn)
        for data in drawn.values():
            check_png(data)


def test_a_teacher_without_history_is_a_line(full: dict[str, Any], figures: dict[str, bytes]) -> None:
    full["models"]["teacher"]["valid_ndcg_at_10"] = None
    assert FIGURES["learning"](RunResult.model_validate(full)) != figures["learning"]


def test_threads_draw_the_same_bytes(full: dict[str, Any], figures: dict[str, bytes]) -> None:
    results: list[bytes | None] = [figures["quality"]]
    result = RunResult.model_validate(full)
    threads = [threading.Thread(target=lambda: results.append(FIGURES["quality"](result))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(results)) == 1


def test_importing_is_cheap_and_drawing_does_not_load_pyplot() -> None:
    code = (
        "import sys, freqd.report, freqd.report.run.html, freqd.report.run.text, freqd.report.run.figures;"
        "bad = {'matplotlib', 'jinja2', 'torch', 'prefect', 'mlflow'} & set(sys.modules); assert not bad, bad;"
        "from freqd.report.run_result import RunResult; from tests.run_results import full_summary;"
        "drawn = freqd.report.run.figures.all_figures(RunResult.model_validate(full_summary()));"
        "assert drawn and 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_whisker_is_the_difference_to_the_student(full: dict[str, Any]) -> None:
    result = RunResult.model_validate(full)
    low, high = whisker(result, TEACHER) or (0.0, 0.0)
    assert low == pytest.approx(0.0501 - 0.0001)
    assert high == pytest.approx(0.0501 + 0.0027)
    assert whisker(result, STUDENT) is None


def test_spread_keeps_order_and_distance() -> None:
    placed = spread([0.5, 0.51, 0.1, 0.52], 0.1, 0.0, 1.0)
    order = np.argsort([0.5, 0.51, 0.1, 0.52])
    assert (np.diff(np.array(placed)[order]) >= 0.1 - 1e-6).all()
    assert min(placed) >= 0.0
    assert max(placed) <= 1.0
    assert spread([], 0.1, 0.0, 1.0) == []


def test_shorten() -> None:
    assert shorten("abc", 3) == "abc"
    assert shorten("abcdefghij", 5) == "ab…ij"


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        ({}, "none (identity), h(λ) = 1"),
        ({"form": "linear", "alpha": 0.0}, "none (identity), h(λ) = 1"),
        ({"form": "linear", "alpha": 0.25}, "linear, h(λ) = 1 − 0.25λ"),
        ({"form": "linear", "alpha": -0.2}, "linear, h(λ) = 1 + 0.2λ"),
        ({"form": "quadratic", "alpha": 0.3}, "quadratic, h(λ) = (1 − 0.3λ)²"),
        ({"form": "chebyshev", "coefficients": [0.5, -0.25]}, "its short text"),
    ],
)
def test_filter_label(chosen: dict[str, Any], expected: str) -> None:
    assert filter_label(ChosenFilter(**chosen, label="its short text")) == expected


def test_a_chebyshev_filter_is_drawn_as_the_polynomial_that_it_is(
    full: dict[str, Any], figures: dict[str, bytes]
) -> None:
    chosen = {"form": "chebyshev", "coefficients": [0.5, -0.5], "label": "chebyshev degree 1"}
    full["spectrum"]["filters"]["ranking"]["item"] = chosen
    assert FIGURES["spectrum_item"](RunResult.model_validate(full)) == figures["spectrum_item"]  # 1 − 0.5λ


def test_colours_can_be_told_apart_by_everybody() -> None:
    """Least distance in CIELAB among the roles, for normal and for red- and green-blind sight (Machado et al. 2009)."""
    sights = {
        "normal": np.eye(3),
        "deutan": np.array(
            [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]]
        ),
        "protan": np.array(
            [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
        ),
    }
    rgb = np.array([[int(role.colour[i : i + 2], 16) / 255 for i in (1, 3, 5)] for role in ROLES])
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    for sight, matrix in sights.items():
        seen = np.clip(linear @ matrix.T, 0, 1) @ to_xyz.T / np.array([0.9505, 1.0, 1.089])
        f = np.cbrt(seen)
        lab = np.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], axis=1)
        distance = np.linalg.norm(lab[:, None] - lab[None], axis=-1)[np.triu_indices(len(ROLES), 1)]
        assert distance.min() > 20, sight
