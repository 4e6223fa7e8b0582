"""A comparison for readers: a table a data set and size, as text, Markdown and CSV, and two figures a data set."""

from __future__ import annotations

import csv as csv_format
import io
import math
from typing import TYPE_CHECKING

import numpy as np

from freqd import numbers as fmt
from freqd.report.canvas import FONT, WIDTH, legend, new_figure, png, shorten, style_axes
from freqd.report.comparison_result import (
    ComparedData,
    ComparedReference,
    ComparisonResult,
    MethodResult,
    SeedStatistics,
)
from freqd.report.markdown import escape
from freqd.report.palette import INK, SCRATCH, SVD, TEACHER
from freqd.report.run.spectrum_sentences import PLURAL, SIDES
from freqd.report.table import Table, for_terminal

if TYPE_CHECKING:
    from matplotlib.axes import Axes

UNKNOWN = "not known"
"""An interval that a single seed cannot give."""

METRICS = (("ndcg_at_10", "NDCG@10"), ("recall_at_10", "Recall@10"))
LOOKS = (
    ("#C84C00", "o"), ("#009E73", "v"), ("#CC79A7", "P"), ("#56B4E9", "X"), ("#6A3D9A", "p"), ("#8C6D1F", "<"), ("#1F2328", ">"),
)  # fmt: skip
"""Colour and marker of the distilled students, in their order."""

ENDS = {"": "mean", "_low": "low", "_high": "high"}
FIELDS = (
    "data", "dim", "method", "runs",
    *(f"{name}{end}" for name, _ in METRICS for end in ENDS),
    *(f"gap_closed{end}" for end in ENDS), *(f"minus_against{end}" for end in ENDS),
    "p_value", "p_holm", "seconds", "parameters", "bytes", "median_ms",
)  # fmt: skip
"""Columns of the CSV file; a number that is not known is empty."""

FIGURES = {
    "methods": "Methods side by side",
    "size": "Quality against size and latency",
    "mastery": "What of the teacher each method has learnt, by frequency",
}


def tables(result: ComparisonResult) -> list[tuple[str, Table]]:
    """(data set, table) of every data set and size; the teacher is the first row of each."""
    level = fmt.percent(result.confidence)
    header = [
        "method", "seeds", *(words for _, label in METRICS for words in (label, f"{level} interval")),
        "gap closed", f"minus {result.against}", "p (Holm)", "seconds", "parameters",
    ]  # fmt: skip
    return [
        (
            entry.name,
            Table(
                f"{entry.name}, students of dimension {table.dim}",
                header,
                [_cells(entry.teacher), *map(_reference_cells, entry.references), *map(_cells, table.rows)],
                frozenset(range(1, len(header))),
            ),
        )
        for entry in result.data
        for table in entry.tables
    ]


def _cells(row: MethodResult) -> list[str]:
    test = row.minus_against
    return [
        f"teacher ({row.dim})" if row.method == "teacher" else row.method,
        str(len(row.seeds)) if row.seeds else fmt.MISSING,
        *(words for name, _ in METRICS for words in (fmt.metric(row.metrics[name].mean), _interval(row.metrics[name]))),
        fmt.percent(row.gap_closed.value if row.gap_closed else None),
        fmt.signed(test.mean if test else None),
        fmt.MISSING if test is None else "< 0.001" if test.p_holm < 0.001 else f"{test.p_holm:.3f}",
        fmt.duration(row.seconds),
        fmt.count(row.parameters),
    ]


def _reference_cells(row: ComparedReference) -> list[str]:
    measured = (words for name, _ in METRICS for words in (fmt.metric(row.metrics[name]), UNKNOWN))
    return [row.name, fmt.MISSING, *measured, *[fmt.MISSING] * 4, fmt.count(row.parameters)]


def _interval(measured: SeedStatistics) -> str:
    if measured.low is None or measured.high is None:
        return UNKNOWN
    return f"{fmt.metric(measured.low)} to {fmt.metric(measured.high)}"


def plain(result: ComparisonResult, width: int | None = None) -> str:
    """All tables for a terminal of this width, with what the numbers mean below."""
    return for_terminal([*(f"{table.caption}\n\n{table.text(width)}" for _, table in tables(result)), *notes(result)])


def markdown(result: ComparisonResult, *, images: bool = True) -> str:
    """All tables as GitHub-flavoured Markdown, with the figures beside the file if ``images``."""
    parts = [f"# {escape(result.name)}"]
    shown = tables(result)
    for entry in result.data:
        counts = ", ".join(
            f"{fmt.count(n)} {what}"
            for n, what in ((entry.users, "users"), (entry.items, "items"), (entry.interactions, "interactions"))
        )
        parts += [f"## {escape(entry.name)}", f"{counts}; {entry.split} split."]
        for owner, table in shown:
            if owner == entry.name:
                parts += [f"### {escape(table.caption)}", table.markdown()]
        if images:
            parts += [f"![{title}]({figure}-{entry.name}.png)" for figure, title in FIGURES.items()]
    parts += ["## How to read it", *(escape(note) for note in notes(result))]
    return "\n\n".join(parts) + "\n"


def notes(result: ComparisonResult) -> list[str]:
    """What the columns mean, and why some cells are empty."""
    judged = f"Test split, protocol {result.protocol}."
    seeds = ", ".join(map(str, result.seeds))
    said = [
        f"{judged} Means over the seeds {seeds} with Student's t interval; data, teacher and spectrum are the same for all."
        if len(result.seeds) > 1
        else f"{judged} One seed, so the intervals over seeds are not known: raise --seeds.",
        "Gap closed is (method − scratch) / (teacher − scratch) on NDCG@10; scratch is the no-distillation baseline. "
        f"Minus {result.against} is NDCG@10 minus that of {result.against}; p is two-sided, from a paired bootstrap over users "
        f"({fmt.count(result.bootstrap_samples)} resamples, values averaged over "
        "the seeds), corrected for the number of methods in the table (Holm).",
        "The teacher and models of any size (popular, item-knn, ease) were trained once and the SVD student has no random choice, so none has an interval over seeds. Seconds are "
        "those of one training; those of scratch include the choice of its settings.",
    ]
    reasons = dict.fromkeys(
        f"{entry.name}, dimension {table.dim}: {row.gap_closed.reason}."
        for entry in result.data
        for table in entry.tables
        for row in table.rows
        if row.gap_closed and row.gap_closed.reason
    )
    return [*said, *_chosen(result), *reasons]


def _chosen(result: ComparisonResult) -> list[str]:
    """Which step size and L2 strength each method has, where they differ."""
    said = []
    for entry in result.data:
        for table in entry.tables:
            taught = [row for row in table.rows if row.method != "scratch" and row.learning_rate is not None]
            if len({(row.learning_rate, row.weight_decay) for row in taught}) > 1:
                each = "; ".join(f"{row.method}: {row.learning_rate:g}, {row.weight_decay:g}" for row in taught)
                said.append(f"{entry.name}, dimension {table.dim}, step size and L2 strength: {each}.")
    return said


def csv(result: ComparisonResult) -> str:
    """One line a data set, size and method in full precision; the teacher's size is its own."""
    out = io.StringIO()
    writer = csv_format.DictWriter(out, FIELDS, lineterminator="\n")
    writer.writeheader()
    for entry in result.data:
        for row in (entry.teacher, *entry.students()):
            writer.writerow({"data": entry.name, **_flat(row)})
    return out.getvalue()


def _flat(row: MethodResult) -> dict[str, object]:
    """The row by the names of ``FIELDS``; what is left out is empty in the file."""
    flat: dict[str, object] = row.model_dump(
        include={"dim", "method", "runs", "seconds", "parameters", "bytes", "median_ms"}
    )
    for end, part in ENDS.items():
        flat |= {f"{name}{end}": getattr(row.metrics[name], part) for name, _ in METRICS}
        if row.gap_closed:
            flat[f"gap_closed{end}"] = getattr(row.gap_closed, "value" if part == "mean" else part)
        if row.minus_against:
            flat[f"minus_against{end}"] = getattr(row.minus_against, part)
    return flat | (row.minus_against.model_dump(include={"p_value", "p_holm"}) if row.minus_against else {})


def figures(result: ComparisonResult) -> dict[str, bytes]:
    """``methods-NAME``, ``size-NAME`` and ``mastery-NAME`` of every data set, as PNG bytes by name (no extension)."""
    level = fmt.percent(result.confidence)
    drawn = {}
    for entry in result.data:
        drawn[f"methods-{entry.name}"] = methods_side_by_side(entry, level)
        drawn[f"size-{entry.name}"] = quality_against_size(entry)
        drawn[f"mastery-{entry.name}"] = mastery_by_band(entry)
    return drawn


def methods_side_by_side(entry: ComparedData, level: str) -> bytes:
    """NDCG@10 of every method, one panel a size, whiskers over the seeds where known, the teacher as a line."""
    sizes, names = entry.tables, _methods(entry)
    height = 1.25 + 0.3 * len(names)
    width = max(WIDTH, 1.5 + 2.0 * len(sizes))
    figure = new_figure(height, width=width)
    figure.subplots_adjust(left=1.5 / width, right=0.97, top=1 - 0.42 / height, bottom=0.72 / height, wspace=0.1)
    panels = figure.subplots(1, len(sizes), sharex=True, sharey=True, squeeze=False)[0]
    for axes, table in zip(panels, sizes, strict=True):
        for row in table.rows:
            place = names.index(row.method)
            colour, marker = _look(row.method, names)
            if row.ndcg.low is not None:
                axes.plot(
                    [row.ndcg.low, row.ndcg.high],
                    [place, place],
                    color=colour,
                    linewidth=2.2,
                    alpha=0.5,
                    solid_capstyle="round",
                )
            axes.plot(row.ndcg.mean, place, marker, color=colour, markersize=7)
        _teacher_line(axes, entry, vertical=True)
        axes.locator_params(axis="x", nbins=4)
        style_axes(axes, title=f"Dimension {table.dim}", x="NDCG@10, test", grid="x")
    panels[0].set_ylim(len(names) - 0.5, -0.5)
    panels[0].set_yticks(range(len(names)), [shorten(name, 20) for name in names], parse_math=False)
    panels[0].tick_params(axis="y", labelsize=FONT, labelcolor=INK)
    figure.text(0.02, 0.03, f"Line: teacher. Whiskers: {level} over seeds, where known.", fontsize=FONT - 1, color=INK)
    return png(figure)


def quality_against_size(entry: ComparedData) -> bytes:
    """NDCG@10 against the students' size and against the time of one ranking (log axes), the teacher as a line or point."""
    names = _methods(entry)
    width = 1.5 * WIDTH
    figure = new_figure(3.6, width=width)
    figure.subplots_adjust(left=0.09, right=0.78, top=0.9, bottom=0.14, wspace=0.08)
    by_size, by_time = figure.subplots(1, 2, sharey=True)
    sizes = [table.dim for table in entry.tables]
    dodge = max(max(sizes) / min(sizes), 2.0) ** 0.008
    for place, name in enumerate(names):
        colour, marker = _look(name, names)
        shift = dodge ** (place - (len(names) - 1) / 2)
        shown: list[tuple[float, float, float]] = []
        for row in (row for row in entry.students() if row.method == name):
            shown.append((row.dim * shift, row.median_ms, row.ndcg.mean))
            if row.ndcg.low is not None:
                ends = [row.dim * shift] * 2, [row.ndcg.low, row.ndcg.high]
                by_size.plot(*ends, color=colour, linewidth=1.8, alpha=0.45, solid_capstyle="round")
        x, milliseconds, y = zip(*shown, strict=True)
        by_size.plot(x, y, marker=marker, color=colour, linewidth=1.4, markersize=6, label=shorten(name, 18))
        by_time.plot(milliseconds, y, marker=marker, color=colour, linestyle="none", markersize=6)
    best = entry.teacher.ndcg.mean
    by_time.plot(entry.teacher.median_ms, best, TEACHER.marker, color=TEACHER.colour, markersize=8)
    for axes in (by_size, by_time):
        axes.set_xscale("log")
        _teacher_line(axes, entry, vertical=False)
        axes.tick_params(axis="x", which="minor", length=0)
        axes.xaxis.set_minor_formatter(lambda value, _: "")
    by_size.set_xticks(sizes, [f"{size:g}" for size in sizes])
    by_time.set_xticks(*_round_ticks(*by_time.get_xlim()))
    style_axes(by_size, title=shorten(entry.name, 30), x="Embedding dimension", y="NDCG@10, test")
    style_axes(by_time, x="Milliseconds per ranking, one thread")
    legend(by_size, loc="upper left", bbox_to_anchor=(2.12, 1.0))
    return png(figure)


def _round_ticks(low: float, high: float) -> tuple[list[float], list[str]]:
    """Round numbers between two positive ends, as few kinds of them as give three ticks."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    shown: list[float] = []
    for digits in ((1,), (1, 3), (1, 2, 5), (1, 2, 3, 5, 7)):
        shown = [t for power in powers for digit in digits if low <= (t := float(f"{digit}e{power}")) <= high]
        if len(shown) > 2:
            break
    return shown, [f"{tick:g}" for tick in shown]


def mastery_by_band(entry: ComparedData) -> bytes:
    """Mastery of the teacher by graph frequency, a line a method: a row of panels a size, users left, items right."""
    sizes, names = entry.tables, _methods(entry)
    ends = np.array(entry.edges)
    centres = (ends[:-1] + ends[1:]) / 2
    height = 0.9 + 2.2 * len(sizes)
    figure = new_figure(height, width=1.5 * WIDTH)
    figure.subplots_adjust(left=0.09, right=0.78, top=1 - 0.35 / height, bottom=0.55 / height, wspace=0.08, hspace=0.35)
    panels = figure.subplots(len(sizes), 2, sharex=True, sharey=True, squeeze=False)
    lowest = 0.0
    for line, table in zip(panels, sizes, strict=True):
        for axes, side in zip(line, SIDES, strict=True):
            for row in table.rows:
                if row.mastery is None:
                    continue
                values, name = row.mastery.of(side), row.method
                lowest = min(lowest, *values)
                colour, marker = _look(name, names)
                axes.plot(
                    centres, values, marker=marker, color=colour, linewidth=1.4, markersize=5, label=shorten(name, 18)
                )
            title = f"{PLURAL[side].capitalize()}, dimension {table.dim}"
            style_axes(axes, title=title, y="Mastery" if side == SIDES[0] else "")
    panels[0][0].set_ylim(max(lowest, -0.5) * 1.1 - 0.02, 1.05)
    panels[0][0].yaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f} %")
    for axes in panels[-1]:
        axes.set_xlabel("Graph frequency λ", fontsize=FONT)
    legend(panels[0][1], loc="upper left", bbox_to_anchor=(1.04, 1.0))
    return png(figure)


def _teacher_line(axes: Axes, entry: ComparedData, *, vertical: bool) -> None:
    draw = axes.axvline if vertical else axes.axhline
    label = f"teacher ({entry.teacher.dim})"
    draw(entry.teacher.ndcg.mean, color=TEACHER.colour, linewidth=1.4, linestyle=(0, (4, 2)), zorder=1, label=label)


def _methods(entry: ComparedData) -> list[str]:
    return list(dict.fromkeys(row.method for row in entry.students()))


def _look(method: str, names: list[str]) -> tuple[str, str]:
    for role in (SCRATCH, SVD):
        if method == role.key:
            return role.colour, role.marker
    distilled = [name for name in names if name not in (SCRATCH.key, SVD.key)]
    return LOOKS[distilled.index(method) % len(LOOKS)]
