"""The sheet that figures are drawn on: one look, no global state, PNG bytes out.

matplotlib's object-oriented interface with the Agg canvas is used throughout, so figures can be drawn in any
thread and never touch a display. matplotlib is imported on first use.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from freqd.report.palette import GRID, INK, SOFT_INK, Role

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 5.0
"""Inches; at one CSS column a figure's 9 point text then reads like body text."""
DPI = 150
FONT = 9.0
SMALL = 8.0


def new_figure(height: float, *, width: float = WIDTH) -> Figure:
    """An empty white figure of ``width`` x ``height`` inches."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def png(figure: Figure) -> bytes:
    """The figure as PNG, without a time stamp or version, so that equal figures are equal bytes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def style_axes(axes: Axes, *, title: str = "", x: str = "", y: str = "", grid: str = "y") -> None:
    """Title at the left, soft axes, a light grid along ``grid`` ("x", "y", "both" or "")."""
    axes.set_title(title, loc="left", fontsize=FONT + 0.5, fontweight="bold", color=INK, pad=7, parse_math=False)
    axes.set_xlabel(x, fontsize=FONT, color=SOFT_INK)
    axes.set_ylabel(y, fontsize=FONT, color=SOFT_INK)
    axes.tick_params(labelsize=SMALL, colors=SOFT_INK, length=0, pad=4)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(GRID)
    axes.set_axisbelow(True)
    if grid:
        axes.grid(visible=True, axis=grid, color=GRID, linewidth=0.8)  # type: ignore[arg-type]


def whole_ticks(axes: Axes) -> None:
    """Marks along x at whole numbers only: there is no half epoch."""
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator("auto", integer=True))


def legend(axes: Axes, **options: Any) -> None:
    """A frameless legend in small print, if there is anything to name."""
    if axes.get_legend_handles_labels()[1]:
        axes.legend(frameon=False, fontsize=SMALL, labelcolor=INK, handlelength=1.6, borderaxespad=0.2, **options)


def role_legend(figure: Figure, roles: Iterable[Role], *, y: float = 0.0, extra: Sequence[Any] = ()) -> None:
    """One line naming the roles by colour and marker, centred at the figure's lower edge."""
    from matplotlib.lines import Line2D

    handles: list[Any] = [
        Line2D([], [], color=role.colour, marker=role.marker, markersize=6, linewidth=1.8, label=role.label)
        for role in roles
    ]
    handles += extra
    figure.legend(
        handles=handles,
        loc="lower center",
        ncols=max(len(handles), 1),
        frameon=False,
        fontsize=SMALL,
        labelcolor=INK,
        handlelength=1.6,
        columnspacing=1.4,
        bbox_to_anchor=(0.5, y),
        borderaxespad=0.3,
    )


def spread(positions: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Positions at least ``gap`` apart, in the same order, near the given ones and within [low, high] if they fit."""
    order = sorted(range(len(positions)), key=lambda i: positions[i])
    placed = [positions[i] for i in order]
    for _ in range(60):
        moved = False
        for i in range(1, len(placed)):
            missing = gap - (placed[i] - placed[i - 1])
            if missing > 1e-9 * max(gap, 1e-300):
                placed[i - 1] -= missing / 2
                placed[i] += missing / 2
                moved = True
        if not moved:
            break
    if placed:
        shift = max(0.0, low - placed[0]) - max(0.0, placed[-1] - high)
        placed = [p + shift for p in placed]
    out = [0.0] * len(positions)
    for where, i in enumerate(order):
        out[i] = placed[where]
    return out


def shorten(words: str, length: int) -> str:
    """At most ``length`` characters, cut in the middle."""
    if len(words) <= length:
        return words
    head = math.ceil((length - 1) / 2)
    return f"{words[:head]}…{words[len(words) - (length - 1 - head) :]}"
