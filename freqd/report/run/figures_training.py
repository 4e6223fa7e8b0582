"""How the models got there: validation quality and mastery over training."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from freqd.report.access import Summary, number, rows, series
from freqd.report.canvas import SMALL, dress, png, role_legend, sheet, spread, whole_ticks
from freqd.report.palette import INK, SCRATCH, SOFT_INK, STUDENT, SVD, TEACHER, Role
from freqd.report.run.spectrum_sentences import PLURAL, SIDES, Side, edges

METRIC = "valid_ndcg_at_10"


def curve(summary: Summary, role: Role, against: str) -> tuple[list[float], list[float]]:
    """Points (``epoch`` or ``seconds``, validation NDCG@10) of one training; entries without both are left out."""
    points = [
        (x, y)
        for entry in rows(summary, "training", role.key, "history")
        if (x := number(entry, against)) is not None and (y := number(entry, METRIC)) is not None
    ]
    return [x for x, _ in points], [y for _, y in points]


def learning_curves(summary: Summary) -> bytes | None:
    """Validation NDCG@10 over epochs and over seconds; models without a history as a line; None without any history."""
    trained = [role for role in (TEACHER, SCRATCH, STUDENT) if curve(summary, role, "epoch")[0]]
    panels = [against for against in ("epoch", "seconds") if any(curve(summary, role, against)[0] for role in trained)]
    if not panels:
        return None
    height = 0.85 + 2.1 * len(panels)
    figure = sheet(height)
    grid = figure.subplots(len(panels), 1, squeeze=False)[:, 0]
    figure.subplots_adjust(left=0.125, right=0.965, top=1 - 0.35 / height, bottom=0.85 / height, hspace=0.42)
    flat = [
        (role, value)
        for role in (TEACHER, SVD)
        if role not in trained and (value := number(summary, "models", role.key, METRIC)) is not None
    ]
    for axes, against in zip(grid, panels, strict=True):
        for role in trained:
            xs, ys = curve(summary, role, against)
            if not xs:
                continue
            axes.plot(
                xs,
                ys,
                color=role.colour,
                linewidth=2.0 if role is STUDENT else 1.6,
                zorder=3,
                marker="." if len(xs) < 3 else None,
            )
            best = int(np.argmax(ys))
            axes.plot(
                xs[best], ys[best], role.marker, color=role.colour, markersize=8, markeredgecolor="white", zorder=4
            )
        for role, value in flat:
            axes.axhline(value, color=role.colour, linewidth=1.4, linestyle=(0, (4, 2)), zorder=2)
        axes.set_xlim(left=0.0)
        dress(
            axes,
            title="Learning curves" if axes is grid[0] else "",
            x="Epoch" if against == "epoch" else "Seconds of training",
            y="NDCG@10, validation",
        )
        if against == "epoch":
            whole_ticks(axes)
    role_legend(figure, [role for role in (TEACHER, SCRATCH, SVD, STUDENT) if role in trained or role in dict(flat)])
    return png(figure)


def mastery_over_time(summary: Summary) -> bytes | None:
    """The student's mastery over epochs, one line a band, a panel a side; None if the history has none."""
    sides = [side for side in SIDES if _mastery(summary, side)[0]]
    if not sides:
        return None
    from matplotlib import colormaps

    height = 0.55 + 2.25 * len(sides)
    figure = sheet(height)
    grid = figure.subplots(len(sides), 1, sharex=True, squeeze=False)[:, 0]
    figure.subplots_adjust(left=0.125, right=0.8, top=1 - 0.35 / height, bottom=0.45 / height, hspace=0.3)
    for axes, side in zip(grid, sides, strict=True):
        epochs, values = _mastery(summary, side)
        bands = values.shape[1]
        colours = [colormaps["viridis"](0.9 * band / max(bands - 1, 1)) for band in range(bands)]
        low = min(0.0, max(-0.5, float(np.nanmin(values))))
        axes.set_ylim(low - 0.03, 1.03)
        ends = [0.0 if math.isnan(v) else min(max(v, low), 1.0) for v in values[-1]]
        heights = spread(ends, 1.06 / 13, low, 1.0)
        names = _band_names(summary, side, bands)
        for band in range(bands):
            axes.plot(
                epochs, values[:, band], color=colours[band], linewidth=1.7, marker="." if len(epochs) < 3 else None
            )
            axes.annotate(
                names[band],
                (1.0, heights[band]),
                xycoords=("axes fraction", "data"),
                xytext=(8, 0),
                textcoords="offset points",
                va="center",
                fontsize=SMALL,
                color=INK,
                annotation_clip=False,
            )
            axes.plot(
                1.015,
                heights[band],
                "s",
                color=colours[band],
                markersize=4,
                transform=axes.get_yaxis_transform(),
                clip_on=False,
            )
        axes.annotate(
            "band λ",
            (1.0, 1.0),
            xycoords="axes fraction",
            xytext=(8, 12),
            textcoords="offset points",
            va="center",
            fontsize=SMALL,
            color=SOFT_INK,
            annotation_clip=False,
        )
        axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f} %")
        dress(axes, title=f"{PLURAL[side].capitalize()}: mastery while the student learns", y="Mastery")
    grid[-1].set_xlabel("Epoch", fontsize=9, color=SOFT_INK)
    whole_ticks(grid[-1])
    return png(figure)


def _mastery(summary: Summary, side: Side) -> tuple[list[float], npt.NDArray[np.float64]]:
    entries = [
        (epoch, values)
        for entry in rows(summary, "training", "student", "history")
        if (epoch := number(entry, "epoch")) is not None and (values := series(entry, f"mastery_{side}"))
    ]
    if not entries or len({len(values) for _, values in entries}) != 1:
        return [], np.empty((0, 0))
    return [epoch for epoch, _ in entries], np.array([values for _, values in entries])


def _band_names(summary: Summary, side: Side, bands: int) -> list[str]:
    bounds = edges(summary, side)
    if len(bounds) != bands + 1:
        return [f"band {band + 1}" for band in range(bands)]
    return [f"{bounds[band]:.3g}–{bounds[band + 1]:.3g}" for band in range(bands)]
