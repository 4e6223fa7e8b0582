"""Numbers as a reader wants them: fixed digits, units, and a dash where there is none."""

from __future__ import annotations

import math

MISSING = "–"
SIGNS = {">=": "≥", "<=": "≤"}
NBSP = "\u00a0"
"""Between a number and its unit, so that no line breaks there."""


def metric(value: float | None) -> str:
    """A ranking metric with four decimals."""
    return MISSING if value is None else f"{value:.4f}"


def signed(value: float | None) -> str:
    """A difference of metrics, with its sign."""
    return MISSING if value is None else f"{value:+.4f}".replace("-", "−")


def count(value: float | None) -> str:
    """A count with thousands separators."""
    return MISSING if value is None else f"{round(value):,}"


def percent(value: float | None, digits: int = 0) -> str:
    """A share as a percentage."""
    if value is None:
        return MISSING
    rounded = round(100.0 * value, digits) + 0.0  # + 0.0 turns -0.0 into 0.0
    return f"{rounded:.{digits}f}{NBSP}%".replace("-", "−")


def size(n_bytes: float | None) -> str:
    """Bytes in decimal units, three significant digits."""
    if n_bytes is None:
        return MISSING
    value = float(n_bytes)
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if abs(value) < 999.5 or unit == "TB":
            break
        value /= 1000.0
    return f"{value:.0f}{NBSP}B" if unit == "B" else f"{_three_digits(value)}{NBSP}{unit}"


def duration(seconds: float | None) -> str:
    """A time span: milliseconds to hours, whatever reads best."""
    if seconds is None:
        return MISSING
    if seconds < 0.0005:
        return f"0{NBSP}s"
    if seconds < 0.9995:
        return f"{seconds:.2f}{NBSP}s"
    if seconds < 99.95:
        return f"{seconds:.1f}{NBSP}s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}{NBSP}min{NBSP}{rest:02d}{NBSP}s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}{NBSP}h{NBSP}{minutes:02d}{NBSP}min"


def milliseconds(value: float | None) -> str:
    """Milliseconds with three significant digits."""
    return MISSING if value is None else f"{_three_digits(value)}{NBSP}ms"


def times(ratio: float | None) -> str:
    """A ratio, as in 12.8×."""
    if ratio is None:
        return MISSING
    digits = (
        f"{ratio:,.0f}" if ratio >= 99.5 else f"{ratio:.1f}".removesuffix(".0") if ratio >= 1.95 else f"{ratio:.2f}"
    )
    return f"{digits}×"


def probability(p_value: float | None) -> str:
    """A p-value the way it is printed: never as zero."""
    if p_value is None:
        return MISSING
    return "p < 0.001" if p_value < 0.001 else f"p = {p_value:.3f}"


def plain(value: float | None) -> str:
    """Any number, short: integers as such, others with four significant digits, never as 1e-05."""
    if value is None:
        return MISSING
    if not math.isfinite(value) or not (value == 0 or 1e-9 <= abs(value) < 1e15):
        return f"{value:.3g}"
    if value == int(value):
        return f"{int(value):,}".replace("-", "−")
    digits = max(0, 3 - math.floor(math.log10(abs(value))))
    return (
        f"{value:,.{digits}f}".replace("-", "−").rstrip("0").rstrip(".")
        if digits
        else f"{value:,.0f}".replace("-", "−")
    )


def limit(text: str) -> str:
    """A condition such as ``>= 0.37851234``, with the number as ``plain`` has it."""
    sign, _, number = text.partition(" ")
    try:
        return f"{SIGNS.get(sign, sign)} {plain(float(number))}"
    except ValueError:
        return text


def _three_digits(value: float) -> str:
    if abs(value) >= 99.95:
        return f"{value:,.0f}"
    if abs(value) >= 9.995:
        return f"{value:.1f}"
    return f"{value:.2f}" if abs(value) >= 0.0995 else f"{value:.3g}"
