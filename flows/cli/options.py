"""What the commands share: options, settings from all places, runs by name, starting the flow."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from rich.console import Console

from freqd.errors import InputError

if TYPE_CHECKING:
    from freqd.config import RunConfig, load
    from freqd.json_types import JsonObject
    from tasks.runtime.workspace import Workspace

DONE, BROKEN, WRONG_INPUT = 0, 1, 2
"""Exit codes: done, anything else, the user's input is wrong."""

Workdir = Annotated[Path | None, Parameter(help="Where everything is kept [FREQD_WORKDIR, else ./freqd-work].")]
Config = Annotated[Path | None, Parameter(help="TOML file with settings.")]
Train = Annotated[Path | None, Parameter(help="Your own train split (with --test).")]
Valid = Annotated[Path | None, Parameter(help="Your own validation split.")]
Test = Annotated[Path | None, Parameter(help="Your own test split.")]
Set = Annotated[
    list[str] | None,
    Parameter(name="--set", consume_multiple=True, help="Settings as section.key=value; see `freqd settings`."),
]


PluginFiles = Annotated[
    list[Path] | None, Parameter(name="--plugin", help="Python file with an objective or a teacher of your own.")
]


def read_settings(path: Path) -> load.Layer:
    """The settings of a file; the plugins that it names are imported, and are no settings.

    Raises:
        InputError: the file or a plugin cannot be read, or a plugin is broken.
    """
    from freqd import plugins
    from freqd.config import load

    layer = load.read_toml(path)
    plugins.load_files(load.take_plugins(layer, path))
    return layer


@Parameter(name="*")
@dataclass(frozen=True)
class SettingsFrom:
    """Where settings are taken from: the preset, then the file, then what is set one by one; later ones win."""

    config: Config = None
    preset: Annotated[
        str | None, Parameter(help="Settings that come with freqd: quick, paper; for compare also freqd.")
    ] = None
    set_: Set = None
    plugin: PluginFiles = None

    def require_installed(self) -> None:
        """See that no plugin is named by its file: a worker imports none.

        Raises:
            InputError: one is.
        """
        from freqd.config import load

        layer = {} if self.config is None else load.read_toml(self.config)
        named = [*load.take_plugins(layer, self.config or Path()), *(self.plugin or ())]
        if named:
            raise InputError(
                f"a run on a schedule does not import the plugin {named[0]}: a worker knows installed plugins only",
                "install it as a package with an entry point (docs/extending.md), and leave its file out of the settings",
            )

    def read(
        self,
        data: DataOptions | None = None,
        *more: str,
        start_from: str | None = None,
        base: Sequence[load.Layer] | None = None,
    ) -> RunConfig:
        """The run's settings.

        Args:
            data: what the command line says of the data.
            more: further settings as ``section.key=value``, which win over the others.
            start_from: a run to go on from.
            base: what all others win over, in place of the preset.

        Raises:
            InputError: a setting does not exist or its value is refused, or a plugin is broken.
        """
        from freqd import plugins
        from freqd.config import load

        plugins.load_files(self.plugin or ())
        layers: list[load.Layer] = list(base or ())
        if self.preset is not None and base is None:
            layers.append(load.preset(self.preset))
        if self.config is not None:
            layers.append(read_settings(self.config))
        layers.append({"data": data.given()} if data is not None and data.given() else {})
        layers += [load.parse_assignment(text) for text in (*(self.set_ or ()), *more)]
        layers.append({"start": {"run": start_from}} if start_from is not None else {})
        return load.build(layers)


NO_SETTINGS = SettingsFrom()


@Parameter(name="*")
@dataclass(frozen=True)
class Parts:
    """The user's own parts."""

    train: Train = None
    valid: Valid = None
    test: Test = None


NO_PARTS = Parts()


@dataclass(frozen=True)
class DataOptions:
    """What the command line says of the data."""

    source: Sequence[str] | None = None
    parts: Parts = NO_PARTS

    def given(self) -> dict[str, object]:
        """By the names of the settings."""
        own: dict[str, object] = {} if self.source is None else {"source": list(self.source)}
        return own | {name: str(path) for name, path in vars(self.parts).items() if path is not None}


def check_name(name: str | None) -> None:
    """See that ``--name`` can be a folder's name.

    Raises:
        InputError: it cannot.
    """
    if name is not None and (not name.strip() or Path(name).name != name or name.startswith(".")):
        raise InputError(f"--name {name!r} cannot be a folder's name", "use letters, digits and hyphens")


def check_file(option: str, path: Path | None) -> None:
    """See that a file can be written, before anything expensive is done.

    Raises:
        InputError: it is a folder, or a folder of its path is a file or may not be written.
    """
    if path is None:
        return
    place = path.parent
    while not place.exists():
        place = place.parent
    if path.is_dir():
        raise InputError(f"{option} {path} is a folder", "name a file")
    if not place.is_dir() or not os.access(path if path.exists() else place, os.W_OK):
        raise InputError(f"{option} {path} cannot be written", "name another file")


def registering(settings: RunConfig, registered: bool) -> RunConfig:
    """The settings with the registry on or off, so that nothing is asked for that only a registered model needs."""
    return settings.model_copy(update={"registry": settings.registry.model_copy(update={"enabled": registered})})


def workspace_of(workdir: Path | None) -> Workspace:
    """The workspace of ``--workdir``."""
    from tasks.runtime.workspace import Workspace

    return Workspace.locate(workdir)


def find_run(workdir: Path | None, name: str) -> tuple[Workspace, Path]:
    """The workspace and the folder of a run; ``last`` is the latest.

    Raises:
        InputError: there is no such run.
    """
    workspace = workspace_of(workdir)
    folders = [p.parent for p in workspace.runs.glob("*/summary.json")] if workspace.runs.is_dir() else []
    folders.sort(key=lambda p: (p / "summary.json").stat().st_mtime)
    if not folders:
        raise InputError(f"there is no run below {workspace.runs}", "start one with `freqd run`, or name its --workdir")
    if name == "last":
        return workspace, folders[-1]
    for folder in folders:
        if folder.name == name:
            return workspace, folder
    raise InputError(f"there is no run {name!r}", f"the latest runs are: {', '.join(p.name for p in folders[-5:])}")


def start(
    settings: RunConfig,
    workdir: Path | None,
    flow: str = "pipeline:pipeline",
    *,
    sources: Sequence[str] = (),
    **options: object,
) -> JsonObject:
    """Run a flow in this process; nothing is left of a working directory that was made for wrong input, see ``opened``.

    Args:
        settings: of the run.
        workdir: as the user gave it.
        flow: module of ``flows`` and name of the flow, which is imported late.
        sources: data sets that are checked in place of that of the settings.
        options: further arguments of the flow.
    """
    from tasks.runtime.environment import embed, watch_servers
    from tasks.runtime.preflight import preflight

    workspace = workspace_of(workdir)
    named = options.get("run_name")
    for data in [settings.data.of(source) for source in sources] or [settings.data]:
        preflight(settings.model_copy(update={"data": data}), workspace, None if named is None else str(named))
    with workspace.opened():
        if settings.threads is not None:
            os.environ["OMP_NUM_THREADS"] = str(settings.threads)
        embed(workspace)
        watch_servers(workspace)
        module, name = flow.split(":")
        try:
            run = getattr(import_module(f"flows.{module}"), name)
            from tasks.runtime import embedded

            server = embedded.running()
            if server is not None:
                server.wait(
                    lambda line: Console(stderr=True, highlight=False).print(line, markup=False, soft_wrap=True)
                )
            result: JsonObject = run(config=settings, workdir=str(workspace.root), **options)
            return result
        except Exception as error:
            from tasks.runtime.errors import translate

            mine = translate(error)
            if mine is None:
                raise
            raise mine from error
