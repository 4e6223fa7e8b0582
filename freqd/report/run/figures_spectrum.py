"""One side's spectrum: where the teacher's knowledge is, what the ranking needs, what the students learned."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from freqd.report.access import Summary, dig, number
from freqd.report.canvas import SMALL, dress, legend, png, sheet
from freqd.report.palette import FILTER, INK, SCRATCH, SOFT_INK, STUDENT, SVD, TEACHER
from freqd.report.run.spectrum_sentences import (
    PLURAL,
    Side,
    Use,
    band_values,
    edges,
    filter_label,
    filter_of,
    filter_response,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NEUTRAL = "#C9CED6"


def spectrum(summary: Summary, side: Side) -> bytes | None:
    """Stacked panels over λ in [0, 2] for one side, only those that have values; None without a spectrum.

    Top: density of states and the teacher's energy as shares a band, the chosen filters' h(λ)² drawn over them.
    Middle: validation NDCG@10 of the teacher with only a band, and without it. Bottom: mastery by band.
    """
    bounds = edges(summary, side)
    if not bounds:
        return None
    mastery = {role: band_values(summary, side, "mastery", role.key) for role in (SCRATCH, SVD, STUDENT)}
    panels: list[Any] = []
    if band_values(summary, side, "energy") or band_values(summary, side, "density"):
        panels.append(_knowledge)
    if band_values(summary, side, "importance_only") or band_values(summary, side, "importance_without"):
        panels.append(_importance)
    if any(mastery.values()):
        panels.append(_mastery)
    if not panels:
        return None
    height = 0.75 + 2.05 * len(panels)
    figure = sheet(height)
    grid = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
    figure.subplots_adjust(left=0.125, right=0.885, top=1 - 0.38 / height, bottom=0.45 / height, hspace=0.42)
    for axes, panel in zip(grid, panels, strict=True):
        panel(axes, summary, side, bounds)
        axes.set_xlim(bounds[0], bounds[-1])
        axes.set_xticks(_apart(bounds) if len(bounds) <= 9 else np.linspace(bounds[0], bounds[-1], 9))
    last = grid[-1]
    last.set_xlabel("Graph frequency λ: smooth, shared  ←          →  local detail, noise", fontsize=9, color=SOFT_INK)
    return png(figure)


def _knowledge(axes: Axes, summary: Summary, side: Side, bounds: list[float]) -> None:
    centres, widths = _bars(bounds)
    density, energy = band_values(summary, side, "density"), band_values(summary, side, "energy")
    if density:
        axes.bar(centres, density, widths * 0.92, color=NEUTRAL, label="components (density of states)", zorder=2)
    if energy:
        axes.bar(centres, energy, widths * 0.5, color=TEACHER.colour, label="teacher's energy", zorder=3)
    top = max([v for v in density + energy if math.isfinite(v)], default=1.0) or 1.0
    axes.set_ylim(0.0, top * 1.45)
    axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f} %")
    dress(axes, title=f"{PLURAL[side].capitalize()}: where the knowledge is", y="Share")
    _filters(axes, summary, side, bounds)
    legend(axes, loc="upper center", ncols=2, columnspacing=1.2)


def _apart(bounds: list[float]) -> list[float]:
    """The edges whose labels have room: none closer than a tenth of the axis to the one before."""
    shown = bounds[:1]
    for edge in bounds[1:]:
        if edge - shown[-1] >= 0.1 * (bounds[-1] - bounds[0]):
            shown.append(edge)
    return shown


def _filters(axes: Axes, summary: Summary, side: Side, bounds: list[float]) -> None:
    frequency = np.linspace(bounds[0], bounds[-1], 201)
    drawn: list[tuple[str, Any, Any]] = []
    styles: tuple[tuple[Use, Any], ...] = (("feature", "-"), ("ranking", (0, (4, 2))))
    for use, style in styles:
        response = filter_response(filter_of(summary, use, side), frequency)
        if response is not None:
            drawn.append((use, style, response**2))
    if not drawn:
        return
    if len(drawn) == 2 and np.allclose(drawn[0][2], drawn[1][2]):
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


def _importance(axes: Axes, summary: Summary, side: Side, bounds: list[float]) -> None:
    centres, widths = _bars(bounds)
    only, without = band_values(summary, side, "importance_only"), band_values(summary, side, "importance_without")
    if only:
        axes.bar(centres, only, widths * 0.5, color=TEACHER.colour, alpha=0.55, label="only this band", zorder=2)
    if without:
        axes.plot(
            centres,
            without,
            linestyle="none",
            marker="o",
            markersize=6.5,
            color=INK,
            markeredgecolor="white",
            label="all but this band",
            zorder=4,
        )
    base = number(summary, "spectrum", "base_ndcg")
    if base is not None:
        axes.axhline(base, color=SOFT_INK, linewidth=1.1, linestyle=(0, (3, 3)), label="whole teacher", zorder=1)
    top = max([v for v in [*only, *without, base or 0.0] if math.isfinite(v)], default=1.0) or 1.0
    axes.set_ylim(0.0, top * 1.38)
    dress(axes, title="What the ranking needs", y="NDCG@10, validation")
    legend(axes, loc="upper center", ncols=3, columnspacing=1.2)


def _mastery(axes: Axes, summary: Summary, side: Side, bounds: list[float]) -> None:
    centres, _ = _bars(bounds)
    lowest = 0.0
    for role in (SCRATCH, SVD, STUDENT):
        values = np.array(band_values(summary, side, "mastery", role.key))
        if not values.size:
            continue
        lowest = min(lowest, float(np.nanmin(values)))
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
    dress(axes, title="What the students learned of the teacher", y="Mastery")
    legend(axes, loc="upper center", ncols=3, columnspacing=1.2)


def _bars(bounds: list[float]) -> tuple[Any, Any]:
    ends = np.array(bounds)
    return (ends[:-1] + ends[1:]) / 2, np.diff(ends)


def spectrum_caption(summary: Summary, side: Side) -> str:
    """The method and the filters of one side."""
    method = dig(summary, "spectrum", "method", side)
    how = {"exact": "exact eigendecomposition", "chebyshev": "Chebyshev filters, approximate"}.get(str(method), "")
    uses: tuple[Use, ...] = ("feature", "ranking")
    labels = {use: filter_label(summary, use, side) for use in uses}
    parts = [f"Graph of {PLURAL[side]}" + (f", {how}." if how else ".")]
    parts += [f"Filter of the {use} loss: {label}." for use, label in labels.items() if label]
    return " ".join(parts)
