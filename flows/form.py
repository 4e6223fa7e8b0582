"""The main job as a short form: what the page of a Prefect deployment asks for where 130 settings would be too many."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Literal

from prefect import flow, runtime
from prefect.client.schemas import State

from flows.naming import WITHOUT_TIME, as_folder
from flows.pipeline import pipeline
from freqd.config import RunConfig, load
from freqd.data.sources import anchored, require_source
from freqd.errors import InputError
from freqd.json_types import JsonObject

Preset = Literal["none", "quick", "paper"]


def _shown_name() -> str:
    """The parameter ``run_name``; without it the settings file or the data, and the time."""
    given = runtime.flow_run.parameters
    about = given.get("settings") or next(iter(given.get("data") or ()), "run")
    return as_folder(
        str(given.get("run_name") or f"{as_folder(Path(about).stem, WITHOUT_TIME)}-{datetime.now():%Y%m%d-%H%M%S}")
    )


@flow(name="freqd", flow_run_name=_shown_name, validate_parameters=True)
def train(
    settings: str | None = None,
    data: tuple[str, ...] = (),
    preset: Preset = "none",
    budget_minutes: float | None = None,
    overrides: tuple[str, ...] = (),
    run_name: str | None = None,
    workdir: str | None = None,
) -> JsonObject | State[JsonObject]:
    """Train a teacher, distil a student and register it. Name a settings file, or the data.

    Args:
        settings: path of a TOML file on the worker's machine, as `freqd init` writes it; read when the run starts.
        data: whole paths of CSV, TSV or Parquet files on the worker's machine, or one named data set; in place of the file's.
        preset: settings that come with freqd; the file wins over them.
        budget_minutes: shortens the trainings, which then keep the best so far.
        overrides: further settings, one a line, as distill.dim=16; docs/settings.md has all of them.
        run_name: default the settings file or the data, and the time.
        workdir: where everything is kept; the worker's own.
    """
    config = settings_of(settings, data, preset, budget_minutes, overrides)
    result: JsonObject | State[JsonObject] = pipeline.fn(config, workdir, run_name)
    return result


def settings_of(
    file: str | None, data: tuple[str, ...], preset: Preset, budget_minutes: float | None, overrides: tuple[str, ...]
) -> RunConfig:
    """The settings that the form asks for; relative paths of the file are those of its folder.

    Raises:
        InputError: no data are named, a setting is wrong, or the file names plugins.
    """
    layers: list[load.Layer] = [] if preset == "none" else [load.preset(preset)]
    path = None if file is None else Path(file).expanduser()
    if path is not None:
        layer = load.read_toml(path)
        if named := load.take_plugins(layer, path):
            raise InputError(
                f"{path} names the plugin {named[0]}: a worker knows installed plugins only",
                "install it as a package with an entry point (docs/extending.md), and leave its file out of the settings",
            )
        layers.append(layer)
    layers.append({"data": {"source": list(data)}} if data else {})
    layers.append({} if budget_minutes is None else {"budget_minutes": budget_minutes})
    config = load.build([*layers, *map(load.parse_assignment, overrides)])
    require_source(config, "the form")
    return config if path is None else anchored(config, path.parent)
