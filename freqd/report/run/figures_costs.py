"""What the run cost, and what the student saves in production."""

from __future__ import annotations

from freqd.report import numbers as fmt
from freqd.report.access import Summary, dig, number, rows, text
from freqd.report.canvas import FONT, SMALL, dress, png, sheet, shorten
from freqd.report.palette import INK, SOFT_INK, STUDENT, TEACHER

FRESH = "#4C6A92"
CACHED = "#C9CED6"


def costs_stages(summary: Summary) -> bytes | None:
    """Seconds and peak memory of every stage as bars; cached stages pale; None without stages."""
    stages = [stage for stage in rows(summary, "stages") if text(stage, "name")]
    panels = [
        (field, label, show)
        for field, label, show in (("seconds", "Time", fmt.duration), ("peak_bytes", "Peak memory", fmt.size))
        if any(number(stage, field) is not None for stage in stages)
    ]
    if not panels:
        return None
    height = max(2.4, 0.95 + 0.34 * len(stages))
    figure = sheet(height)
    grid = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    figure.subplots_adjust(left=0.24, right=0.97, top=1 - 0.35 / height, bottom=0.35 / height, wspace=0.08)
    for axes, (field, label, show) in zip(grid, panels, strict=True):
        values = [number(stage, field) for stage in stages]
        top = max(value for value in values if value is not None) or 1.0
        for row, (stage, value) in enumerate(zip(stages, values, strict=True)):
            cached = dig(stage, "cached") is True
            axes.barh(row, value or 0.0, height=0.6, color=CACHED if cached else FRESH, zorder=2)
            words = show(value) + (" (cached)" if cached and axes is grid[0] else "")
            axes.text((value or 0.0) + 0.02 * top, row, words, va="center", fontsize=SMALL, color=INK)
        axes.set_xlim(0.0, top * 1.5)
        axes.set_xticks([])
        axes.set_ylim(len(stages) - 0.4, -0.6)
        dress(axes, title="What the run cost" if axes is grid[0] else "", x=label, grid="")
        axes.spines["bottom"].set_visible(False)
    grid[0].set_yticks(range(len(stages)), [shorten(text(stage, "name"), 18) for stage in stages], parse_math=False)
    grid[0].tick_params(axis="y", labelsize=FONT, labelcolor=INK)
    return png(figure)


def costs_models(summary: Summary) -> bytes | None:
    """Bytes and milliseconds a user of teacher and student as bars; None if the student has neither."""
    roles = [role for role in (TEACHER, STUDENT) if dig(summary, "models", role.key)]
    panels = [
        (field, label, show)
        for field, label, show in (
            ("bytes", "Size", fmt.size),
            ("median_ms", "Time to rank all items, one user", fmt.milliseconds),
        )
        if number(summary, "models", STUDENT.key, field) is not None
    ]
    if not panels:
        return None
    height = 2.4
    figure = sheet(height)
    grid = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    figure.subplots_adjust(left=0.14, right=0.97, top=1 - 0.35 / height, bottom=0.35 / height, wspace=0.08)
    for axes, (field, label, show) in zip(grid, panels, strict=True):
        values = [number(summary, "models", role.key, field) for role in roles]
        top = max([value for value in values if value is not None], default=1.0) or 1.0
        for row, (role, value) in enumerate(zip(roles, values, strict=True)):
            axes.barh(row, value or 0.0, height=0.55, color=role.colour, zorder=2)
            axes.text((value or 0.0) + 0.02 * top, row, show(value), va="center", fontsize=FONT, color=INK)
        axes.set_xlim(0.0, top * 1.45)
        axes.set_xticks([])
        axes.set_ylim(len(roles) - 0.4, -0.6)
        dress(axes, title="What the student saves" if axes is grid[0] else "", x=label, grid="")
        axes.xaxis.label.set_color(SOFT_INK)
        axes.spines["bottom"].set_visible(False)
    grid[0].set_yticks(range(len(roles)), [role.label for role in roles])
    grid[0].tick_params(axis="y", labelsize=FONT, labelcolor=INK)
    return png(figure)
