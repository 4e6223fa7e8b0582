"""What the run cost, and what the student saves in production."""

from __future__ import annotations

from collections.abc import Callable

from freqd import numbers as fmt
from freqd.report.canvas import FONT, SMALL, new_figure, png, shorten, style_axes
from freqd.report.palette import INK, SOFT_INK, STUDENT, TEACHER
from freqd.report.run_result import RunResult

FRESH = "#4C6A92"
CACHED = "#C9CED6"
Show = Callable[[float], str]


def costs_stages(summary: RunResult) -> bytes:
    """Seconds and peak memory of every stage as bars; cached stages pale."""
    stages = summary.stages
    panels: tuple[tuple[str, list[float], Show], ...] = (
        ("Time", [stage.seconds for stage in stages], fmt.duration),
        ("Peak memory", [float(stage.peak_bytes) for stage in stages], fmt.size),
    )
    height = max(2.4, 0.95 + 0.34 * len(stages))
    figure = new_figure(height)
    grid = figure.subplots(1, len(panels), sharey=True)
    figure.subplots_adjust(left=0.24, right=0.97, top=1 - 0.35 / height, bottom=0.35 / height, wspace=0.08)
    for axes, (label, values, show) in zip(grid, panels, strict=True):
        top = max(values) or 1.0
        for row, (stage, value) in enumerate(zip(stages, values, strict=True)):
            axes.barh(row, value, height=0.6, color=CACHED if stage.cached else FRESH, zorder=2)
            words = show(value) + (" (cached)" if stage.cached and axes is grid[0] else "")
            axes.text(value + 0.02 * top, row, words, va="center", fontsize=SMALL, color=INK)
        axes.set_xlim(0.0, top * 1.5)
        axes.set_xticks([])
        axes.set_ylim(len(stages) - 0.4, -0.6)
        style_axes(axes, title="What the run cost" if axes is grid[0] else "", x=label, grid="")
        axes.spines["bottom"].set_visible(False)
    grid[0].set_yticks(range(len(stages)), [shorten(stage.name, 18) for stage in stages], parse_math=False)
    grid[0].tick_params(axis="y", labelsize=FONT, labelcolor=INK)
    return png(figure)


def costs_models(summary: RunResult) -> bytes:
    """Bytes and milliseconds per user of teacher and student as bars; a line is the range of a time over repetitions."""
    roles, models = (TEACHER, STUDENT), (summary.models.teacher, summary.models.student)
    panels: tuple[tuple[str, list[float], Show], ...] = (
        ("Size", [float(model.bytes) for model in models], fmt.size),
        ("Time to rank all items, one user", [model.median_ms for model in models], fmt.milliseconds),
    )
    height = 2.4
    figure = new_figure(height)
    grid = figure.subplots(1, len(panels), sharey=True)
    figure.subplots_adjust(left=0.14, right=0.97, top=1 - 0.35 / height, bottom=0.35 / height, wspace=0.08)
    for axes, (label, values, show) in zip(grid, panels, strict=True):
        top = max(values if axes is grid[0] else [model.range_ms[1] for model in models]) or 1.0
        for row, (role, value) in enumerate(zip(roles, values, strict=True)):
            axes.barh(row, value, height=0.55, color=role.colour, zorder=2)
            end = value
            if axes is grid[1]:
                low, end = models[row].range_ms
                axes.plot([low, end], [row, row], color=INK, linewidth=1.2, zorder=3)
            axes.text(end + 0.02 * top, row, show(value), va="center", fontsize=FONT, color=INK)
        axes.set_xlim(0.0, top * 1.45)
        axes.set_xticks([])
        axes.set_ylim(len(roles) - 0.4, -0.6)
        style_axes(axes, title="What the student saves" if axes is grid[0] else "", x=label, grid="")
        axes.xaxis.label.set_color(SOFT_INK)
        axes.spines["bottom"].set_visible(False)
    grid[0].set_yticks(range(len(roles)), [role.label for role in roles])
    grid[0].tick_params(axis="y", labelsize=FONT, labelcolor=INK)
    return png(figure)
