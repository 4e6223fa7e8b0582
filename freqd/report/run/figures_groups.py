"""Who gains and who loses: quality by the users' activity and by the items' popularity."""

from __future__ import annotations

from freqd.report import numbers as fmt
from freqd.report.access import Summary, number, rows, text
from freqd.report.canvas import FONT, dress, png, role_legend, sheet, shorten
from freqd.report.palette import INK, SCRATCH, STUDENT, TEACHER, Role

COMPARED = (TEACHER, SCRATCH, STUDENT)
UNIT = " train interactions"
"""What every group of users is counted in; said once, in the title."""
LANE = 0.2
"""Models are drawn this far apart within a group's row, so that equal values do not hide each other."""


def group_names(summary: Summary, kind: str) -> list[str]:
    """The groups of ``kind`` ("activity" or "popularity") in the order in which the models list them."""
    names: dict[str, None] = {}
    for role in COMPARED:
        names.update(dict.fromkeys(text(row, "group") for row in rows(summary, "groups", role.key, kind)))
    return list(names)


def group_value(summary: Summary, role: Role, kind: str, group: str, field: str) -> float | None:
    """One number of one group of one model."""
    for row in rows(summary, "groups", role.key, kind):
        if text(row, "group") == group:
            return number(row, field)
    return None


def gains_users(summary: Summary) -> bytes | None:
    """NDCG@10 by the users' activity, one row a group, one marker a model; None without groups."""
    names = group_names(summary, "activity")
    title = "By the users' activity" + (f" ({UNIT.strip()})" if _in_title(names) else "")
    return _rows(summary, "activity", names, [("ndcg_at_10", "NDCG@10, test", False)], "users", title)


def _in_title(names: list[str]) -> bool:
    return bool(names) and all(name.endswith(UNIT) for name in names)


def gains_items(summary: Summary) -> bytes | None:
    """Recall@10 and share of the recommendations by the items' popularity; None without groups."""
    names = group_names(summary, "popularity")
    panels = [
        ("recall_at_10", "Recall@10 of such items, test", False),
        ("share_of_recommendations", "Share of recommendations", True),
    ]
    return _rows(summary, "popularity", names, panels, "targets", "By the items' popularity")


def _rows(
    summary: Summary, kind: str, names: list[str], panels: list[tuple[str, str, bool]], weight: str, title: str
) -> bytes | None:
    used = [
        p for p in panels if any(group_value(summary, r, kind, n, p[0]) is not None for r in COMPARED for n in names)
    ]
    if not used:
        return None
    height = 1.25 + 0.58 * max(len(names), 3)
    drop = UNIT if _in_title(names) else ""
    labels = [_name(summary, kind, name, weight, drop) for name in names]
    longest = max(len(line) for label in labels for line in label.split("\n"))
    figure = sheet(height)
    grid = figure.subplots(1, len(used), sharey=True, squeeze=False)[0]
    figure.subplots_adjust(
        left=0.04 + 0.0125 * max(longest, 8), right=0.965, top=1 - 0.35 / height, bottom=0.85 / height, wspace=0.16
    )
    for axes, (field, label, share) in zip(grid, used, strict=True):
        top = 0.0
        for row, name in enumerate(names):
            found = [
                (lane, v)
                for lane, role in enumerate(COMPARED)
                if (v := group_value(summary, role, kind, name, field)) is not None
            ]
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
        if share:
            axes.xaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f} %")
        dress(axes, title=title if axes is grid[0] else "", x=label, grid="x")
    grid[0].set_yticks(range(len(names)), labels, parse_math=False)
    grid[0].tick_params(axis="y", labelsize=FONT - 0.5, labelcolor=INK)
    role_legend(
        figure, [r for r in COMPARED if any(group_value(summary, r, kind, n, used[0][0]) is not None for n in names)]
    )
    return png(figure)


def _name(summary: Summary, kind: str, name: str, weight: str, drop: str) -> str:
    how_many = next((v for role in COMPARED if (v := group_value(summary, role, kind, name, weight)) is not None), None)
    short = shorten(name.removesuffix(drop).replace("\n", " "), 24)
    return short if how_many is None else f"{short}\n{fmt.count(how_many)} {weight}"
