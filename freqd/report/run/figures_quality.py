"""How good each model is, against its size and against the others."""

from __future__ import annotations

from textwrap import fill
from typing import TYPE_CHECKING

from freqd import numbers as fmt
from freqd.report.canvas import FONT, SMALL, new_figure, png, spread, style_axes
from freqd.report.palette import INK, ROLES, STUDENT, Role
from freqd.report.run.standing import metric_of
from freqd.report.run_result import RunResult

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LABEL_WIDTH = 15
"""Characters of a line beside the bars."""

Whisker = tuple[float, float]


def whisker(summary: RunResult, role: Role) -> Whisker | None:
    """Where ``role``'s NDCG@10 may lie relative to the student's: student − [high, low] of their difference.

    A whisker that does not reach the student's value is a significant difference.
    """
    student, behind = summary.metrics.student["ndcg_at_10"], summary.intervals.get(f"student_minus_{role.key}")
    return None if behind is None else (student - behind.high, student - behind.low)


def quality_vs_size(summary: RunResult) -> bytes:
    """NDCG@10 on the test split against the number of parameters (log axis)."""
    points = [
        (role, float(model.parameters), value)
        for role in ROLES
        if (model := summary.models.of(role.key)) and (value := metric_of(summary, role)) is not None
    ]
    figure = new_figure(3.5)
    axes = figure.subplots()
    figure.subplots_adjust(left=0.125, right=0.975, top=0.9, bottom=0.14)
    axes.set_xscale("log")
    sizes = [size for _, size, _ in points]
    smallest, largest = min(sizes), max(sizes)
    span = max(largest / smallest, 4.0)
    dodge = span**0.022
    shown: list[tuple[Role, float, float]] = []
    for role, size, value in points:
        twins = [other for other, its_size, _ in points if its_size == size]
        x = size * dodge ** (twins.index(role) - (len(twins) - 1) / 2)
        shown.append((role, x, value))
        if bounds := whisker(summary, role):
            axes.plot([x, x], bounds, color=role.colour, linewidth=2.2, alpha=0.45, solid_capstyle="round", zorder=2)
        axes.plot(
            x,
            value,
            role.marker,
            color=role.colour,
            markersize=10 if role is STUDENT else 8.5,
            markeredgecolor="white",
            markeredgewidth=1.2,
            zorder=4,
        )
    axes.set_xlim(smallest / span**0.12, largest * span**0.12)
    reach = [value for _, _, value in shown] + [end for role, _, _ in shown for end in (whisker(summary, role) or ())]
    low, high = min(reach), max(reach)
    margin = 0.12 * (high - low or high or 1.0)
    axes.set_ylim(low - margin, high + margin)
    _label(axes, shown, middle=(smallest * largest) ** 0.5, gap=(high - low + 2 * margin) * 0.085)
    axes.xaxis.set_major_formatter(lambda value, _: _short(value))
    axes.xaxis.set_minor_formatter(lambda value, _: "")
    if largest / smallest < 10.0:
        axes.set_xticks(sorted(set(sizes)))
    axes.tick_params(axis="x", which="minor", length=0)
    style_axes(
        axes,
        title="Quality against size",
        x="Parameters (all users and items), log scale",
        y="NDCG@10, test",
    )
    return png(figure)


def _label(axes: Axes, shown: list[tuple[Role, float, float]], *, middle: float, gap: float) -> None:
    low, high = axes.get_ylim()
    left = [point for point in shown if point[1] <= middle]
    right = [point for point in shown if point[1] > middle]
    for side, align, offset in ((left, "left", 16), (right, "right", -12)):
        edge = max((x for _, x, _ in side), default=1.0) if align == "left" else None
        heights = spread([value for _, _, value in side], gap, low + gap / 2, high - gap / 2)
        for (role, x, _), height in zip(side, heights, strict=True):
            value = next(v for r, _, v in side if r is role)
            axes.annotate(
                f"{role.label}  {fmt.metric(value)}",
                (edge if edge is not None else x, height),
                xytext=(offset, 0),
                textcoords="offset points",
                ha=align,
                va="center",
                fontsize=FONT,
                color=INK,
                fontweight="bold" if role is STUDENT else "normal",
                zorder=5,
            )


def _short(value: float) -> str:
    for factor, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= factor:
            return f"{value / factor:.3g} {unit}"
    return f"{value:.3g}"


def quality_bars(summary: RunResult) -> bytes:
    """NDCG@10 and recall@10 of every method as bars, whiskers where there is an interval."""
    panels = (("ndcg_at_10", "NDCG@10, test"), ("recall_at_10", "Recall@10, test"))
    figure = new_figure(3.5)
    grid = figure.subplots(1, len(panels), sharey=True)
    figure.subplots_adjust(left=0.215, right=0.96, top=0.9, bottom=0.14, wspace=0.12)
    measured = [(role, found) for role in ROLES if (found := summary.metrics.of(role.key))]
    for axes, (name, label) in zip(grid, panels, strict=True):
        top = max(found[name] for _, found in measured) or 1.0
        ends = [top]
        for row, (role, found) in enumerate(measured):
            value = found[name]
            axes.barh(row, value, height=0.62, color=role.colour, zorder=2)
            end = value
            if name == "ndcg_at_10" and (bounds := whisker(summary, role)):
                axes.plot(bounds, [row, row], color=INK, linewidth=1.4, zorder=3, solid_capstyle="round")
                end = max(value, bounds[1])
            ends.append(end)
            axes.text(
                end + 0.03 * top,
                row,
                fmt.metric(value),
                va="center",
                fontsize=SMALL,
                color=INK,
                zorder=4,
                bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.0},
            )
        if name == "ndcg_at_10":
            student = summary.metrics.student[name]
            axes.axvline(student, color=STUDENT.colour, linewidth=1.0, linestyle=(0, (3, 3)), zorder=1)
        axes.set_xlim(0.0, max(ends) + 0.3 * top)
        axes.set_ylim(len(measured) - 0.45, -0.55)
        axes.set_yticks(range(len(measured)), [fill(role.label, LABEL_WIDTH) for role, _ in measured])
        axes.locator_params(axis="x", nbins=4)
        style_axes(axes, title="Quality of all methods" if axes is grid[0] else "", x=label, grid="x")
        axes.tick_params(axis="y", labelsize=FONT, labelcolor=INK)
        axes.spines["left"].set_visible(False)
    return png(figure)


def quality_caption(summary: RunResult) -> str:
    """How to read the whiskers."""
    level = fmt.percent(summary.gap_closed.confidence)
    return (
        f"A whisker is the {level} interval of the difference to the student, paired over the test users: where it does not reach "
        "the student's value, the difference is significant."
    )
