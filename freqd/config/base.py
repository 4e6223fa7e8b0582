"""The base of all settings, and how they are listed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from freqd.errors import InputError

Fraction = Annotated[float, Field(gt=0.0, lt=1.0)]


Scalar = bool | int | float | str


class Settings(BaseModel):
    """Base of all settings: immutable, and a misspelt key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


S = TypeVar("S", bound=Settings)


def parse_options(options: type[S], given: Mapping[str, Scalar], setting: str, name: str) -> S:
    """The options of something that is chosen by its name.

    Args:
        options: which there are.
        given: by name.
        setting: that holds them, for messages.
        name: of what they belong to.

    Raises:
        InputError: an option does not exist or its value is refused; the message lists those that there are.
    """
    try:
        return options.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        option = ".".join(str(part) for part in first["loc"]) or "options"
        known = ", ".join(f"{name} (default {field.default})" for name, field in options.model_fields.items())
        raise InputError(
            f"{setting}: option {option!r} of {name!r}: {first['msg']}, got {first['input']!r}",
            f"{name} has the options {known}" if known else f"{name} has no options",
        ) from error


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
