"""How the models got there: validation quality and mastery over training."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from freqd.report.canvas import SMALL, new_figure, png, role_legend, spread, style_axes, whole_ticks
from freqd.report.palette import INK, SCRATCH, SOFT_INK, STUDENT, SVD, TEACHER, Role
from freqd.report.run.spectrum_sentences import PLURAL, SIDES, band_name
from freqd.report.run_result import RunResult
from freqd.report.run_result_parts import Side


def curve(summary: RunResult, role: Role, against: str) -> tuple[list[float], list[float]]:
    """Points (``epoch`` or ``seconds``, validation NDCG@10) of one training; none if the run did not have it."""
    training = summary.training.of(role.key)
    history = training.history if training else ()
    xs = [float(entry.epoch) if against == "epoch" else entry.seconds for entry in history]
    return xs, [entry.valid_ndcg_at_10 for entry in history]


def learning_curves(summary: RunResult) -> bytes | None:
    """Validation NDCG@10 over epochs and over seconds; models without a history as a line; None without any history."""
    trained = [role for role in (TEACHER, SCRATCH, STUDENT) if curve(summary, role, "epoch")[0]]
    if not trained:
        return None
    panels = ("epoch", "seconds")
    height = 0.85 + 2.1 * len(panels)
    figure = new_figure(height)
    grid = figure.subplots(len(panels), 1)
    figure.subplots_adjust(left=0.125, right=0.965, top=1 - 0.35 / height, bottom=0.85 / height, hspace=0.42)
    flat = [
        (role, value)
        for role in (TEACHER, SVD)
        if role not in trained
        and (model := summary.models.of(role.key))
        and (value := model.valid_ndcg_at_10) is not None
    ]
    for axes, against in zip(grid, panels, strict=True):
        for role in trained:
            xs, ys = curve(summary, role, against)
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
        style_axes(
            axes,
            title="Learning curves" if axes is grid[0] else "",
            x="Epoch" if against == "epoch" else "Seconds of training",
            y="NDCG@10, validation",
        )
        if against == "epoch":
            whole_ticks(axes)
    role_legend(figure, [role for role in (TEACHER, SCRATCH, SVD, STUDENT) if role in trained or role in dict(flat)])
    return png(figure)


def mastery_over_time(summary: RunResult) -> bytes | None:
    """The student's mastery over epochs, one line a band, a panel a side; None if the history has none."""
    sides = [side for side in SIDES if _mastery(summary, side)[0]]
    if not sides:
        return None
    from matplotlib import colormaps

    height = 0.55 + 2.25 * len(sides)
    figure = new_figure(height)
    grid = figure.subplots(len(sides), 1, sharex=True, squeeze=False)[:, 0]
    figure.subplots_adjust(left=0.125, right=0.8, top=1 - 0.35 / height, bottom=0.45 / height, hspace=0.3)
    for axes, side in zip(grid, sides, strict=True):
        epochs, values = _mastery(summary, side)
        bands = values.shape[1]
        colours = [colormaps["viridis"](0.9 * band / max(bands - 1, 1)) for band in range(bands)]
        low = min(0.0, max(-0.5, float(values.min())))
        axes.set_ylim(low - 0.03, 1.03)
        ends = [min(max(v, low), 1.0) for v in values[-1]]
        heights = spread(ends, 1.06 / 13, low, 1.0)
        for band in range(bands):
            axes.plot(
                epochs, values[:, band], color=colours[band], linewidth=1.7, marker="." if len(epochs) < 3 else None
            )
            axes.annotate(
                band_name(summary, band, "–"),
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
        style_axes(axes, title=f"{PLURAL[side].capitalize()}: mastery while the student learns", y="Mastery")
    grid[-1].set_xlabel("Epoch", fontsize=9, color=SOFT_INK)
    whole_ticks(grid[-1])
    return png(figure)


def _mastery(summary: RunResult, side: Side) -> tuple[list[int], npt.NDArray[np.float64]]:
    entries = [(entry.epoch, values) for entry in summary.training.student.history if (values := entry.mastery(side))]
    return [epoch for epoch, _ in entries], np.array([values for _, values in entries])
