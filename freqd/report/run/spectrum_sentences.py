"""The spectrum of a run in words and as a table of bands."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from freqd.report import numbers as fmt
from freqd.report.access import Summary, dig, number, series, text
from freqd.report.palette import ROLES

Side = Literal["user", "item"]
Use = Literal["feature", "ranking"]
SIDES: tuple[Side, ...] = ("user", "item")
PLURAL = {"user": "users", "item": "items"}
NOTICEABLE = 0.005
"""A relative change of the validation NDCG below this is not worth a sentence."""


def edges(summary: Summary, side: Side) -> list[float]:
    """The band edges on [0, 2] of a side that has values for them, else empty."""
    bounds = _bounds(summary, side)
    known = any(
        band_values(summary, side, key) for key in ("energy", "density", "importance_only", "importance_without")
    )
    known = known or any(band_values(summary, side, "mastery", role.key) for role in ROLES)
    return bounds if known else []


def _bounds(summary: Summary, side: Side) -> list[float]:
    given = dig(summary, "spectrum", "edges")
    bounds = series(given, side) if isinstance(given, Mapping) else series(summary, "spectrum", "edges")
    rising = all(low < high for low, high in pairwise(bounds))  # False where one is NaN
    return bounds if len(bounds) >= 2 and rising else []


def band_values(summary: Summary, side: Side, *path: str) -> list[float]:
    """One value a band, NaN where missing; empty unless there is exactly one a band and one is a number."""
    values = series(summary, "spectrum", side, *path)
    fits = len(values) == len(_bounds(summary, side)) - 1
    return values if fits and any(math.isfinite(v) for v in values) else []


def filter_of(summary: Summary, use: Use, side: Side) -> object:
    """The filter as the summary gives it: its fields, else its label; None if there is none.

    The ranking filter's fields may also be the side's ``response``, which serves the feature filter of equal label.
    """
    given, ranking = (dig(summary, "spectrum", "filters", u, side) for u in (use, "ranking"))
    fields = dig(summary, "spectrum", side, "response")
    return fields if isinstance(fields, Mapping) and isinstance(given, str) and given == ranking else given


def filter_label(summary: Summary, use: Use, side: Side) -> str:
    """The filter's form and formula; its own label if it cannot be read, empty if there is none."""
    chosen = filter_of(summary, use, side)
    form, alpha, _ = _fields(chosen)
    if form == "identity" or (form in ("linear", "quadratic") and alpha == 0.0):
        return "none (identity), h(λ) = 1"
    if form in ("linear", "quadratic") and alpha is not None:
        factor = f"1 {'−' if alpha >= 0 else '+'} {abs(alpha):g}λ"
        return f"{form}, h(λ) = {factor}" if form == "linear" else f"{form}, h(λ) = ({factor})²"
    return text(chosen, "label") or form if isinstance(chosen, Mapping) else text(chosen)


def filter_response(chosen: object, frequency: npt.NDArray[np.float64]) -> npt.NDArray[np.float64] | None:
    """h(λ) of a filter given by its fields (form, alpha, coefficients) or by its label; None if it cannot be read.

    identity: 1; linear: 1 − αλ; quadratic: (1 − αλ)²; chebyshev: Σ c_k T_k(λ − 1).
    """
    form, alpha, coefficients = _fields(chosen)
    if form == "identity":
        return np.ones_like(frequency)
    if form == "linear" and alpha is not None:
        return 1.0 - alpha * frequency
    if form == "quadratic" and alpha is not None:
        return np.asarray((1.0 - alpha * frequency) ** 2)
    if form == "chebyshev" and coefficients and all(math.isfinite(c) for c in coefficients):
        return np.asarray(np.polynomial.chebyshev.chebval(frequency - 1.0, coefficients))
    return None


def _fields(chosen: object) -> tuple[str, float | None, list[float]]:
    if isinstance(chosen, Mapping):
        return text(chosen, "form"), number(chosen, "alpha"), series(chosen, "coefficients")
    return *_from_label(str(chosen or "")), []


def _from_label(label: str) -> tuple[str, float | None]:
    lowered = label.lower()
    strength = re.search(r"(?:α|alpha)\s*=?\s*(-?\d*\.?\d+)|(\d*\.?\d+)\s*λ", lowered)
    alpha = float(strength.group(1) or strength.group(2)) if strength else None
    if "identity" in lowered or "no filter" in lowered:
        return "identity", None
    if "quadratic" in lowered or ")²" in lowered or "λ)^2" in lowered:
        return "quadratic", alpha
    if "linear" in lowered or re.search(r"1\s*[−-]", lowered):
        return "linear", alpha
    return "", None


def filter_rows(summary: Summary) -> list[tuple[str, str, str]]:
    """Rows (what it is for, the users' filter, the items' filter) of the filters that distillation used."""
    uses: tuple[tuple[Use, str], ...] = (
        ("feature", "Feature loss: how much each frequency weighs"),
        ("ranking", "Ranking loss: how the teacher is filtered before its ranking is imitated"),
    )
    out = [(what, filter_label(summary, use, "user"), filter_label(summary, use, "item")) for use, what in uses]
    return [row for row in out if row[1] or row[2]]


def side_sentences(summary: Summary, side: Side) -> list[str]:
    """What the bands of one side say about the teacher, the ranking and the student."""
    bounds = edges(summary, side)
    if not bounds:
        return []
    return [
        said
        for said in (_energy(summary, side, bounds), _needed(summary, side, bounds), _learned(summary, side, bounds))
        if said
    ]


def _band(bounds: list[float], index: int) -> str:
    return f"{bounds[index]:.3g} to {bounds[index + 1]:.3g}"


def _energy(summary: Summary, side: Side, bounds: list[float]) -> str:
    energy = np.array(band_values(summary, side, "energy"))
    if not energy.size:
        return ""
    low = np.array(bounds[1:]) <= 1.0 + 1e-9
    said = (
        f"{fmt.percent(float(np.nansum(energy[low])))} of the teacher's energy on the {PLURAL[side]}' graph lies in the low half "
        "of the frequencies (what many similar " + PLURAL[side] + " share)"
    )
    density = np.array(band_values(summary, side, "density"))
    if density.size:
        said += f", where {fmt.percent(float(np.nansum(density[low])))} of all components are"
    return f"{said}."


def _needed(summary: Summary, side: Side, bounds: list[float]) -> str:
    base = number(summary, "spectrum", "base_ndcg")
    without = np.array(band_values(summary, side, "importance_without"))
    if not without.size or not base:
        return ""
    change = without / base - 1.0
    worst, best = int(np.nanargmin(change)), int(np.nanargmax(change))
    if change[worst] > -NOTICEABLE:
        said = "No single band is needed for the ranking: taking any one away costs less than half a per cent"
    else:
        said = (
            f"The ranking needs the band λ {_band(bounds, worst)} most: without it the teacher's validation NDCG@10 falls "
            f"by {fmt.percent(-float(change[worst]))}"
        )
    if change[best] > NOTICEABLE:
        said += (
            f". The band λ {_band(bounds, best)} harms it: without it NDCG@10 rises by {fmt.percent(float(change[best]), 1)}, "
            "which is what a filter can use"
        )
    return f"{said}."


def _learned(summary: Summary, side: Side, bounds: list[float]) -> str:
    student = np.array(band_values(summary, side, "mastery", "student"))
    if not student.size:
        return ""
    weakest, strongest = int(np.nanargmin(student)), int(np.nanargmax(student))
    said = (
        f"The student has mastered the band λ {_band(bounds, strongest)} best ({fmt.percent(float(student[strongest]))} of the "
        f"teacher's features there can be read off the student's) and λ {_band(bounds, weakest)} least "
        f"({fmt.percent(float(student[weakest]))})"
    )
    scratch = np.array(band_values(summary, side, "mastery", "scratch"))
    if scratch.size and np.isfinite(student - scratch).any():
        gain = student - scratch
        most = int(np.nanargmax(gain))
        if gain[most] > 0.005:
            said += (
                f"; distillation added most in λ {_band(bounds, most)} ({fmt.percent(float(scratch[most]))} when trained alone, "
                f"{fmt.percent(float(student[most]))} when distilled)"
            )
        else:
            said += "; in no band is it more than in a student trained alone"
    return f"{said}."


def band_table(summary: Summary, side: Side) -> tuple[list[str], list[list[str]]]:
    """Header and rows of one side's bands, formatted; without rows if there is no spectrum."""
    bounds = edges(summary, side)
    columns: list[tuple[str, list[float], Any]] = [
        ("Components", band_values(summary, side, "density"), fmt.percent),
        ("Teacher's energy", band_values(summary, side, "energy"), fmt.percent),
        ("NDCG@10, only this band", band_values(summary, side, "importance_only"), fmt.metric),
        ("NDCG@10 without it", band_values(summary, side, "importance_without"), fmt.metric),
        ("Mastery, trained alone", band_values(summary, side, "mastery", "scratch"), fmt.percent),
        ("Mastery, SVD", band_values(summary, side, "mastery", "svd"), fmt.percent),
        ("Mastery, student", band_values(summary, side, "mastery", "student"), fmt.percent),
    ]
    columns = [column for column in columns if column[1]]
    header = ["Band λ", *(name for name, _, _ in columns)]
    body = [
        [_band(bounds, i), *(show(v[i] if math.isfinite(v[i]) else None) for _, v, show in columns)]
        for i in range(len(bounds) - 1)
    ]
    return header, body
