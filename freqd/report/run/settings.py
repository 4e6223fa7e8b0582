"""What a run was asked: the settings that differ from the defaults, and the command that asks the same again."""

from __future__ import annotations

import json
import re
import shlex
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date
from functools import lru_cache

import tomli_w

from freqd.config import RunConfig, describe
from freqd.config.load import merge, nested


@dataclass(frozen=True)
class Setting:
    """One setting with the value of this run, its default and its meaning."""

    name: str
    value: str
    default: str
    description: str


@lru_cache(maxsize=1)
def _defaults() -> tuple[tuple[str, object, str], ...]:
    dumped = RunConfig().model_dump(mode="json")
    return tuple((name, setting_of(dumped, name), meaning) for name, _, _, meaning in describe(RunConfig))


def changed_settings(config: Mapping[str, object]) -> list[Setting]:
    """The settings of ``config`` (a dumped RunConfig) that are not the defaults, in the order of the models.

    A setting that the summary does not hold is taken as the default; one that this version does not know is left out.
    """
    missing = object()
    out = []
    for name, default, meaning in _defaults():
        value = setting_of(config, name, missing)
        if value is not missing and _plain(value) != _plain(default):
            out.append(Setting(name, show(value), show(default), meaning))
    return out


def as_toml(config: Mapping[str, object], *, always: Collection[str] = ()) -> str:
    """A file for ``--config``: the settings of ``config`` (a dumped RunConfig) that are not the defaults.

    Args:
        config: all settings.
        always: names of settings that are written even if they are the defaults.
    """
    changed = {setting.name for setting in changed_settings(config)} | set(always)
    values = ((name, setting_of(config, name)) for name, _, _ in _defaults() if name in changed)
    return tomli_w.dumps(merge(*(nested(name, _plain(value)) for name, value in values if value is not None)))


def show(value: object) -> str:
    """A setting's value the way ``--set`` takes it: TOML, text without quotes unless TOML reads it as something else."""
    if value is None:
        return "not set"
    if not isinstance(value, str):
        return _in_one_line(_plain(value))
    try:
        tomllib.loads(f"value = {value}")
    except tomllib.TOMLDecodeError:
        return value
    return value if _DAY.fullmatch(value) else _in_one_line(value)


_DAY = re.compile(r"\d{4}-\d\d-\d\d")


def _in_one_line(value: object) -> str:
    """A value for the command line; tomli-w writes lists and tables over several lines."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {_in_one_line(entry)}" for key, entry in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_in_one_line, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


def reproduce_command(config: Mapping[str, object], workdir: str = "") -> str:
    """The command that makes a run with these settings (a dumped RunConfig) again; values are quoted for a POSIX shell."""
    words = ["freqd", "run"]
    for setting in changed_settings(config):
        value = setting_of(config, setting.name)
        if setting.name == "data.source":
            words += ["--data", *map(str, value if isinstance(value, list | tuple) else [value])]
        elif setting.name in ("data.train", "data.valid", "data.test"):
            words += [f"--{setting.name.removeprefix('data.')}", str(value)]
        elif value is not None:  # what is not set cannot be asked for
            words += ["--set", f"{setting.name}={setting.value}"]
    if workdir:
        words += ["--workdir", workdir]
    return shlex.join(words)


def setting_of(config: Mapping[str, object], name: str, missing: object = None) -> object:
    """The value of a setting, named as in ``data.source``, in a dumped RunConfig; ``missing`` if it is not there."""
    found: object = config
    for key in name.split("."):
        if not isinstance(found, Mapping) or key not in found:
            return missing
        found = found[key]
    return found


def _plain(value: object) -> object:
    """Lists for tuples, texts for dates, and tables without what is not set: a dump that went through JSON equals one that did not."""
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items() if entry is not None}
    if isinstance(value, date):
        return value.isoformat()
    return value
