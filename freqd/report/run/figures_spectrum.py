"""One side's spectrum: where the teacher's knowledge is, what the ranking needs, what the students learned."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from freqd.report.canvas import SMALL, legend, new_figure, png, style_axes
from freqd.report.palette import FILTER, INK, SCRATCH, SOFT_INK, STUDENT, SVD, TEACHER
from freqd.report.run.spectrum_sentences import PLURAL, filter_label
from freqd.report.run_result import RunResult
from freqd.report.run_result_parts import Side, Use

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NEUTRAL = "#C9CED6"


def spectrum(summary: RunResult, side: Side) -> bytes:
    """Stacked panels over λ in [0, 2] for one side.

    Top: density of states and the teacher's energy as shares a band, the chosen filters' h(λ)² drawn over them.
    Middle: validation NDCG@10 of the teacher with only a band, and without it. Bottom: mastery by band.
    """
    bounds, panels = list(summary.spectrum.edges), (_knowledge, _importance, _mastery)
    height = 0.75 + 2.05 * len(panels)
    figure = new_figure(height)
    grid = figure.subplots(len(panels), 1, sharex=True)
    figure.subplots_adjust(left=0.125, right=0.885, top=1 - 0.38 / height, bottom=0.45 / height, hspace=0.42)
    for axes, panel in zip(grid, panels, strict=True):
        panel(axes, summary, side, bounds)
        axes.set_xlim(bounds[0], bounds[-1])
        axes.set_xticks(_apart(bounds) if len(bounds) <= 9 else np.linspace(bounds[0], bounds[-1], 9))
    last = grid[-1]
    last.set_xlabel("Graph frequency λ: smooth, shared  ←          →  local detail, noise", fontsize=9, color=SOFT_INK)
    return png(figure)


def _knowledge(axes: Axes, summary: RunResult, side: Side, bounds: list[float]) -> None:
    centres, widths = _bars(bounds)
    bands = summary.spectrum.of(side)
    axes.bar(centres, bands.density, widths * 0.92, color=NEUTRAL, label="components (density of states)", zorder=2)
    axes.bar(centres, bands.energy, widths * 0.5, color=TEACHER.colour, label="teacher's energy", zorder=3)
    top = max(*bands.density, *bands.energy) or 1.0
    axes.set_ylim(0.0, top * 1.45)
    axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f} %")
    style_axes(axes, title=f"{PLURAL[side].capitalize()}: where the knowledge is", y="Share")
    _filters(axes, summary, side, bounds)
    legend(axes, loc="upper center", ncols=2, columnspacing=1.2)


def _apart(bounds: list[float]) -> list[float]:
    """The edges whose labels have room: none closer than a tenth of the axis to the one before."""
    shown = bounds[:1]
    for edge in bounds[1:]:
        if edge - shown[-1] >= 0.1 * (bounds[-1] - bounds[0]):
            shown.append(edge)
    return shown


def _filters(axes: Axes, summary: RunResult, side: Side, bounds: list[float]) -> None:
    frequency = np.linspace(bounds[0], bounds[-1], 201)
    styles: dict[Use, Any] = {"feature": "-", "ranking": (0, (4, 2))}
    drawn: list[tuple[str, Any, Any]] = [
        (use, styles[use], filters.of(side).response(frequency) ** 2)
        for use, filters in summary.spectrum.filters.used().items()
    ]
    if len(drawn) > 1 and np.allclose(drawn[0][2], drawn[1][2]):
        drawn = [("both", "-", drawn[0][2])]
    twin = axes.twinx()
    names = {"feature": "h(λ)², feature loss", "ranking": "h(λ)², ranking loss", "both": "h(λ)², both losses"}
    for name, style, power in drawn:
        twin.plot(frequency, power, color=FILTER, linewidth=2.0, linestyle=style, zorder=5)
        axes.plot([], [], color=FILTER, linewidth=2.0, linestyle=style, label=names[name])
    top = max(1.0, *(float(power.max()) for _, _, power in drawn))
    twin.set_ylim(0.0, top * 1.45)
    twin.set_yticks([0.0, 0.5, 1.0] if top < 1.5 else range(0, int(top) + 1, 1 + int(top) // 4))
    twin.tick_params(labelsize=SMALL, colors=FILTER, length=0, pad=4)
    twin.set_ylabel("Filter's weight", fontsize=SMALL, color=FILTER)
    for spine in twin.spines.values():
        spine.set_visible(False)


def _importance(axes: Axes, summary: RunResult, side: Side, bounds: list[float]) -> None:
    centres, widths = _bars(bounds)
    bands, base = summary.spectrum.of(side), summary.spectrum.base_ndcg
    axes.bar(
        centres,
        bands.importance_only,
        widths * 0.5,
        color=TEACHER.colour,
        alpha=0.55,
        label="only this band",
        zorder=2,
    )
    axes.plot(
        centres,
        bands.importance_without,
        linestyle="none",
        marker="o",
        markersize=6.5,
        color=INK,
        markeredgecolor="white",
        label="all but this band",
        zorder=4,
    )
    axes.axhline(base, color=SOFT_INK, linewidth=1.1, linestyle=(0, (3, 3)), label="whole teacher", zorder=1)
    top = max(*bands.importance_only, *bands.importance_without, base) or 1.0
    axes.set_ylim(0.0, top * 1.38)
    style_axes(axes, title="What the ranking needs", y="NDCG@10, validation")
    legend(axes, loc="upper center", ncols=3, columnspacing=1.2)


def _mastery(axes: Axes, summary: RunResult, side: Side, bounds: list[float]) -> None:
    centres, _ = _bars(bounds)
    lowest = 0.0
    for role in (SCRATCH, SVD, STUDENT):
        values = summary.spectrum.of(side).mastery.get(role.key)
        if values is None:
            continue
        lowest = min(lowest, *values)
        axes.plot(
            centres,
            values,
            color=role.colour,
            marker=role.marker,
            markersize=6.5,
            linewidth=2.0 if role is STUDENT else 1.6,
            markeredgecolor="white",
            label=role.label,
            zorder=4 if role is STUDENT else 3,
        )
    axes.set_ylim(max(lowest, -0.5) * 1.1 - 0.02, 1.32)
    axes.set_yticks([0.0, 0.25, 0.5, 0.75, 1.0])
    axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f} %")
    style_axes(axes, title="What the students learned of the teacher", y="Mastery")
    legend(axes, loc="upper center", ncols=3, columnspacing=1.2)


def _bars(bounds: list[float]) -> tuple[Any, Any]:
    ends = np.array(bounds)
    return (ends[:-1] + ends[1:]) / 2, np.diff(ends)


def spectrum_caption(summary: RunResult, side: Side) -> str:
    """The method and the filters of one side."""
    exact = summary.spectrum.method.of(side) == "exact"
    how = "exact eigendecomposition" if exact else "Chebyshev filters, approximate"
    used = summary.spectrum.filters.used()
    labels = [f"Filter of the {use} loss: {filter_label(filters.of(side))}." for use, filters in used.items()]
    return " ".join([f"Graph of {PLURAL[side]}, {how}.", *labels])
