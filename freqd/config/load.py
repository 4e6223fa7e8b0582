"""From presets, files and ``--set`` to a ``RunConfig``, with errors that name the setting and its neighbours."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path

from pydantic import BaseModel, ValidationError

from freqd.config import ComparisonPreset, RunConfig, describe
from freqd.errors import InputError

Layer = Mapping[str, object]
"""Settings that are not checked yet, by section."""


def preset_names() -> list[str]:
    """Names of the presets that come with freqd."""
    folder = resources.files("freqd") / "presets"
    return sorted(entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml"))


def preset(name: str) -> dict[str, object]:
    """The settings of a preset.

    Raises:
        InputError: there is no such preset.
    """
    if name not in preset_names():
        raise InputError(f"there is no preset {name!r}", f"presets are: {', '.join(preset_names())}")
    return tomllib.loads((resources.files("freqd") / "presets" / f"{name}.toml").read_text())


def comparison_names() -> list[str]:
    """Names of the presets of comparisons that come with freqd."""
    folder = resources.files("freqd") / "presets" / "comparisons"
    return sorted(entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml"))


def comparison(name: str) -> ComparisonPreset:
    """A preset of comparisons, one of ``comparison_names``."""
    text = (resources.files("freqd") / "presets" / "comparisons" / f"{name}.toml").read_text()
    return ComparisonPreset.model_validate(tomllib.loads(text))


def read_toml(path: Path) -> dict[str, object]:
    """The settings of a file.

    Raises:
        InputError: the file is missing or is not TOML.
    """
    try:
        return tomllib.loads(path.expanduser().read_text("utf-8-sig"))
    except OSError as error:
        raise InputError(
            f"cannot read the settings file {path}: {error.strerror}", "check the path of --config"
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not a TOML file: {error}", "see docs/settings.md for an example") from error


def take_plugins(layer: dict[str, object], file: Path) -> list[Path]:
    """Take the Python files out of a settings file's ``plugins``: they are code, and no setting of a run.

    Args:
        layer: content of the file, which loses the key.
        file: the settings file, to whose folder relative paths refer.

    Raises:
        InputError: it is no list of paths.
    """
    given = layer.pop("plugins", [])
    names = [given] if isinstance(given, str) else given
    if not isinstance(names, list) or not all(isinstance(name, str) and name for name in names):
        raise InputError(
            f"{file}: plugins must be a list of Python files, got {given!r}",
            'for example plugins = ["my_objective.py"]',
        )
    return [file.expanduser().parent / Path(name).expanduser() for name in names]


def parse_assignment(text: str) -> dict[str, object]:
    """``section.key=value`` as a nested dictionary; the value is read as TOML, else taken as text.

    Raises:
        InputError: there is no ``=`` or no key.
    """
    name, equals, value = text.partition("=")
    name = name.strip()
    if not equals or not name:
        raise InputError(f"--set {text!r} is not of the form section.key=value", "for example --set distill.dim=8")
    try:
        parsed = tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        parsed = value
    return nested(name, parsed)


def nested(name: str, value: object) -> dict[str, object]:
    """The value of a setting, named as in ``data.source``, below its sections."""
    *path, key = name.split(".")
    tables: dict[str, object] = {key: value}
    for part in reversed(path):
        tables = {part: tables}
    return tables


def merge(*layers: Layer) -> dict[str, object]:
    """Later layers win; tables are merged key by key."""
    merged: dict[str, object] = {}
    for layer in layers:
        for key, value in layer.items():
            before = merged.get(key)
            if isinstance(value, Mapping) and isinstance(before, Mapping):
                merged[key] = merge(before, value)
            else:
                merged[key] = value
    return merged


def build(layers: Sequence[Layer]) -> RunConfig:
    """Validate the merged layers.

    A single value where several may be given (``teacher.factors = 64``) counts as a list of one.

    Raises:
        InputError: a setting is unknown or its value is refused; every one is named.
    """
    merged = merge(*layers)
    _wrap_single_values(merged)
    try:
        return RunConfig.model_validate(merged)
    except ValidationError as error:
        raise explain(error) from error


def explain(error: ValidationError) -> InputError:
    """A validation error in the user's words."""
    known = [row[0] for row in describe(RunConfig)]
    wrong: dict[tuple[str, str], list[str]] = {}  # what may be one of several types is refused once by each
    lines = []
    for entry in error.errors():
        # The names of the types of a union, literal['auto'] or constrained-int, are no part of the setting's name.
        dotted = ".".join(str(part) for part in entry["loc"] if not set("[-") & set(str(part)))
        if entry["type"] == "extra_forbidden":
            near = difflib.get_close_matches(dotted, known, 1, 0.5)
            hint = f", did you mean {near[0]!r}?" if near else ""
            lines.append(f"there is no setting {dotted!r}{hint}")
        else:
            message = entry["msg"].removeprefix("Value error, ")
            value = "" if isinstance(entry["input"], dict) else f" (got {entry['input']!r})"
            wrong.setdefault((dotted or "of the run", value), []).append(message)
    lines += [f"setting {name}: {' or '.join(messages)}{value}" for (name, value), messages in wrong.items()]
    return InputError("; ".join(lines), "all settings are in docs/settings.md and in `freqd settings`")


def as_markdown(rows: Sequence[tuple[str, str, object, str]]) -> str:
    """The page docs/settings.md: how to set, the presets, and one table a section."""
    lines = [
        "# Settings",
        "",
        "Set any of these with `--set section.key=value`, or in a TOML file given with `--config`:",
        "",
        "```toml",
        "[distill]",
        "dim = 8",
        "",
        "[[distill.objectives]]",
        'name = "rce"',
        "weight = 1.0",
        "```",
        "",
        "Objectives and teachers of your own: a list `plugins` of Python files at the top of the file, or `--plugin` ([extending](extending.md)).",
        f"Presets (`--preset`): {', '.join(preset_names())}. Later layers win: preset, file, options.",
        "A setting that does not exist is refused. This page is written by `freqd settings --markdown`.",
    ]
    section = None
    for name, _, default, meaning in rows:
        current = name.split(".")[0] if "." in name else "run"
        if current != section:
            section = current
            lines += ["", f"## {section}", "", "| setting | default | meaning |", "|---|---|---|"]
        lines.append(f"| `{name}` | `{_shown(default)}` | {meaning.replace('|', chr(92) + '|')} |")
    return "\n".join(lines) + "\n"


def _shown(default: object) -> str:
    if isinstance(default, tuple):
        return "[" + ", ".join(_shown(value) for value in default) + "]"
    if isinstance(default, BaseModel):
        return "{" + ", ".join(f"{k} = {_shown(v)}" for k, v in default if v not in ({}, None)) + "}"
    if isinstance(default, str):
        return f'"{default}"'
    if default is None or isinstance(default, bool):
        return "none" if default is None else str(default).lower()
    return str(default)


def _wrap_single_values(merged: Layer) -> None:
    for section, field in RunConfig.model_fields.items():
        table = merged.get(section)
        inner = getattr(field.annotation, "model_fields", None)
        if not isinstance(table, dict) or inner is None:
            continue
        for key, value in table.items():
            if key in inner and str(inner[key].annotation).startswith("tuple") and not isinstance(value, list | tuple):
                table[key] = [value]
