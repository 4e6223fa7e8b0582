"""Who gains and who loses: quality by the users' activity and by the items' popularity."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from freqd import numbers as fmt
from freqd.report.canvas import FONT, new_figure, png, role_legend, shorten, style_axes
from freqd.report.palette import INK, SCRATCH, STUDENT, TEACHER, Role
from freqd.report.run_result import RunResult
from freqd.report.run_result_parts import Groups

COMPARED = (TEACHER, SCRATCH, STUDENT)
UNIT = " train interactions"
"""What every group of users is counted in; said once, in the title."""
LANE = 0.2
"""Models are drawn this far apart within a group's row, so that equal values do not hide each other."""


@dataclass(frozen=True)
class Measure:
    """One number of every group and model.

    Attributes:
        label: what it is.
        values: by model and group; None where it is not known.
        share: whether it is shown as a percentage.
    """

    label: str
    values: Mapping[Role, Mapping[str, float | None]]
    share: bool = False

    def of(self, role: Role, group: str) -> float | None:
        """That of one group of one model; None if the run did not have the model."""
        return self.values.get(role, {}).get(group)


def by_activity(summary: RunResult) -> Measure:
    """NDCG@10 by the users' activity."""
    found = _groups(summary)
    return Measure("NDCG@10, test", {r: {row.group: row.ndcg_at_10 for row in g.activity} for r, g in found})


def by_popularity(summary: RunResult) -> Measure:
    """Recall@10 by the items' popularity."""
    found = _groups(summary)
    values = {r: {row.group: row.recall_at_10 for row in g.popularity} for r, g in found}
    return Measure("Recall@10 of such items, test", values)


def _groups(summary: RunResult) -> list[tuple[Role, Groups]]:
    return [(role, found) for role in COMPARED if (found := summary.groups.of(role.key))]


def gains_users(summary: RunResult) -> bytes | None:
    """NDCG@10 by the users' activity, one row a group, one marker a model; None without groups."""
    names = {
        row.group: f"{_short(row.group.removesuffix(UNIT))}\n{fmt.count(row.users)} users"
        for row in summary.groups.teacher.activity
    }
    return _rows(names, [by_activity(summary)], f"By the users' activity ({UNIT.strip()})")


def gains_items(summary: RunResult) -> bytes | None:
    """Recall@10 and share of the recommendations by the items' popularity; None without groups."""
    names = {
        row.group: f"{_short(row.group)}\n{fmt.count(row.targets)} targets" for row in summary.groups.teacher.popularity
    }
    values = {r: {row.group: row.share_of_recommendations for row in g.popularity} for r, g in _groups(summary)}
    shares = Measure("Share of recommendations", values, share=True)
    return _rows(names, [by_popularity(summary), shares], "By the items' popularity")


def _short(name: str) -> str:
    return shorten(name.replace("\n", " "), 24)


def _rows(names: dict[str, str], measures: list[Measure], title: str) -> bytes | None:
    """A panel a measure, a row a group; ``names`` has the rows' labels by group."""
    used = [m for m in measures if any(m.of(role, name) is not None for role in COMPARED for name in names)]
    if not used:
        return None
    height = 1.25 + 0.58 * max(len(names), 3)
    longest = max(len(line) for label in names.values() for line in label.split("\n"))
    figure = new_figure(height)
    grid = figure.subplots(1, len(used), sharey=True, squeeze=False)[0]
    figure.subplots_adjust(
        left=0.04 + 0.0125 * max(longest, 8), right=0.965, top=1 - 0.35 / height, bottom=0.85 / height, wspace=0.16
    )
    for axes, measure in zip(grid, used, strict=True):
        top = 0.0
        for row, name in enumerate(names):
            found = [(lane, v) for lane, role in enumerate(COMPARED) if (v := measure.of(role, name)) is not None]
            top = max([top, *(v for _, v in found)])
            for lane, value in found:
                role, y = COMPARED[lane], row + LANE * (lane - 1)
                axes.plot([0.0, value], [y, y], color=role.colour, linewidth=1.4, alpha=0.45, zorder=2)
                axes.plot(
                    value,
                    y,
                    role.marker,
                    color=role.colour,
                    markersize=8 if role is STUDENT else 6.5,
                    markeredgecolor="white",
                    markeredgewidth=1.0,
                    zorder=4 if role is STUDENT else 3,
                )
        axes.set_ylim(len(names) - 0.45, -0.55)
        axes.set_xlim(0.0, 1.1 * top or 1.0)
        axes.locator_params(axis="x", nbins=4)
        if measure.share:
            axes.xaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f} %")
        style_axes(axes, title=title if axes is grid[0] else "", x=measure.label, grid="x")
    grid[0].set_yticks(range(len(names)), list(names.values()), parse_math=False)
    grid[0].tick_params(axis="y", labelsize=FONT - 0.5, labelcolor=INK)
    role_legend(figure, [r for r in COMPARED if any(used[0].of(r, name) is not None for name in names)])
    return png(figure)
