"""`freqd drift`: does the champion still fit what users do now?"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from flows.cli.options import DONE, PluginFiles, Set, SettingsFrom, Workdir, start, workspace_of
from flows.cli.output import AsJson, say, say_json, say_table
from flows.cli.stack import require_server, scheduling_of, show_times
from freqd.errors import InputError

if TYPE_CHECKING:
    from freqd.config import RunConfig
    from tasks.drift_record import DriftRecord
    from tasks.runtime.workspace import Workspace

DRIFTED = 3
"""Exit code of ``--fail`` where there is drift."""


@Parameter(name="*")
@dataclass(frozen=True)
class Checked:
    """What is checked."""

    new: Annotated[
        list[Path] | None,
        Parameter(consume_multiple=True, help="Files with the new interactions [what is new in the settings' data]."),
    ] = None
    config: Annotated[
        Path | None, Parameter(help="TOML file with settings [those of the champion's run, without its as_of].")
    ] = None
    set_: Set = None
    plugin: PluginFiles = None
    name: Annotated[str | None, Parameter(help="Registered model [the only one].")] = None

    @property
    def files(self) -> list[str]:
        """The new files by their whole paths."""
        return [str(path.absolute()) for path in self.new or ()]

    def settings(self, workspace: Workspace) -> RunConfig:
        """The settings file's, or those of the champion's run, and what is set on the command line."""
        given = SettingsFrom(self.config, set_=self.set_, plugin=self.plugin)
        if self.config is not None:
            return given.read()
        from freqd import plugins
        from freqd.config import load
        from tasks.drift import champion_settings
        from tasks.mlops import registry

        plugins.load_files(self.plugin or ())
        own = champion_settings(workspace, registry.resolve(self.name))
        return load.build([own, *map(load.parse_assignment, self.set_ or [])])


CHECKED = Checked()


@Parameter(name="*")
@dataclass(frozen=True)
class ByClock:
    """When it is checked."""

    cron: Annotated[
        str | None, Parameter(help='Check on a schedule instead of now, e.g. "0 6 * * *" for every morning at six.')
    ] = None
    timezone: Annotated[str | None, Parameter(help="Time zone of the cron line [this machine's].")] = None


NOW = ByClock()


def drift(
    *,
    checked: Checked = CHECKED,
    fail: Annotated[bool, Parameter(negative="", help="Exit code 3 if there is drift.")] = False,
    when: ByClock = NOW,
    as_json: AsJson = False,
    workdir: Workdir = None,
) -> int:
    """Compare new interactions with those of the champion; above a limit, request a retraining.

    New are interactions later than the champion's that it has not seen. The retraining uses the settings of this check
    and starts if the servers are up (`freqd up`). Every check is kept below drift/ in the working directory.
    With --cron the check becomes a schedule; `freqd schedule` lists, pauses and removes it.
    """
    if when.cron is not None and (fail or as_json):
        raise InputError(
            "--cron only sets a schedule: there is no check to fail or to show", "leave --fail and --json out"
        )

    from tasks.mlops.champion import use_registry
    from tasks.runtime.environment import embed

    workspace = workspace_of(workdir)
    use_registry(workspace)
    if when.cron is not None:
        SettingsFrom(checked.config, plugin=checked.plugin).require_installed()
        require_server(workspace)  # before anything is read: without servers there is no schedule
    embed(workspace)
    settings = checked.settings(workspace)
    if when.cron is not None:
        _schedule(workspace, settings, checked, when.cron, when.timezone)
        return DONE
    from freqd.data.sources import anchored
    from tasks.drift_record import DriftRecord

    result = start(anchored(settings, Path.cwd()), workdir, "drift:drift", model=checked.name, new=tuple(checked.files))
    found = DriftRecord.model_validate(result)
    if as_json:
        say_json(result)
    else:
        _show(found)
    return DRIFTED if fail and found.found else DONE


def _schedule(workspace: Workspace, settings: RunConfig, checked: Checked, cron: str, timezone: str | None) -> None:
    from freqd.data.sources import require_source
    from tasks.drift import require_among
    from tasks.mlops import registry
    from tasks.runtime.preflight import preflight

    name, config, files = checked.name, checked.config, checked.files
    require_source(settings, str(config or "the champion's run"))
    model = registry.resolve(name)
    preflight(settings, workspace)
    require_among(settings, files)
    label = f"drift-{config.stem if config else name or 'champion'}"
    scheduling = scheduling_of(workspace)
    times = scheduling.schedule(label, cron, timezone, settings, workspace, scheduling.WATCH, model=model, new=files)
    show_times(label, times)


def _show(found: DriftRecord) -> None:
    from tasks.drift_record import COLUMNS, sentence, table

    say(f"{found.model} version {found.version}: {found.headline}")
    say_table(COLUMNS, [tuple(row.values()) for row in table(found)])
    say(sentence(found))
