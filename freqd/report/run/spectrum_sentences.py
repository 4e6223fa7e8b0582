"""The spectrum of a run in words and as a table of bands."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from freqd import numbers as fmt
from freqd.report.run_result import RunResult
from freqd.report.run_result_parts import ChosenFilter, ModelName, Series, Side, Use
from freqd.report.table import Table

SIDES: tuple[Side, ...] = ("user", "item")
PLURAL = {"user": "users", "item": "items"}
NOTICEABLE = 0.005
"""A relative change of the validation NDCG below this is not worth a sentence."""
FALL = 0.02
"""A fall of the mean mastery below this is not worth a sentence."""


def filter_label(chosen: ChosenFilter) -> str:
    """The filter's form and formula; its short text where the formula would be long."""
    if chosen.is_identity:
        return "none (identity), h(λ) = 1"
    if chosen.form == "chebyshev":
        return chosen.named
    factor = f"1 {'−' if chosen.alpha >= 0 else '+'} {abs(chosen.alpha):g}λ"
    return f"{chosen.form}, h(λ) = {factor if chosen.form == 'linear' else f'({factor})²'}"


def filter_rows(summary: RunResult) -> list[tuple[str, str, str]]:
    """Rows (what it is for, the users' filter, the items' filter) of the filters that distillation used."""
    what: dict[Use, str] = {
        "feature": "Feature loss: how much each frequency weighs",
        "ranking": "Ranking loss: how the teacher is filtered before its ranking is imitated",
    }
    used = summary.spectrum.filters.used()
    return [(what[use], filter_label(sides.user), filter_label(sides.item)) for use, sides in used.items()]


def side_sentences(summary: RunResult, side: Side) -> list[str]:
    """What the bands of one side say about the teacher, the ranking and the student."""
    said = (_energy(summary, side), _needed(summary, side), _learned(summary, side))
    return [sentence for sentence in said if sentence]


def band_name(summary: RunResult, index: int, between: str = " to ") -> str:
    """Where a band lies, as ``0.25 to 0.5``."""
    low, high = summary.spectrum.edges[index : index + 2]
    return f"{low:.3g}{between}{high:.3g}"


def _energy(summary: RunResult, side: Side) -> str:
    bands = summary.spectrum.of(side)
    low = np.array(summary.spectrum.edges[1:]) <= 1.0 + 1e-9
    energy, density = (fmt.percent(float(np.array(values)[low].sum())) for values in (bands.energy, bands.density))
    return (
        f"{energy} of the teacher's energy on the {PLURAL[side]}' graph lies in the low half "
        f"of the frequencies (what many similar {PLURAL[side]} share), where {density} of all components are."
    )


def _needed(summary: RunResult, side: Side) -> str:
    base = summary.spectrum.base_ndcg
    if not base:
        return ""
    change = np.array(summary.spectrum.of(side).importance_without) / base - 1.0
    worst, best = int(np.argmin(change)), int(np.argmax(change))
    if change[worst] > -NOTICEABLE:
        said = "No single band is needed for the ranking: removing any one of them costs less than half a per cent"
    else:
        said = (
            f"The ranking needs the band λ {band_name(summary, worst)} most: without it the teacher's validation NDCG@10 falls "
            f"by {fmt.percent(-float(change[worst]))}"
        )
    if change[best] > NOTICEABLE:
        said += (
            f". The band λ {band_name(summary, best)} harms it: without it NDCG@10 rises by "
            f"{fmt.percent(float(change[best]), 1)}, which a filter can exploit"
        )
    return f"{said}."


def _learned(summary: RunResult, side: Side) -> str:
    mastery = summary.spectrum.of(side).mastery
    student = np.array(mastery["student"])
    weakest, strongest = int(np.argmin(student)), int(np.argmax(student))
    said = (
        f"The student has mastered the band λ {band_name(summary, strongest)} best ({fmt.percent(float(student[strongest]))} of the "
        f"teacher's features there can be read off the student's) and λ {band_name(summary, weakest)} least "
        f"({fmt.percent(float(student[weakest]))})"
    )
    if "scratch" in mastery:
        scratch = np.array(mastery["scratch"])
        gain = student - scratch
        most = int(np.argmax(gain))
        if gain[most] > 0.005:
            said += (
                f"; distillation added most in λ {band_name(summary, most)} ({fmt.percent(float(scratch[most]))} without distillation, "
                f"{fmt.percent(float(student[most]))} with it)"
            )
        else:
            said += "; in no band is it more than the no-distillation baseline's"
    return f"{said}."


def mastery_falls(summary: RunResult) -> list[str]:
    """Why the student may express less of the teacher's features while it ranks better; empty where it does not."""
    known = [entry for entry in summary.training.student.history if entry.mastery_user and entry.mastery_item]
    if len(known) < 2:
        return []
    first, last = (float(np.mean([*entry.mastery_user, *entry.mastery_item])) for entry in (known[0], known[-1]))
    better = (known[-1].valid_ndcg_at_10 or 0.0) > (known[0].valid_ndcg_at_10 or 0.0)
    if not better or first - last < FALL:
        return []
    return [
        f"On average it falls from {fmt.percent(first)} to {fmt.percent(last)} while the ranking improves: the ranking loss spends the "
        "student's few numbers on the order of items, and lets go of what the teacher's features hold besides."
    ]


def band_table(summary: RunResult, side: Side) -> Table:
    """One side's bands, a row a band."""
    bands = summary.spectrum.of(side)
    columns: list[tuple[str, Series, Callable[[float], str]]] = [
        ("Components", bands.density, fmt.percent),
        ("Teacher's energy", bands.energy, fmt.percent),
        ("NDCG@10, only this band", bands.importance_only, fmt.metric),
        ("NDCG@10 without it", bands.importance_without, fmt.metric),
    ]
    students: tuple[tuple[str, ModelName], ...] = (
        ("no-distillation baseline", "scratch"),
        ("SVD", "svd"),
        ("student", "student"),
    )
    columns += [
        (f"Mastery, {what}", bands.mastery[name], fmt.percent) for what, name in students if name in bands.mastery
    ]
    header = ["Band λ", *(name for name, _, _ in columns)]
    body = [
        [band_name(summary, i), *(show(values[i]) for _, values, show in columns)] for i in range(len(bands.energy))
    ]
    return Table(f"Bands of the {PLURAL[side]}' graph", header, body, frozenset(range(1, len(header))))
