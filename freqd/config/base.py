"""The base of all settings, and how they are listed."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

Fraction = Annotated[float, Field(gt=0.0, lt=1.0)]


Scalar = bool | int | float | str


class Settings(BaseModel):
    """Base of all settings: immutable, and a misspelt key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def describe(model: type[BaseModel], prefix: str = "") -> list[tuple[str, str, Any, str]]:
    """Rows (dotted name, type, default, description) of all settings below ``model``, for help and docs."""
    rows: list[tuple[str, str, Any, str]] = []
    for name, field in model.model_fields.items():
        kind = field.annotation
        dotted = f"{prefix}{name}"
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            rows += describe(kind, f"{dotted}.")
            continue
        text = getattr(kind, "__name__", None) if isinstance(kind, type) else str(kind).replace("typing.", "")
        rows.append((dotted, text or str(kind), field.get_default(call_default_factory=True), field.description or ""))
    return rows
