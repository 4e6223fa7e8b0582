"""Reading a summary that may lack anything: a missing, null or non-finite value is None, never an exception."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

Summary = Mapping[str, Any]


def dig(data: object, *path: str) -> Any:
    """The value at ``path``, or None if any step of it is missing."""
    for key in path:
        if not isinstance(data, Mapping):
            return None
        data = data.get(key)
    return data


def number(data: object, *path: str) -> float | None:
    """The finite number at ``path``, or None."""
    value = dig(data, *path)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) else None


def text(data: object, *path: str) -> str:
    """The value at ``path`` as text; empty if it is missing."""
    value = dig(data, *path)
    return "" if value is None else str(value)


def series(data: object, *path: str) -> list[float]:
    """The numbers of the list at ``path``, NaN where one is missing; empty if there is no list."""
    value = dig(data, *path)
    if not isinstance(value, Sequence) or isinstance(value, str):
        return []
    return [math.nan if (one := number(entry)) is None else one for entry in value]


def rows(data: object, *path: str) -> list[Mapping[str, Any]]:
    """The mappings of the list at ``path``; empty if there is no list."""
    value = dig(data, *path)
    if not isinstance(value, Sequence) or isinstance(value, str):
        return []
    return [entry for entry in value if isinstance(entry, Mapping)]


def texts(data: object, *path: str) -> list[str]:
    """The entries of the list at ``path`` as text; empty if there is no list."""
    value = dig(data, *path)
    if isinstance(value, str):
        return [value] if value else []
    if not isinstance(value, Sequence):
        return []
    return [str(entry) for entry in value if entry is not None]
