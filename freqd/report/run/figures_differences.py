"""The student against others within each group, with intervals: whether a gain or a loss there is more than chance."""

from __future__ import annotations

from freqd import numbers as fmt
from freqd.report.canvas import FONT, new_figure, png, role_legend, shorten, style_axes
from freqd.report.palette import INK, SOFT_INK
from freqd.report.run.groups import OPPONENTS, GroupDifference, by_activity, by_popularity
from freqd.report.run_result import RunResult

LANE = 0.26
"""The others are drawn this far apart within a group's row."""


def differences_users(summary: RunResult) -> bytes | None:
    """Differences of NDCG@10 by the users' activity; None if they were not measured."""
    rows = by_activity(summary)
    return _rows(rows, "users", "Student minus the other, NDCG@10", "By the users' activity, with intervals")


def differences_items(summary: RunResult) -> bytes | None:
    """Differences of recall@10 by the items' popularity; None if they were not measured."""
    rows = by_popularity(summary)
    return _rows(rows, "targets", "Student minus the other, recall@10", "By the items' popularity, with intervals")


def _rows(rows: list[GroupDifference], counted: str, label: str, title: str) -> bytes | None:
    """A row a group, a lane an other model; a mark beyond the line at 0 with its whole interval is more than chance."""
    if not any(row.found for row in rows):
        return None
    groups = {row.group: f"{_short(row.group)}\n{fmt.count(row.size)} {counted}" for row in rows}
    others = [other for other in OPPONENTS if any(row.other is other and row.found for row in rows)]
    places = {group: place for place, group in enumerate(groups)}
    height = 1.25 + 0.58 * max(len(groups), 3)
    longest = max(len(line) for text in groups.values() for line in text.split("\n"))
    figure = new_figure(height)
    axes = figure.subplots()
    figure.subplots_adjust(
        left=0.04 + 0.0125 * max(longest, 8), right=0.965, top=1 - 0.35 / height, bottom=0.85 / height
    )
    axes.axvline(0.0, color=SOFT_INK, linewidth=1.0, zorder=1)
    for row in rows:
        if row.found is None:
            continue
        y = places[row.group] + LANE * (others.index(row.other) - (len(others) - 1) / 2)
        axes.plot([row.found.low, row.found.high], [y, y], color=row.other.colour, linewidth=1.8, zorder=2)
        axes.plot(
            row.found.mean,
            y,
            row.other.marker,
            color=row.other.colour,
            markersize=6.5,
            markeredgecolor="white",
            zorder=3,
        )
    axes.margins(x=0.08)
    axes.set_ylim(len(groups) - 0.45, -0.55)
    axes.locator_params(axis="x", nbins=5)
    style_axes(axes, title=title, x=label, grid="x")
    axes.set_yticks(range(len(groups)), list(groups.values()), parse_math=False)
    axes.tick_params(axis="y", labelsize=FONT - 0.5, labelcolor=INK)
    role_legend(figure, others)
    return png(figure)


def _short(name: str) -> str:
    return shorten(name.removesuffix(" train interactions").replace("\n", " "), 24)
