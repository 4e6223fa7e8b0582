"""All figures of a run, by name: the same PNGs go to the HTML report, MLflow and Prefect."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from freqd.report.run.figures_costs import costs_models, costs_stages
from freqd.report.run.figures_differences import differences_items, differences_users
from freqd.report.run.figures_groups import gains_items, gains_users
from freqd.report.run.figures_quality import quality_bars, quality_vs_size
from freqd.report.run.figures_spectrum import spectrum
from freqd.report.run.figures_training import learning_curves, mastery_over_time
from freqd.report.run_result import RunResult

__all__ = [
    "FIGURES", "all_figures", "costs_models", "costs_stages", "differences_items", "differences_users", "gains_items", "gains_users", "learning_curves",
    "mastery_over_time", "quality_bars", "quality_vs_size", "spectrum",
]  # fmt: skip

FIGURES: dict[str, Callable[[RunResult], bytes | None]] = {
    "quality_size": quality_vs_size,
    "quality": quality_bars,
    "spectrum_user": partial(spectrum, side="user"),
    "spectrum_item": partial(spectrum, side="item"),
    "learning": learning_curves,
    "mastery": mastery_over_time,
    "gains_users": gains_users,
    "gains_items": gains_items,
    "differences_users": differences_users,
    "differences_items": differences_items,
    "costs_stages": costs_stages,
    "costs_models": costs_models,
}


def all_figures(summary: RunResult) -> dict[str, bytes]:
    """Every figure that the run has the numbers for, as PNG bytes by name (no extension)."""
    drawn = {name: draw(summary) for name, draw in FIGURES.items()}
    return {name: png for name, png in drawn.items() if png is not None}
